//! What a crate must not know, held by looking for the words that would betray it.
//! Owns: one rule per absence that ARCHITECTURE.md marks with a star and that words can betray. Never:
//! dependencies between crates (see `layers`, which also keeps `raft` in its place); what clippy
//! already denies is repeated only where clippy cannot see it.
//!
//! Only the product's code is searched: comments, strings and tests may name anything.

use super::source::{Source, words};
use super::{Tree, Violation};
use crate::project::Outcome;

/// Words that may not stand in some files.
struct Absence {
    /// True for the files the rule covers.
    covers: fn(&str) -> bool,
    words: &'static [&'static str],
    why: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        covers: |path| in_crate(path, "resp"),
        words: &["File", "TcpStream", "TcpListener", "Instant", "SystemTime", "Slot", "ShardId"],
        why: "resp knows bytes: no I/O, no clock, no slot, no command",
    },
    Absence {
        covers: |path| in_crate(path, "store"),
        words: &["File", "TcpStream", "TcpListener", "Instant", "SystemTime", "ShardId", "thread"],
        why: "store has no clock, socket, shard or connection: what it needs comes in ApplyContext",
    },
    Absence {
        covers: |path| in_crate(path, "topology"),
        words: &[
            "File",
            "TcpStream",
            "TcpListener",
            "Instant",
            "SystemTime",
            "thread",
            "Read",
            "Write",
        ],
        why: "topology moves no bytes and reads no clock",
    },
    Absence {
        covers: |path| in_crate(path, "replication"),
        words: &["keystead_resp", "keystead_store", "redis", "Redis", "resp", "Resp"],
        why: "replication knows no Redis: entries are bytes to it, machines are behind a trait",
    },
    Absence {
        covers: |path| in_crate(path, "wal"),
        words: &["Term", "term", "vote", "leader", "election", "raft"],
        why: "wal knows groups, indexes and bytes, not terms or elections",
    },
    Absence {
        covers: |path| !in_crate(path, "wal") && path.starts_with("crates/"),
        words: &["sync_all", "sync_data", "fsync", "fdatasync"],
        why: "only wal syncs to disk: use its durable files",
    },
    Absence {
        covers: |path| !in_crate(path, "supervisor") && path.starts_with("crates/"),
        words: &["JoinSet", "TaskTracker"],
        why: "nobody but a supervisor starts a task: use a ChildSpec or a Nursery",
    },
    Absence {
        covers: |path| path.starts_with("crates/"),
        words: &["unbounded_channel", "unbounded"],
        why: "every queue is bounded, with its bound in types/limits.rs or a setting",
    },
];

/// Checks every source file against every rule.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    Ok(tree.sources.iter().flat_map(check_file).collect())
}

fn check_file(source: &Source) -> Vec<Violation> {
    let path = source.name();
    let mut found = Vec::new();
    for rule in ABSENCES.iter().filter(|rule| (rule.covers)(&path)) {
        for (number, line) in source.product_lines() {
            let betrayed = words(line).find(|word| rule.words.contains(word));
            if let Some(word) = betrayed {
                let place = format!("{path}:{number}");
                found.push(Violation::new(place, format!("names `{word}`: {}", rule.why)));
            }
        }
    }
    found
}

/// True for files of the crate's own sources (not its tests, examples or build script).
fn in_crate(path: &str, name: &str) -> bool {
    path.strip_prefix("crates/")
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.starts_with("/src/"))
}

#[cfg(test)]
mod tests {
    use super::check_file;
    use crate::tidy::source::Source;

    #[test]
    fn words_in_comments_strings_and_tests_are_free() {
        let text = "// Instant\nlet a = \"Instant\";\nlet b = Instant::now();\n\
                    #[cfg(test)]\nmod tests {\n    fn c() { Instant::now(); }\n}\n";
        let source = Source::new("crates/store/src/a.rs".into(), text.to_owned());
        let places: Vec<String> = check_file(&source).into_iter().map(|v| v.place).collect();
        assert_eq!(places, ["crates/store/src/a.rs:3"]);
    }
}
