//! The verbs `sim` and `sim-meta`: the simulator, which is a workspace of its own under `sim/`.
//! Owns: how it is built and called. Never: what it plays; its own flags go through as they are.

use std::process::Command;

use crate::project::{Outcome, Project};

/// Exit code of a run in which nothing failed, but too little happened to say that all is well.
const UNKNOWN: i32 = 3;

/// Plays seeds; see `sim/src/main.rs` for what may follow.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    simulate(project, arguments)
}

/// Looks for every known mistake, and plays one seed twice.
pub(crate) fn meta(project: &Project, arguments: &[String]) -> Outcome {
    if !arguments.is_empty() {
        return Err("sim-meta takes nothing".into());
    }
    let tests = in_sim(project, &["test", "--quiet"]).status()?;
    if !tests.success() {
        return Err("the simulator's own tests failed".into());
    }
    simulate(project, &["--meta".to_owned()])
}

/// The lints and the format of the simulator, for `verify`.
pub(crate) fn lint(project: &Project) -> Outcome {
    for arguments in
        [&["fmt", "--check"][..], &["clippy", "--all-targets", "--quiet", "--", "-D", "warnings"]]
    {
        if !in_sim(project, arguments).status()?.success() {
            return Err(format!("cargo {} in sim/", arguments[0]).into());
        }
    }
    Ok(())
}

fn simulate(project: &Project, arguments: &[String]) -> Outcome {
    let status = in_sim(project, &["run", "--quiet", "--"]).args(arguments).status()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(UNKNOWN) => Err("unknown: too little happened; play more seeds".into()),
        _ => Err("a promise was broken, or the simulator was called wrongly; see above".into()),
    }
}

fn in_sim(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.cargo(arguments);
    command.current_dir(project.path("sim"));
    command
}
