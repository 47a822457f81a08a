//! The verb `bench`: Keystead beside the peers that are installed, in turn, on this machine.
//!
//! Owns: options, suites, the order of runs, medians. Never: quotes a figure without its settings:
//! every table and file names machine, kernel, commit, versions, fsync mode and replicas.
//!
//! Within a row the servers take turns, round after round, each round beginning with another one, so
//! that drift of the machine meets all of them alike. CPU per operation is the servers' own, from
//! /proc; a rate near the load generator's limit says nothing, the CPU figure still does.

mod dialogue;
mod embedded;
mod failover;
mod machine;
mod memory;
mod peer;
mod report;
mod restart;
mod row;
mod sample;
mod suites;
mod swarm;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::project::{Outcome, Project};
use crate::server::{self, Binary, Scratch};
use crate::setup;
use machine::Machine;

/// What a suite needs.
struct Bench<'a> {
    project: &'a Project,
    options: Options,
    scratch: Scratch,
    binary: PathBuf,
}

/// What the command line sets.
struct Options {
    rounds: usize,
    requests: u64,
    keys: u64,
    only: Vec<String>,
    json: Option<PathBuf>,
    binary: Binary,
    is_against_itself: bool,
    suites: Vec<String>,
}

/// A suite: its name, what it shows, how it runs. It returns its part of the JSON file.
struct Suite {
    name: &'static str,
    about: &'static str,
    run: fn(&Bench<'_>) -> Outcome<Value>,
}

const SUITES: &[Suite] = &[
    Suite {
        name: "single-memory",
        about: "one node, nothing waits for the disk, beside redis without persistence",
        run: suites::single_memory,
    },
    Suite {
        name: "single-fsync",
        about: "one node, fsync before the reply, beside redis appendfsync always and etcd",
        run: suites::single_fsync,
    },
    Suite {
        name: "three",
        about: "three nodes, beside redis + WAIT 1 and etcd",
        run: suites::three,
    },
    Suite {
        name: "restart",
        about: "SIGKILL with --keys keys, until the first of them is read again",
        run: restart::run,
    },
    Suite {
        name: "failover",
        about: "a node of three is killed under writes, until writes of all shards go on",
        run: failover::run,
    },
    Suite { name: "memory", about: "resident bytes per key with --keys keys", run: memory::run },
    Suite {
        name: "embedded",
        about: "calls in process: example `embedded_bench` of crate keystead",
        run: embedded::run,
    },
];

const USAGE: &str =
    "cargo xtask bench [SUITE...] [--rounds N] [--requests N] [--keys N] [--only ROW,...]
                  [--json FILE] [--binary KEYSTEAD] [--against-itself]
--against-itself puts redis in Keystead's place: the differences then show the machine's noise";

/// Runs the suites named, or all of them.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    if !cfg!(target_os = "linux") {
        return Err("bench reads CPU times and memory from /proc, so it runs on Linux".into());
    }
    let options = Options::parse(arguments)?;
    setup::ensure(project)?;
    let binary = if options.is_against_itself {
        PathBuf::new()
    } else {
        server::keystead_binary(project, &options.binary)?
    };
    let bench = Bench { project, options, scratch: Scratch::new(project, "bench")?, binary };
    let machine = Machine::describe(project);
    println!("{machine}");

    let mut results = Vec::new();
    for suite in SUITES {
        let is_wanted =
            bench.options.suites.is_empty() || bench.options.suites.iter().any(|s| s == suite.name);
        if is_wanted {
            println!("\n## {}: {}", suite.name, suite.about);
            let result = (suite.run)(&bench).map_err(|e| format!("{}: {e}", suite.name))?;
            results.push(json!({ "suite": suite.name, "about": suite.about, "result": result }));
        }
    }
    if let Some(path) = &bench.options.json {
        let file = json!({
            "machine": machine.to_json(),
            "rounds": bench.options.rounds,
            "requests": bench.options.requests,
            "keys": bench.options.keys,
            "suites": results,
        });
        std::fs::write(path, serde_json::to_string_pretty(&file)?)?;
    }
    Ok(())
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            rounds: 3,
            requests: 200_000,
            keys: 1_000_000,
            only: Vec::new(),
            json: None,
            binary: Binary::Release,
            is_against_itself: false,
            suites: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--against-itself" {
                options.is_against_itself = true;
                continue;
            }
            if !argument.starts_with("--") {
                if !SUITES.iter().any(|suite| suite.name == argument) {
                    return Err(unknown(argument).into());
                }
                options.suites.push(argument.clone());
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))?;
            match argument.as_str() {
                "--rounds" => options.rounds = value.parse::<usize>()?.max(1),
                "--requests" => options.requests = value.parse::<u64>()?.max(1000),
                "--keys" => options.keys = value.parse::<u64>()?.max(1000),
                "--only" => options.only = value.split(',').map(|s| s.trim().to_owned()).collect(),
                "--json" => options.json = Some(value.into()),
                "--binary" => options.binary = Binary::Named(value.into()),
                _ => return Err(unknown(argument).into()),
            }
        }
        Ok(options)
    }

    /// True if the row is to be run: its name contains one of the words of `--only`.
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| row.contains(word.as_str()))
    }
}

fn unknown(argument: &str) -> String {
    let mut text = format!("there is no `{argument}`\n{USAGE}\nsuites:");
    for suite in SUITES {
        text.push_str(&format!("\n  {:<16}{}", suite.name, suite.about));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn options_are_read_in_any_order() {
        let words = ["--rounds", "5", "three", "--only", "GET, SET 50"].map(str::to_owned);
        let options = Options::parse(&words).expect("all of these exist");
        assert_eq!((options.rounds, options.suites.as_slice()), (5, &["three".to_owned()][..]));
        assert!(options.wants("GET, 50") && !options.wants("INCR"));
        assert!(Options::parse(&["--what".to_owned(), "1".to_owned()]).is_err());
    }
}
