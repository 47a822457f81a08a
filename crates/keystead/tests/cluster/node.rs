//! A node of the torture as tests handle it: what fails, fails the test.
//! Owns: waiting for a node's words and its end, with a deadline. Never: the process; that is the torture's.

use std::fs;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

pub(crate) use keystead::torture::Node;
use rustix::process::Signal;

use crate::wait::{try_for, wait_for};
use crate::wire::{self, ask_text, field};

/// Longest wait for a process to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(20);
/// Lines of a node's log that a failing test shows.
const LINES_SHOWN: usize = 60;

/// What tests do with a node beyond what a torture does.
pub(crate) trait Tested {
    /// Where clients connect.
    fn port(&self) -> u16;
    /// Starts the process.
    fn begin(&mut self);
    /// Ends the process at once (SIGKILL).
    fn end(&mut self);
    /// Asks the process to stop (SIGTERM) and waits until it has.
    fn terminate(&mut self) -> ExitStatus;
    /// Waits until the process ends by itself.
    fn wait_for_end(&mut self, within: Duration) -> ExitStatus;
    /// Forgets the node's data. It must not run.
    fn wipe(&mut self);
    /// One field of CLUSTER INFO, if the node answers.
    fn cluster_field(&self, name: &str) -> Option<String>;
    /// The shards that this node leads, the metadata group (0) not among them.
    fn leads(&self) -> Vec<u32>;
    /// Waits until the node answers clients.
    fn wait_for_answers(&self, within: Duration);
    /// The resident size, bytes.
    fn resident_bytes(&self) -> u64;
    /// Shows the end of its log.
    fn show_log(&self);
}

impl Tested for Node {
    fn port(&self) -> u16 {
        self.client_address.port()
    }

    fn begin(&mut self) {
        self.start().expect("the program starts");
    }

    fn end(&mut self) {
        self.kill().expect("the process is this test's own");
    }

    fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM).expect("the process is this test's own");
        self.wait_for_end(END_MAX)
    }

    fn wait_for_end(&mut self, within: Duration) -> ExitStatus {
        wait_for(&format!("{} ends", self.name.clone()), within, || self.take_end())
    }

    fn wipe(&mut self) {
        assert!(!self.is_running(), "{} still runs", self.name);
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                panic!("cannot empty {}: {error}", self.data().display())
            }
            _ => {}
        }
    }

    fn cluster_field(&self, name: &str) -> Option<String> {
        field(&ask_text(self.port(), &["CLUSTER", "INFO"])?, name)
    }

    fn leads(&self) -> Vec<u32> {
        let mut placement = keystead::torture::Placement::default();
        placement.read(0, &self.info("raft").unwrap_or_default());
        placement.led_by(0)
    }

    fn wait_for_answers(&self, within: Duration) {
        wait_for(&format!("{} answers", self.name), within, || {
            wire::ask(self.port(), &["PING"]).ok()
        });
    }

    fn resident_bytes(&self) -> u64 {
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

    fn show_log(&self) {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(LINES_SHOWN);
        let lines: Vec<&str> = log.lines().skip(skipped).collect();
        eprintln!(
            "--- {} (start {}), last lines of its log ---\n{}",
            self.name,
            self.starts(),
            lines.join("\n")
        );
    }
}

/// Waits until a process that was started is seen to have written `text` to its log.
pub(crate) fn wait_for_log(node: &Node, text: &str, within: Duration) -> String {
    let line = || node.log().lines().find(|line| line.contains(text)).map(str::to_owned);
    try_for(within, line).unwrap_or_else(|| {
        panic!("{} did not log {text:?} within {within:?}:\n{}", node.name, node.log())
    })
}
