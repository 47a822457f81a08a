//! The workspace `bench/`: pieces by themselves, and the programs that draw.
//! Owns: how it is built and called, `bench micro`, `bench disk` and `bench plots`. Never: what a piece does or a picture shows.

use std::path::PathBuf;
use std::process::Command;

use crate::project::{Outcome, Project};

const FOLDER: &str = "bench";

/// Times the pieces with criterion; what follows goes to it as it is.
pub(super) fn micro(project: &Project, arguments: &[String]) -> Outcome {
    let mut bench = cargo(project, &["bench", "--quiet", "--locked", "--bench", "pieces", "--"])?;
    let status = bench.args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(format!("the pieces failed: {status}").into()) }
}

/// Draws the curves that a file of `bench curves` holds.
pub(super) fn plots(project: &Project, arguments: &[String]) -> Outcome {
    let (file, folder) = match arguments {
        [file] => (file, "docs/performance"),
        [file, folder] => (file, folder.as_str()),
        _ => return Err("cargo xtask bench plots FILE.json [FOLDER]".into()),
    };
    let folder = project.path(folder);
    std::fs::create_dir_all(&folder)?;
    let status = Command::new(program(project, "plots")?).arg(file).arg(folder).status()?;
    if status.success() { Ok(()) } else { Err(format!("nothing was drawn: {status}").into()) }
}

/// Brings blocks to a disk in several ways; what follows is the folder to write in, and how many blocks.
pub(super) fn disk(project: &Project, arguments: &[String]) -> Outcome {
    let [_, ..] = arguments else { return Err("cargo xtask bench disk FOLDER [BLOCKS]".into()) };
    let status = Command::new(program(project, "disk")?).args(arguments).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the disk was not measured: {status}").into())
    }
}

/// The path of a program of the workspace, built if need be.
pub(super) fn program(project: &Project, name: &str) -> Outcome<PathBuf> {
    // What draws needs crates that nothing else does.
    let draws = matches!(name, "plots" | "flame");
    let features: &[&str] = if draws { &["--features", "pictures"] } else { &[] };
    let mut command = cargo(project, &["build", "--quiet", "--locked", "--bin", name])?;
    let status = command.args(features).status()?;
    if !status.success() {
        return Err(format!("{FOLDER}/ does not build: {status}").into());
    }
    Ok(project.target()?.join("debug").join(name))
}

/// A call of cargo in the workspace, into the target folder of the product: their dependencies are the same.
fn cargo(project: &Project, arguments: &[&str]) -> Outcome<Command> {
    let mut command = project.cargo(arguments);
    command.current_dir(project.path(FOLDER)).env("CARGO_TARGET_DIR", project.target()?);
    Ok(command)
}

/// The format, the lints and the tests of the workspace, for `verify`.
pub(crate) fn verify(project: &Project) -> Outcome {
    let clippy = ["clippy", "--all-targets", "--all-features", "--quiet", "--", "-D", "warnings"];
    let tests = ["test", "--lib", "--bins", "--all-features", "--quiet", "--locked"];
    for arguments in [&["fmt", "--check"][..], &clippy, &tests] {
        if !cargo(project, arguments)?.status()?.success() {
            return Err(format!("cargo {} in {FOLDER}/", arguments[0]).into());
        }
    }
    Ok(())
}
