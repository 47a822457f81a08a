//! The verbs `check`, `verify` and `fix`: what a merge needs, and the only verb that tidies up.
//! Owns: which checks make a merge. Never (`check`, `verify`): writes into the tree.

use crate::project::{Outcome, Project, find_program};
use crate::step::Steps;
use crate::{bench, compat, docs, fuzz, loom, pages, sim, tests_verb, tidy};

/// `cargo check` of everything, and tidy.
pub(crate) fn check(project: &Project, _: &[String]) -> Outcome {
    let mut steps = Steps::default();
    steps.command(
        "cargo check",
        &mut project.cargo(&["check", "--workspace", "--all-targets", "--quiet"]),
    );
    steps.call("tidy", || tidy::run(project, &[]));
    steps.finish()
}

/// Everything a merge needs: format, lints, tidy, generated pages, docs and (unless told) tests.
pub(crate) fn verify(project: &Project, arguments: &[String]) -> Outcome {
    let is_with_tests = match arguments {
        [] => true,
        [flag] if flag == "--without-tests" => false,
        _ => return Err("verify takes nothing, or --without-tests".into()),
    };
    let mut steps = Steps::default();
    steps.command("format", &mut project.cargo(&["fmt", "--all", "--check"]));
    steps.call("tidy", || tidy::run(project, &[]));
    steps.command(
        "clippy",
        project
            .cargo(&["clippy", "--workspace", "--all-targets", "--quiet"])
            .args(["--", "-D", "warnings"]),
    );
    steps.call("simulator: format and lints", || sim::lint(project));
    steps.call("fuzz targets: format and lints", || fuzz::lint(project));
    steps.call("loom: format and lints", || loom::lint(project));
    steps.call("hot pieces: format, lints, tests", || bench::apart::verify(project));
    steps.call("docs", || docs::check_all(project));
    steps.call("generated pages", || pages::run(project, &[]));
    steps.call("replies compared with redis", || compat::run(project, &["--dev".to_owned()]));
    let through_failovers = ["--failover", "--dev"].map(str::to_owned);
    steps.call("replies while leaders die", || compat::run(project, &through_failovers));
    match find_program("cargo-deny") {
        Some(deny) => steps.command(
            "licences and bans",
            project.command(deny).args(["--offline", "check", "bans", "licenses"]),
        ),
        None => steps.left_out("licences and bans", "cargo-deny is not installed here; CI runs it"),
    }
    match find_program("typos") {
        Some(typos) => {
            steps.command("spelling", project.command(typos).args(["--config", "typos.toml"]));
        }
        None => steps.left_out("spelling", "typos is not installed here; CI runs it"),
    }
    if is_with_tests {
        steps.call("tests", || tests_verb::run(project, &[]));
    }
    steps.finish()
}

/// Writes what a machine can put right: lints with a known remedy, format, spelling.
pub(crate) fn fix(project: &Project, _: &[String]) -> Outcome {
    let mut steps = Steps::default();
    steps.command(
        "clippy --fix",
        &mut project.cargo(&[
            "clippy",
            "--fix",
            "--workspace",
            "--all-targets",
            "--allow-dirty",
            "--allow-staged",
        ]),
    );
    steps.command("format", &mut project.cargo(&["fmt", "--all"]));
    if let Some(typos) = find_program("typos") {
        steps.command(
            "spelling",
            project.command(typos).args(["--config", "typos.toml", "--write-changes"]),
        );
    } else {
        println!("spelling: `typos` is not installed, so nothing was corrected there");
    }
    steps.finish()
}
