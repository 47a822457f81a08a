//! Every file opens with `//!`; every crate says what it owns and what it never does.
//! Owns: that rule, and that a TODO carries an issue number. Never: judges the prose.

use super::{Tree, Violation};
use crate::project::Outcome;

/// Checks the head of every source file.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    let mut found = Vec::new();
    for source in &tree.sources {
        let path = source.name();
        if !source.text.starts_with("//!") {
            found.push(Violation::new(
                &path,
                "does not open with //! (what it owns, what it never does)",
            ));
        }
        let is_root = path.ends_with("/src/lib.rs");
        // The product's own front page is its guide for users, shared with the README.
        let is_guide = path == "crates/keystead/src/lib.rs";
        let head: String = source
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect::<Vec<_>>()
            .join("\n");
        if is_root && !is_guide && !(head.contains("Owns") && head.contains("Never")) {
            found.push(Violation::new(&path, "the head of a crate says `Owns:` and `Never:`"));
        }
        for (at, line) in source.text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//");
            let is_open_end = ["TODO", "FIXME"].iter().any(|word| line.contains(word));
            if is_comment && is_open_end && !line.contains('#') && !path.starts_with("xtask/") {
                found.push(Violation::new(
                    format!("{path}:{}", at + 1),
                    "a TODO carries an issue number",
                ));
            }
        }
    }
    Ok(found)
}
