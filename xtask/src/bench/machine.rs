//! The machine a figure was taken on, the commit, and the versions of the peers.
//! Owns: that description. Never: guesses; what cannot be read is called unknown.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::project::{Project, find_program};

/// What stands above every table, by name.
pub(super) struct Machine {
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    pub(super) fn describe(project: &Project) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |path: &str, name: &str| {
            let text = read(path);
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
            value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let commit = first_line(project.command("git").args(["describe", "--always", "--dirty"]));
        let load = read("/proc/loadavg");
        let load: Vec<&str> = load.split_whitespace().take(3).collect();
        let facts = vec![
            ("machine", format!("{cores} x {}", field("/proc/cpuinfo", "model name"))),
            ("memory", field("/proc/meminfo", "MemTotal")),
            ("kernel", format!("Linux {}", read("/proc/sys/kernel/osrelease").trim())),
            // Of a busy machine only ratios say something.
            ("load before", load.join(" ")),
            ("commit", commit),
            ("redis", version("redis-server")),
            ("valkey", version("valkey-server")),
            ("etcd", version("etcd")),
        ];
        Self { facts }
    }

    pub(super) fn to_json(&self) -> Value {
        let facts = self.facts.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact)));
        Value::Object(facts.collect::<Map<_, _>>())
    }

    /// One line a fact, as columns or as a list in Markdown.
    pub(super) fn render(&self, is_markdown: bool) -> String {
        let line = |(name, fact): &(&str, String)| match is_markdown {
            true => format!("- {name}: {fact}\n"),
            false => format!("{name:<12}{fact}\n"),
        };
        self.facts.iter().map(line).collect()
    }
}

fn version(program: &str) -> String {
    match find_program(program) {
        Some(path) => first_line(Command::new(path).arg("--version")),
        None => "not installed".to_owned(),
    }
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    text.lines().next().map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
