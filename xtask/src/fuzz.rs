//! The verb `fuzz`: any bytes to every decoder that meets bytes from a socket or a disk.
//! Owns: how the targets of `fuzz/` are built and run. Never: installs anything, writes into the stored corpus.
//!
//! `replay` needs nothing but cargo: it runs the targets as tests over `fuzz/corpus`, their seeds and mutations of both.
//! A target's name runs libFuzzer on it, built with the address sanitizer. The flags are those that `cargo fuzz` gives,
//! so that tool works too where it is installed; the toolchain is told to allow the one that is not stable.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::{Outcome, Project};
use crate::step::Steps;

/// Seconds that a target runs if no number is given.
const SECONDS: u64 = 60;
/// Longest input that the fuzzer makes, bytes: more only makes it slow.
const INPUT_BYTES_MAX: usize = 4096;
/// Seconds after which one input counts as hanging.
const INPUT_SECONDS_MAX: u64 = 10;
/// Most memory that one allocation may take, MiB: a value of the greatest size, 512 MiB, and a little.
const ALLOCATION_MIB_MAX: usize = 600;
/// Counts what is reached, so that the fuzzer sees what is new.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Lists the targets, replays the corpus, or runs one target or all.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let targets = targets(project)?;
    match arguments {
        [] => {
            println!("cargo xtask fuzz TARGET|all [SECONDS], or: cargo xtask fuzz replay\n");
            targets.iter().for_each(|target| println!("  {target}"));
            Ok(())
        }
        [word] if word == "replay" => replay(project),
        [name, rest @ ..] => {
            let seconds = match rest {
                [] => SECONDS,
                [number] => {
                    number.parse().map_err(|_| format!("`{number}` is no number of seconds"))?
                }
                _ => return Err("fuzz takes a target and a number of seconds".into()),
            };
            let chosen: Vec<String> =
                targets.into_iter().filter(|target| name == "all" || target == name).collect();
            if chosen.is_empty() {
                return Err(
                    format!("there is no target `{name}`; `cargo xtask fuzz` lists them").into()
                );
            }
            drive(project, &chosen, seconds)
        }
    }
}

/// The targets by name: one program each.
fn targets(project: &Project) -> Outcome<Vec<String>> {
    let programs = project.files("fuzz/fuzz_targets", "rs")?;
    let name = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(programs.iter().filter_map(name).collect())
}

/// The targets as ordinary tests.
pub(crate) fn replay(project: &Project) -> Outcome {
    let target = project.target()?;
    // Its dependencies are those of the product, built the same way: the folder is shared.
    let mut tests = cargo(project, &["test", "--quiet", "--locked"]);
    let status = tests.env("CARGO_TARGET_DIR", target).status()?;
    if status.success() {
        Ok(())
    } else {
        Err("a target broke a promise; the input stands above".into())
    }
}

/// The lints and the format of the targets, for `verify`.
pub(crate) fn lint(project: &Project) -> Outcome {
    lint_apart(project, "fuzz")
}

/// The lints and the format of a workspace apart whose dependencies are built as the product's are.
pub(crate) fn lint_apart(project: &Project, folder: &str) -> Outcome {
    for arguments in
        [&["fmt", "--check"][..], &["clippy", "--all-targets", "--quiet", "--", "-D", "warnings"]]
    {
        let mut command = project.cargo(arguments);
        command.current_dir(project.path(folder)).env("CARGO_TARGET_DIR", project.target()?);
        if !command.status()?.success() {
            return Err(format!("cargo {} in {folder}/", arguments[0]).into());
        }
    }
    Ok(())
}

/// Builds the chosen targets with the sanitizer and runs one after the other.
fn drive(project: &Project, chosen: &[String], seconds: u64) -> Outcome {
    let host = host(project)?;
    let folder = project.target()?.join("fuzzing");
    let flags = format!("{COVERAGE} -Zsanitizer=address");
    let mut build = cargo(project, &["build", "--profile", "fuzz", "--features", "libfuzzer"]);
    build.args(["--target", &host]).env("CARGO_TARGET_DIR", &folder);
    build.env("RUSTFLAGS", flags).env("RUSTC_BOOTSTRAP", "1");
    chosen.iter().for_each(|target| {
        build.args(["--bin", target]);
    });
    if !build.status()?.success() {
        return Err("the targets do not build".into());
    }
    let seeds = folder.join("seeds");
    let mut seeder = cargo(project, &["run", "--quiet", "--example", "seeds"]);
    if !seeder.arg(&seeds).env("CARGO_TARGET_DIR", project.target()?).status()?.success() {
        return Err("the seeds cannot be written".into());
    }
    let mut steps = Steps::default();
    for target in chosen {
        let program = folder.join(&host).join("fuzz").join(target);
        steps.command(target, &mut fuzzer(project, &program, target, &folder, seconds)?);
    }
    steps.finish()
}

/// libFuzzer on one target. What it finds on its way stays in the target folder; what breaks a promise, too.
fn fuzzer(
    project: &Project,
    program: &Path,
    target: &str,
    folder: &Path,
    seconds: u64,
) -> Outcome<Command> {
    let found = folder.join("found").join(target);
    let broken = folder.join("broken").join(target);
    for own in [&found, &broken] {
        std::fs::create_dir_all(own)?;
    }
    let mut command = project.command(program);
    command.arg(&found).arg(folder.join("seeds").join(target));
    let stored = project.path("fuzz/corpus").join(target);
    if stored.is_dir() {
        command.arg(stored);
    }
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
    command.arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"));
    command.arg("-rss_limit_mb=4096").arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", broken.display()));
    Ok(command)
}

/// A call of cargo in the workspace of the targets.
fn cargo(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.cargo(arguments);
    command.current_dir(project.path("fuzz"));
    command
}

/// The triple of this machine: flags for it alone leave build scripts and macros as they are.
fn host(project: &Project) -> Outcome<String> {
    let output = project.command("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.ok_or("rustc does not name its host")?.to_owned())
}
