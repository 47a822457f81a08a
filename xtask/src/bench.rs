//! The verb `bench`: Keystead beside the peers that are installed, in turn, on this machine.
//!
//! Owns: what there is to measure, the order of runs, what stands above every table. Never: quotes a figure without its
//! settings: every table and file names machine, kernel, commit, versions, fsync mode and replicas. Its exit code says
//! whether the run was whole, never whether a goal was met.
//!
//! Within a row the servers take turns, round after round, each round beginning with another one, so
//! that drift of the machine meets all of them alike. CPU per operation is the servers' own, from
//! /proc; a rate near the load generator's limit says nothing, the CPU figure still does.
//!
//! What is measured without servers lives in the workspace `bench/`: pieces by themselves, timed or counted in
//! instructions. How to read all of it: `docs/performance.md`.

pub(crate) mod apart;
mod curves;
mod dialogue;
mod embedded;
mod failover;
mod flame;
mod goal;
mod instructions;
mod machine;
mod memory;
mod options;
mod peer;
mod redis_cluster;
mod report;
mod restart;
mod row;
mod sample;
mod snapshot;
mod suites;
mod swarm;
mod under_load;

use std::cell::RefCell;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::project::{Outcome, Project};
use crate::server::{self, Scratch};
use crate::setup;
use machine::Machine;
use options::Options;
use report::Table;

/// What a suite needs.
struct Bench<'a> {
    project: &'a Project,
    options: Options,
    scratch: Scratch,
    binary: PathBuf,
    /// What went wrong; the run goes on with the next row.
    broken: RefCell<Vec<String>>,
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
        name: "snapshot",
        about: "memory and p99.9 of SETs while snapshots are taken, beside BGSAVE",
        run: snapshot::run,
    },
    Suite {
        name: "embedded",
        about: "calls in process: example `embedded_bench` of crate keystead",
        run: embedded::run,
    },
];

/// Measures servers, or hands on to what is measured without them.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    if !cfg!(target_os = "linux") {
        return Err("bench reads CPU times and memory from /proc, so it runs on Linux".into());
    }
    match arguments.split_first() {
        Some((word, rest)) if word == "curves" => curves::run(project, rest),
        Some((word, rest)) if word == "flame" => flame::run(project, rest),
        Some((word, rest)) if word == "where" => flame::run_where(project, rest),
        Some((word, rest)) if word == "micro" => apart::micro(project, rest),
        Some((word, rest)) if word == "disk" => apart::disk(project, rest),
        Some((word, rest)) if word == "plots" => apart::plots(project, rest),
        Some((word, rest)) if word == "instructions" => instructions::run(project, rest),
        _ => measure(project, arguments),
    }
}

/// Runs the suites named, or all of them.
fn measure(project: &Project, arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments).map_err(|error| with_suites(&error.to_string()))?;
    if let Some(word) = options.words.iter().find(|word| !SUITES.iter().any(|s| s.name == *word)) {
        return Err(with_suites(&format!("there is no suite `{word}`")).into());
    }
    let bench = Bench::new(project, options)?;
    let machine = bench.head();
    let mut results = Vec::new();
    for suite in SUITES {
        let words = &bench.options.words;
        if !words.is_empty() && !words.iter().any(|word| word == suite.name) {
            continue;
        }
        println!("\n## {}: {}", suite.name, suite.about);
        match (suite.run)(&bench) {
            Ok(result) => {
                results
                    .push(json!({ "suite": suite.name, "about": suite.about, "result": result }));
            }
            Err(error) => bench.note_broken(format!("{}: {error}", suite.name)),
        }
    }
    bench.finish(&machine, "suites", results)
}

impl<'a> Bench<'a> {
    fn new(project: &'a Project, options: Options) -> Outcome<Self> {
        setup::ensure(project)?;
        let binary = if options.is_against_itself {
            PathBuf::new()
        } else {
            server::keystead_binary(project, &options.binary)?
        };
        let scratch = Scratch::new(project, "bench")?;
        Ok(Self { project, options, scratch, binary, broken: RefCell::default() })
    }

    /// Prints what every figure is to be read with.
    fn head(&self) -> Machine {
        let machine = Machine::describe(self.project);
        print!("{}", machine.render(self.options.is_markdown));
        machine
    }

    fn show(&self, table: &Table) {
        println!("\n{}", table.render(self.options.is_markdown));
    }

    /// A part of the run is worth nothing: it goes on, and its end says so.
    fn note_broken(&self, what: String) {
        eprintln!("BROKEN {what}");
        self.broken.borrow_mut().push(what);
    }

    /// Writes the file; fails if a part of the run was broken.
    fn finish(&self, machine: &Machine, what: &str, results: Vec<Value>) -> Outcome {
        let broken = self.broken.borrow();
        if let Some(path) = &self.options.json {
            let file = json!({
                "machine": machine.to_json(),
                "rounds": self.options.rounds,
                "requests": self.options.requests,
                "keys": self.options.keys,
                "broken": *broken,
                what: results,
            });
            std::fs::write(path, serde_json::to_string_pretty(&file)? + "\n")?;
        }
        if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
    }
}

fn with_suites(error: &str) -> String {
    let mut text = format!("{error}\nsuites:");
    for suite in SUITES {
        text.push_str(&format!("\n  {:<16}{}", suite.name, suite.about));
    }
    text
}
