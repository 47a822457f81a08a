//! The table of intended differences from Redis.
//! Owns: reading it, and which of its lines were seen. Never: a difference without a reason.
//!
//! A line is `COMMAND AS IN THE SCRIPT :: reason`; the list lies with the command table, whose page shows it.

use std::collections::{BTreeMap, BTreeSet};

use crate::project::{Outcome, Project};

const FILE: &str = "crates/store/src/command/differences.txt";

/// Behind a command on which there is a remark, which excuses no reply.
const REMARK: &str = " ...";

/// What differs by design.
pub(super) struct Differences {
    reasons: BTreeMap<String, String>,
    seen: BTreeSet<String>,
}

impl Differences {
    pub(super) fn read(project: &Project) -> Outcome<Self> {
        let mut reasons = BTreeMap::new();
        for line in project.read(FILE)?.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (command, reason) = line
                .split_once(" :: ")
                .ok_or_else(|| format!("{FILE}: `{line}` lacks ` :: reason`"))?;
            if !command.ends_with(REMARK) {
                reasons.insert(command.trim().to_owned(), reason.trim().to_owned());
            }
        }
        Ok(Self { reasons, seen: BTreeSet::new() })
    }

    /// True if the difference is intended; it then counts as seen.
    pub(super) fn explain(&mut self, command: &str) -> bool {
        let is_known = self.reasons.contains_key(command);
        if is_known {
            self.seen.insert(command.to_owned());
        }
        is_known
    }

    /// How many intended differences showed.
    pub(super) fn seen(&self) -> usize {
        self.seen.len()
    }

    /// Those that did not show.
    pub(super) fn stale(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().filter(|command| !self.seen.contains(*command)).map(String::as_str)
    }
}
