//! The one list of how replies differ on purpose from those of redis-server 7.0.
//! Owns: reading `differences.txt`, which is compiled in. Never: excuses a difference without a reason.
//! Used by the reference page (`page.rs`) and by all tests beside redis-server.

use super::{Command, find};

const LIST: &str = include_str!("differences.txt");
/// Behind a command on which there is a remark, which excuses no reply.
const REMARK: &str = " ...";

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The command as a script has it; its name if it is a remark.
    pub line: &'static str,
    /// True if no script shows it: it is said on the page and excuses nothing.
    pub is_remark: bool,
    /// Why.
    pub reason: &'static str,
}

/// All differences, in the order of the list.
pub fn differences() -> impl Iterator<Item = Difference> {
    let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (line, reason) = line.split_once(" :: ").unwrap_or((line, ""));
        let name = line.strip_suffix(REMARK);
        Difference { line: name.unwrap_or(line), is_remark: name.is_some(), reason }
    })
}

/// Why the reply to `line`, written as in a script, may differ; `None` if it may not.
#[must_use]
pub fn reason_to_differ(line: &str) -> Option<&'static str> {
    let explains = |known: &Difference| known.line == line && !known.is_remark;
    differences().find(explains).map(|known| known.reason)
}

impl Difference {
    /// The row of the table that the line is about.
    #[must_use]
    pub fn row(&self) -> Option<&'static Command> {
        let mut words = self.line.split(' ');
        let row = find(words.next()?.as_bytes())?;
        let Some(sub) = words.next().filter(|_| !row.subcommands.is_empty()) else {
            return Some(row);
        };
        row.subcommands.iter().find(|known| known.verb().eq_ignore_ascii_case(sub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_has_a_reason_and_stands_once() {
        let mut lines = std::collections::BTreeSet::new();
        for known in differences() {
            assert!(!known.reason.is_empty(), "`{}` lacks ` :: reason`", known.line);
            assert!(lines.insert(known.line), "`{}` stands twice", known.line);
            assert!(known.row().is_some(), "no such command: {known:?}");
        }
    }

    #[test]
    fn a_line_excuses_itself_and_a_remark_nothing() {
        assert!(reason_to_differ("SCAN -1").is_some());
        assert!(reason_to_differ("SCAN -12").is_none());
        assert!(reason_to_differ("PUBLISH a b").is_none());
        assert!(reason_to_differ("PUBLISH").is_none());
    }
}
