//! Words that are banned as names because we have a better one, or because they say nothing.
//! Owns: the list. Never: names inside strings, comments or of other crates' items.

use super::source::{Source, words};
use super::{Tree, Violation};
use crate::project::Outcome;

/// Banned as a part of a name.
const PARTS: &[(&str, &str)] = &[
    ("partition", "we say shard; the network is what partitions"),
    ("master", "we say leader"),
    ("slave", "we say follower or replica"),
    ("manager", "say what it does"),
    ("helper", "say what it does"),
    ("helpers", "say what it does"),
    ("util", "say what it does"),
    ("utils", "say what it does"),
];
/// Banned as the whole name or as the end of a type's name.
const EMPTY_WORDS: &[&str] = &["data", "info"];
/// Names that an outward protocol fixes.
const FIXED: &[&str] = &["partition_point", "is_partitioned", "Partition"];
/// Keywords that introduce a name of ours.
const INTRODUCERS: &[&str] =
    &["fn", "struct", "enum", "trait", "mod", "type", "const", "static", "let"];

/// Checks file names and the names that each file introduces.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    let mut found = Vec::new();
    for source in tree.sources.iter().filter(|s| !s.name().starts_with("sim/")) {
        let stem = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(why) = fault(&stem, false) {
            found.push(Violation::new(&source.path, format!("file name: {why}")));
        }
        found.extend(introduced_faults(source));
    }
    Ok(found)
}

fn introduced_faults(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in source.product_lines() {
        let line_words: Vec<&str> = words(line).collect();
        for pair in line_words.windows(2) {
            if INTRODUCERS.contains(&pair[0])
                && let Some(why) = fault(pair[1], matches!(pair[0], "struct" | "enum" | "trait"))
            {
                let place = format!("{}:{number}", source.name());
                found.push(Violation::new(place, format!("`{}`: {why}", pair[1])));
            }
        }
    }
    found
}

/// Why a name is not used here.
fn fault(name: &str, is_type: bool) -> Option<String> {
    if FIXED.contains(&name) {
        return None;
    }
    let parts = split(name);
    for (part, why) in PARTS {
        if parts.iter().any(|p| p == part) {
            return Some(format!("`{part}` is banned: {why}"));
        }
    }
    let last = parts.last()?;
    let is_empty_word = EMPTY_WORDS.contains(&last.as_str()) && is_type && parts.len() > 1;
    is_empty_word.then(|| format!("`{last}` says nothing: name what it holds"))
}

/// The words of `snake_case`, `UPPER_CASE` or `CamelCase`, in lower case.
fn split(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && was_lower) {
            parts.push(String::new());
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
        if c != '_'
            && let Some(last) = parts.last_mut()
        {
            last.extend(c.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::{fault, split};

    #[test]
    fn names_fall_into_words() {
        assert_eq!(split("NodeInfo"), ["node", "info"]);
        assert_eq!(split("SLOT_COUNT"), ["slot", "count"]);
    }

    #[test]
    fn banned_names_are_found() {
        assert!(fault("PartitionTable", true).is_some());
        assert!(fault("NodeInfo", true).is_some());
        assert!(fault("data_dir", false).is_none());
        assert!(fault("partition_point", false).is_none());
    }
}
