//! The project's verbs: what CI and people run, the same for both, with nothing to install first.
//!
//! Owns: the list of verbs and what each does. Never: part of the product; no crate depends on it.
//! `cargo xtask` without a verb prints the list. Only `fix`, `golden update`, `pages update` and
//! `adr` write into the tree; `verify` never does.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool for people")]

mod adr;
mod bench;
mod cluster;
mod commands;
mod compat;
mod docs;
mod fuzz;
mod golden;
mod loom;
mod pages;
mod project;
mod server;
mod setup;
mod sim;
mod step;
mod tests_verb;
mod tidy;
mod verify;
mod wait;
mod wire;

use std::process::ExitCode;

use project::{Outcome, Project};

/// One verb: its name, what may follow it, what it does.
struct Verb {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&Project, &[String]) -> Outcome,
}

/// Every verb that exists, in the order in which they are listed.
const VERBS: &[Verb] = &[
    Verb {
        name: "check",
        arguments: "",
        about: "cargo check of everything, and tidy",
        run: verify::check,
    },
    Verb {
        name: "test",
        arguments: "[CRATE]",
        about: "installs what tests need, runs all tests and doctests (of CRATE)",
        run: tests_verb::run,
    },
    Verb {
        name: "verify",
        arguments: "[--without-tests]",
        about: "everything a merge needs; never writes",
        run: verify::verify,
    },
    Verb {
        name: "fix",
        arguments: "",
        about: "clippy --fix, fmt, typos: writes into the tree",
        run: verify::fix,
    },
    Verb {
        name: "docs",
        arguments: "",
        about: "rustdoc with warnings denied, doctests, links between pages",
        run: docs::run,
    },
    Verb {
        name: "tidy",
        arguments: "",
        about: "layers, absences, file and function sizes, invariants, the two READMEs",
        run: tidy::run,
    },
    Verb {
        name: "setup",
        arguments: "[--check]",
        about: "installs what tests need (apt, pip, npm); --check only names what is missing",
        run: setup::run,
    },
    Verb {
        name: "doctor",
        arguments: "",
        about: "names what tests and benchmarks need and whether it is here",
        run: setup::doctor,
    },
    Verb {
        name: "golden",
        arguments: "[update]",
        about: "golden scripts; `update` rewrites what they expect, for review in the diff",
        run: golden::run,
    },
    Verb {
        name: "fuzz",
        arguments: "[TARGET [SECONDS] | replay]",
        about: "any bytes to every decoder; `replay` is what CI runs",
        run: fuzz::run,
    },
    Verb {
        name: "loom",
        arguments: "",
        about: "hand-made synchronisation in every order of events",
        run: loom::run,
    },
    Verb {
        name: "pages",
        arguments: "[update]",
        about: "reference pages generated from the tables: compare, or write them",
        run: pages::run,
    },
    Verb {
        name: "bench",
        arguments: "[SUITE...] [--...]",
        about: "figures beside redis and etcd, curves, instructions, flame graphs; --help lists them",
        run: bench::run,
    },
    Verb {
        name: "commands",
        arguments: "[--binary KEYSTEAD]",
        about: "how many commands of Redis 7.0 are known, which are refused or missing",
        run: commands::run,
    },
    Verb {
        name: "compat",
        arguments: "[SCRIPT...] [--...]",
        about: "the same commands to redis-server and keystead, every reply byte compared",
        run: compat::run,
    },
    Verb {
        name: "sim",
        arguments: "[--seed N] [--...]",
        about: "simulated clusters, fresh seeds for a minute; --seed N plays one again",
        run: sim::run,
    },
    Verb {
        name: "sim-meta",
        arguments: "",
        about: "one seed twice is one history; every known mistake is found",
        run: sim::meta,
    },
    Verb {
        name: "cluster",
        arguments: "[N]",
        about: "a local cluster of N (default 3) nodes in this terminal",
        run: cluster::run,
    },
    Verb {
        name: "adr",
        arguments: "TITLE",
        about: "begins the next decision record in docs/adr",
        run: adr::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        list();
        return ExitCode::SUCCESS;
    };
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        list();
        eprintln!("\nxtask: there is no verb `{name}`");
        return ExitCode::from(2);
    };
    let outcome = Project::here().and_then(|project| (verb.run)(&project, rest));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("cargo xtask VERB\n");
    for verb in VERBS {
        let usage = format!("{} {}", verb.name, verb.arguments);
        println!("  {usage:<26}{}", verb.about);
    }
}
