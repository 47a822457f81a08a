//! The machine a figure was taken on, the commit, and the versions of the peers.
//! Owns: that description. Never: guesses; what cannot be read is called unknown.

use std::fmt;
use std::process::Command;

use serde_json::{Value, json};

use crate::project::Project;

/// What stands above every table.
pub(super) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    commit: String,
    redis: String,
    etcd: String,
}

impl Machine {
    pub(super) fn describe(project: &Project) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo").lines().find_map(|line| {
            Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned())
        });
        let commit = first_line(project.command("git").args(["describe", "--always", "--dirty"]));
        Self {
            processor: processor.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit,
            redis: first_line(Command::new("redis-server").arg("--version")),
            etcd: first_line(Command::new("etcd").arg("--version")),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "processor": self.processor,
            "cores": self.cores,
            "kernel": self.kernel,
            "commit": self.commit,
            "redis": self.redis,
            "etcd": self.etcd,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine  {} x {}, Linux {}", self.cores, self.processor, self.kernel)?;
        writeln!(f, "commit   {}", self.commit)?;
        writeln!(f, "redis    {}", self.redis)?;
        write!(f, "etcd     {}", self.etcd)
    }
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    text.lines().next().map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
