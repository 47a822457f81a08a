//! Calls in process, without a socket: an example of crate `keystead` measures itself.
//! Owns: calling it and keeping what it prints. Never: a figure of its own.

use serde_json::{Value, json};

use super::Bench;
use crate::project::Outcome;

const EXAMPLE: &str = "embedded_bench";

/// Runs the example in its release build.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let source = bench.project.path(format!("crates/keystead/examples/{EXAMPLE}.rs"));
    if !source.is_file() {
        println!("   crate keystead has no example `{EXAMPLE}` yet: nothing measured");
        return Ok(Value::Null);
    }
    let mut call = bench.project.cargo(&["run", "--release", "--quiet", "--package", "keystead"]);
    let output = call.args(["--example", EXAMPLE]).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{EXAMPLE} failed: {said}").into());
    }
    let text = String::from_utf8(output.stdout)?;
    print!("{text}");
    let lines: Vec<&str> = text.lines().collect();
    Ok(json!({ "printed": lines }))
}
