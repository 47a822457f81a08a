//! The verb `loom`: hand-made synchronisation in every order of events.
//! Owns: how the scenarios of `loom/` are run. Never: part of the product; no crate depends on it.

use crate::fuzz::lint_apart;
use crate::project::{Outcome, Project};

/// The lints and the format of the scenarios, for `verify`.
pub(crate) fn lint(project: &Project) -> Outcome {
    lint_apart(project, "loom")
}

/// Runs every scenario.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    if !arguments.is_empty() {
        return Err("loom takes nothing".into());
    }
    let mut tests = project.cargo(&["test", "--quiet", "--locked"]);
    tests.current_dir(project.path("loom")).env("CARGO_TARGET_DIR", project.target()?);
    if tests.status()?.success() {
        Ok(())
    } else {
        Err("there is an order that breaks a promise".into())
    }
}
