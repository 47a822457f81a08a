//! The verb `test`: what the README tells a newcomer to run, and what CI runs.
//! Owns: the order setup, tests, doctests. Never: skips a test because a tool is missing.

use crate::project::{Outcome, Project, find_program};
use crate::setup;
use crate::step::Steps;

/// Installs what tests need, then runs every test and every example in the docs, of all crates or of one.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let scope = match arguments {
        [] => vec!["--workspace".to_owned()],
        [name] => vec!["--package".to_owned(), package_name(name)],
        _ => return Err("test takes nothing, or the name of one crate".into()),
    };
    setup::ensure(project)?;

    let mut steps = Steps::default();
    let mut tests = if find_program("cargo-nextest").is_some() {
        let profile = if std::env::var_os("CI").is_some() { "ci" } else { "default" };
        project.cargo(&[
            "nextest",
            "run",
            "--no-tests=pass",
            "--no-fail-fast",
            "--profile",
            profile,
        ])
    } else {
        project.cargo(&["test", "--all-targets", "--no-fail-fast"])
    };
    steps.command("tests", tests.args(&scope).envs(setup::environment(project)?));
    // A binary crate has no library and so no doctests; cargo calls that an error.
    if !scope.iter().any(|s| s == "xtask") {
        steps.command("doctests", project.cargo(&["test", "--doc", "--quiet"]).args(&scope));
    }
    steps.finish()
}

/// People say `store`, cargo says `keystead-store`.
fn package_name(name: &str) -> String {
    match name {
        "keystead" | "xtask" => name.to_owned(),
        _ if name.starts_with("keystead-") => name.to_owned(),
        _ => format!("keystead-{name}"),
    }
}
