//! Steps of a verb: each is announced, timed and reported, and a failure does not hide the next.
//! Owns: running one command after another and the closing table. Never: knows what a step means.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::project::Outcome;

/// The steps of one verb run so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
    /// What was not run, and why.
    left_out: Vec<(&'static str, &'static str)>,
}

struct Step {
    name: String,
    took: Duration,
    failure: Option<String>,
}

impl Steps {
    /// Runs `command` and notes whether it ended well. Goes on either way: one run shows all failures.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) {
        self.call(name, || {
            let status = command.status().map_err(|error| {
                let program = command.get_program().to_string_lossy().into_owned();
                format!("cannot start {program}: {error}")
            })?;
            if status.success() { Ok(()) } else { Err(status.to_string().into()) }
        });
    }

    /// Runs `work` as a step.
    pub(crate) fn call(&mut self, name: &str, work: impl FnOnce() -> Outcome) {
        println!("==> {name}");
        let start = Instant::now();
        let failure = work().err().map(|error| error.to_string());
        if let Some(failure) = &failure {
            eprintln!("{failure}");
        }
        self.done.push(Step { name: name.to_owned(), took: start.elapsed(), failure });
    }

    /// Says in the closing table that a step was not run.
    pub(crate) fn left_out(&mut self, name: &'static str, why: &'static str) {
        self.left_out.push((name, why));
    }

    /// Prints how long each step took; fails if one failed.
    pub(crate) fn finish(self) -> Outcome {
        println!();
        for step in &self.done {
            let mark = if step.failure.is_some() { "FAILED" } else { "ok" };
            println!("{mark:>8} {:>8.1} s  {}", step.took.as_secs_f64(), step.name);
        }
        for (name, why) in &self.left_out {
            println!("{:>8} {:>10}  {name}: {why}", "left out", "");
        }
        let failed: Vec<&str> =
            self.done.iter().filter(|s| s.failure.is_some()).map(|s| s.name.as_str()).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(format!("failed: {}", failed.join(", ")).into())
        }
    }
}
