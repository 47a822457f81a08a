//! One process of a cluster: its command line, its data directory, its log lines, its end.
//! Owns: the child process; it ends with the value. Never: touches a process that it did not start.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::error::TortureError;
use super::wire::{ask_text, field};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Words before the program, as in `nsenter --net=...`: what they name must replace itself by the program.
    pub prefix: Vec<String>,
    /// The program.
    pub program: PathBuf,
    /// Flags of `serve` behind those of the node itself.
    pub flags: Vec<String>,
    /// Faults may be armed in it by its [fault file](Node::fault_file).
    pub takes_faults: bool,
}

/// A node that runs, or will run again.
#[derive(Debug)]
pub struct Node {
    /// What it is called in reports.
    pub name: String,
    /// Where clients connect.
    pub client_address: SocketAddr,
    /// Where nodes connect.
    pub peer_address: SocketAddr,
    dir: PathBuf,
    data: PathBuf,
    launch: Launch,
    process: Option<Child>,
    starts: u32,
}

impl Node {
    /// A node that does not run yet, with its data in `dir/NAME/data`.
    ///
    /// # Errors
    /// [`TortureError::File`] if there cannot be a directory for it.
    pub fn new(
        name: &str,
        dir: &Path,
        (client_address, peer_address): (SocketAddr, SocketAddr),
        launch: Launch,
    ) -> Result<Self, TortureError> {
        let dir = dir.join(name);
        let data = dir.join("data");
        fs::create_dir_all(&dir).map_err(TortureError::file("create", &dir))?;
        let name = name.to_owned();
        Ok(Self { name, client_address, peer_address, dir, data, launch, process: None, starts: 0 })
    }

    /// Where its data lies.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Keeps its data elsewhere from the next start on.
    pub fn set_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    /// The file whose lines arm faults in it.
    #[must_use]
    pub fn fault_file(&self) -> PathBuf {
        self.dir.join("faults")
    }

    /// Starts the process. Settings in this process's environment do not reach it.
    ///
    /// # Errors
    /// [`TortureError`] if it runs already, or cannot be started.
    pub fn start(&mut self) -> Result<(), TortureError> {
        if self.process.is_some() {
            return Err(self.state("runs already"));
        }
        self.starts += 1;
        let log_path = self.log_path();
        let log = File::create(&log_path).map_err(TortureError::file("create", log_path))?;
        let mut words = self.launch.prefix.iter().map(PathBuf::from).collect::<Vec<_>>();
        words.push(self.launch.program.clone());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("serve");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KEYSTEAD_") {
                command.env_remove(name);
            }
        }
        if self.launch.takes_faults {
            // Armed faults panic on purpose; their backtraces would hide what follows.
            command.env("KEYSTEAD_TEST_FAULTS", self.fault_file()).env("RUST_BACKTRACE", "0");
        }
        command.arg("--data").arg(&self.data);
        command.args(["--listen", &self.client_address.to_string()]);
        command.args(["--peer", &self.peer_address.to_string()]);
        command.args(&self.launch.flags);
        // Ctrl-C is for whoever breaks the nodes, not for the nodes.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let spawned = command.spawn();
        self.process = Some(spawned.map_err(|source| TortureError::Program {
            program: words[0].display().to_string(),
            source,
        })?);
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(format!("log-{}", self.starts))
    }

    fn state(&self, state: &'static str) -> TortureError {
        TortureError::NodeState { node: self.name.clone(), state }
    }

    /// The log lines of the latest start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// True from its start until it was ended, or seen to have ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// How it ended, if it did so by itself since the last look.
    pub fn take_end(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut()?.try_wait().ok().flatten()?;
        self.process = None;
        Some(ended)
    }

    /// Ends the process at once (SIGKILL) and waits until nothing of it is left.
    ///
    /// # Errors
    /// [`TortureError::Signal`].
    pub fn kill(&mut self) -> Result<(), TortureError> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process
            .kill()
            .and_then(|()| process.wait())
            .map_err(|source| TortureError::Signal { node: self.name.clone(), source })?;
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`TortureError`] if it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), TortureError> {
        let process = self.process.as_ref().ok_or_else(|| self.state("does not run"))?;
        kill_process(Pid::from_child(process), signal).map_err(|source| TortureError::Signal {
            node: self.name.clone(),
            source: source.into(),
        })
    }

    /// Stops the process in its tracks, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn pause(&self) -> Result<(), TortureError> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn resume(&self) -> Result<(), TortureError> {
        self.signal(Signal::CONT)
    }

    /// A section of INFO, if the node answers.
    #[must_use]
    pub fn info(&self, section: &str) -> Option<String> {
        ask_text(self.client_address, &["INFO", section])
    }

    /// True if the node answers clients.
    #[must_use]
    pub fn answers(&self) -> bool {
        super::wire::ask(self.client_address, &["PING"]).is_ok()
    }

    /// True if this node knows at least so many nodes, every slot is served and every replica is level.
    #[must_use]
    pub fn sees_all_well(&self, nodes: usize) -> bool {
        let Some(info) = ask_text(self.client_address, &["CLUSTER", "INFO"]) else { return false };
        let known = field(&info, "cluster_known_nodes").and_then(|known| known.parse().ok());
        field(&info, "cluster_state").as_deref() == Some("ok")
            && field(&info, "keystead_replication").as_deref() == Some("full")
            && known.is_some_and(|known: usize| known >= nodes)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // A paused process ends by SIGKILL all the same. It may have ended already.
            drop(process.kill());
            drop(process.wait());
        }
    }
}
