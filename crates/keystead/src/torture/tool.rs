//! Programs of the system that prepare and break: `ip`, `nft`, `tc`, `mount` and the like.
//! Owns: running one to its end. Never: a shell.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::error::TortureError;

/// Runs a program to its end and returns what it printed.
pub(super) fn run(line: &[&str]) -> Result<String, TortureError> {
    run_with(line, "")
}

/// As [`run`], with `input` on its standard input.
pub(super) fn run_with(line: &[&str], input: &str) -> Result<String, TortureError> {
    let missing = |source| TortureError::Program { program: line[0].to_owned(), source };
    let mut process = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    if let Some(mut stdin) = process.stdin.take() {
        // A program that does not want its input says so by how it ends.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = process.wait_with_output().map_err(missing)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let says = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TortureError::Tool { line: line.join(" "), status: output.status, says })
}

/// Runs a program whose failure changes nothing: when cleaning up.
pub(super) fn try_run(line: &[&str]) {
    drop(run(line));
}
