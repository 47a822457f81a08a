//! One process of a cluster: its command line, its data directory, its log lines, its end.
//! Owns: the child process; it ends with the value. Never: touches a process that it did not start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{try_for, wait_for};
use crate::wire::{self, ask_text, field};

/// Longest wait for a process to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(20);
/// Lines of a node's log that a failing test shows.
const LINES_SHOWN: usize = 60;

/// A node that runs, or will run again.
pub(crate) struct Node {
    pub(crate) name: String,
    /// Where clients connect.
    pub(crate) port: u16,
    /// Where nodes connect.
    pub(crate) peer_port: u16,
    dir: PathBuf,
    data: PathBuf,
    flags: Vec<String>,
    process: Option<Child>,
    starts: u32,
}

impl Node {
    /// A node that does not run yet, with its data under `dir`.
    pub(crate) fn new(name: &str, dir: &Path, ports: (u16, u16), flags: Vec<String>) -> Self {
        let dir = dir.join(name);
        fs::create_dir_all(&dir).expect("a directory for the node");
        let data = dir.join("data");
        let (port, peer_port) = ports;
        Self { name: name.to_owned(), port, peer_port, dir, data, flags, process: None, starts: 0 }
    }

    /// Where its data lies.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Keeps its data elsewhere from the next start on.
    pub(crate) fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// The file whose lines arm faults.
    pub(crate) fn fault_file(&self) -> PathBuf {
        self.dir.join("faults")
    }

    /// Starts the process.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        self.starts += 1;
        let log = File::create(self.log_path()).expect("a file for the log lines");
        // The shell ignores SIGXFSZ for the program, so that a limit on file sizes is an error to it.
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap '' XFSZ; ulimit -S -n $(ulimit -H -n); exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_keystead"),
            "serve",
        ]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYSTEAD_")) {
            command.env_remove(name);
        }
        // Armed faults panic on purpose; their backtraces would hide what follows.
        command.env("KEYSTEAD_TEST_FAULTS", self.fault_file()).env("RUST_BACKTRACE", "0");
        command.args(["--data", self.data.to_str().expect("a path in UTF-8")]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.args(["--peer", &format!("127.0.0.1:{}", self.peer_port)]);
        command.args(&self.flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("the program starts"));
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(format!("log-{}", self.starts))
    }

    /// The log lines of the latest start.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Ends the process at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("the process is this test's own");
            process.wait().expect("the process is this test's own");
        }
    }

    /// Asks the process to stop (SIGTERM) and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end(END_MAX)
    }

    /// Waits until the process ends by itself.
    pub(crate) fn wait_for_end(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let process = self.process.as_mut().expect("the node runs");
        let status =
            wait_for(&what, within, || process.try_wait().expect("the process is this test's own"));
        self.process = None;
        status
    }

    /// Stops the process in its tracks, until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the node runs");
        kill_process(Pid::from_child(process), signal).expect("the process is this test's own");
    }

    /// Forgets the node's data. It must not run.
    pub(crate) fn wipe(&mut self) {
        assert!(self.process.is_none(), "{} still runs", self.name);
        match fs::remove_dir_all(&self.data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                panic!("cannot empty {}: {error}", self.data.display())
            }
            _ => {}
        }
    }

    /// A section of INFO, if the node answers.
    pub(crate) fn info(&self, section: &str) -> Option<String> {
        ask_text(self.port, &["INFO", section])
    }

    /// One field of CLUSTER INFO, if the node answers.
    pub(crate) fn cluster_field(&self, name: &str) -> Option<String> {
        field(&ask_text(self.port, &["CLUSTER", "INFO"])?, name)
    }

    /// True if this node knows at least so many nodes, every slot is served and every replica is level.
    pub(crate) fn sees_all_well(&self, nodes: usize) -> bool {
        let Some(info) = ask_text(self.port, &["CLUSTER", "INFO"]) else { return false };
        let known = field(&info, "cluster_known_nodes").and_then(|known| known.parse().ok());
        field(&info, "cluster_state").as_deref() == Some("ok")
            && field(&info, "keystead_replication").as_deref() == Some("full")
            && known.is_some_and(|known: usize| known >= nodes)
    }

    /// The shards that this node leads, the metadata group (0) not among them.
    pub(crate) fn leads(&self) -> Vec<u32> {
        let raft = self.info("raft").unwrap_or_default();
        let lines = raft.lines().filter_map(|line| line.strip_prefix("shard_")?.split_once(':'));
        lines
            .filter(|(_, line)| line.starts_with("role=leader"))
            .filter_map(|(id, _)| id.parse().ok())
            .filter(|id| *id != 0)
            .collect()
    }

    /// Waits until the node answers clients.
    pub(crate) fn wait_for_answers(&self, within: Duration) {
        wait_for(&format!("{} answers", self.name), within, || {
            wire::ask(self.port, &["PING"]).ok()
        });
    }

    /// The resident size, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let pid = self.pid().expect("the node runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .expect("a running process has a status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("the kernel counts it");
        line.split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number of KiB")
            * 1024
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // A paused process ends by SIGKILL all the same. It may have ended already.
            drop(process.kill());
            drop(process.wait());
        }
        if std::thread::panicking() {
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(LINES_SHOWN);
            let lines: Vec<&str> = log.lines().skip(skipped).collect();
            eprintln!(
                "--- {} (start {}), last lines of its log ---\n{}",
                self.name,
                self.starts,
                lines.join("\n")
            );
        }
    }
}

/// Waits until a process that was started is seen to have written `text` to its log.
pub(crate) fn wait_for_log(node: &Node, text: &str, within: Duration) -> String {
    let line = || node.log().lines().find(|line| line.contains(text)).map(str::to_owned);
    try_for(within, line).unwrap_or_else(|| {
        panic!("{} did not log {text:?} within {within:?}:\n{}", node.name, node.log())
    })
}
