//! The verb `golden`: scripts whose expected output is part of the tree.
//! Owns: how they are run and rewritten. Never: judges a difference; a person reads it in the diff.

use crate::project::{Outcome, Project};

/// Tests that play golden scripts have `golden` in their name, and rewrite what they expect when
/// this variable says `update`.
const VARIABLE: &str = "KEYSTEAD_GOLDEN";

/// Plays every golden script; `update` rewrites them.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    let mut tests = project.cargo(&["test", "--workspace", "--quiet", "golden"]);
    match arguments {
        [] => {}
        [word] if word == "update" => {
            tests.env(VARIABLE, "update");
        }
        _ => return Err("golden takes nothing, or update".into()),
    }
    let status = tests.status()?;
    if !status.success() {
        return Err(
            "a golden script shows something new; if it is right: cargo xtask golden update".into(),
        );
    }
    Ok(())
}
