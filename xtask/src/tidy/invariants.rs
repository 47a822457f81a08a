//! Every invariant named in code is explained in ARCHITECTURE.md and held by a test that names it.
//! Owns: that correspondence, and that a name is given once. Never: whether the test is any good; a reviewer reads it.

use std::collections::BTreeMap;

use super::{Tree, Violation};
use crate::project::Outcome;

const PAGE: &str = "ARCHITECTURE.md";

/// Checks both directions: named in code but not explained or tested, explained but in no code.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    let page = tree.project.read(PAGE)?;
    let mut in_code: BTreeMap<String, String> = BTreeMap::new();
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    let mut tests = String::new();
    // xtask only speaks about invariants.
    for source in tree.sources.iter().filter(|source| !source.name().starts_with("xtask/")) {
        let product: Vec<&str> = source.text.lines().take(source.tests_from).collect();
        for name in names(&product.join("\n")) {
            in_code.entry(name).or_insert_with(|| source.name());
        }
        for name in product.iter().filter_map(|line| given_name(line)) {
            let home = crate_of(&source.name());
            let before = given.entry(name.clone()).or_insert_with(|| home.clone());
            if *before != home {
                let what =
                    format!("gives the name {name} again, which {before} gave to another rule");
                found.push(Violation::new(source.name(), what));
            }
        }
        source.test_text().for_each(|line| {
            tests.push_str(line);
            tests.push('\n');
        });
    }
    let explained = names(&page);
    let tested = names(&tests);
    for (name, place) in &in_code {
        if !explained.contains(name) {
            found.push(Violation::new(place, format!("{name} is not explained in {PAGE}")));
        }
        if !tested.contains(name) {
            found.push(Violation::new(
                place,
                format!("{name} is named by no test: name it in the one that holds it"),
            ));
        }
    }
    for name in explained.iter().filter(|name| !in_code.contains_key(*name)) {
        found.push(Violation::new(PAGE, format!("{name} is named nowhere in the code")));
    }
    Ok(found)
}

/// `crates/wal` of `crates/wal/src/log.rs`.
fn crate_of(path: &str) -> String {
    path.split('/').take(2).collect::<Vec<_>>().join("/")
}

/// The name that a line of docs gives to a rule: `//! INV-M1: at any epoch ...`.
fn given_name(line: &str) -> Option<String> {
    let text = line.trim().strip_prefix("//!").or_else(|| line.trim().strip_prefix("///"))?.trim();
    let (name, _) = text.trim_start_matches(['-', '*', ' ', '`']).split_once(':')?;
    (names(name).first().map(String::as_str) == Some(name)).then(|| name.to_owned())
}

/// The invariants a text names: `INV-` with capital letters and a number, each once, in order.
fn names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, marker) in text.match_indices("INV-") {
        let rest = &text[at + marker.len()..];
        let letters = rest.bytes().take_while(u8::is_ascii_uppercase).count();
        let digits = rest.bytes().skip(letters).take_while(u8::is_ascii_digit).count();
        if letters > 0 && digits > 0 {
            found.push(text[at..at + marker.len() + letters + digits].to_owned());
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::{given_name, names};

    #[test]
    fn a_rule_gets_its_name_in_the_docs() {
        assert_eq!(given_name("//! INV-M1: at any epoch").as_deref(), Some("INV-M1"));
        assert_eq!(given_name("// INV-M1: holds here"), None);
        assert_eq!(given_name("/// keeps INV-M1: see there"), None);
    }

    #[test]
    fn names_end_at_their_number() {
        assert_eq!(names("INV-R3: gap; INV-x, INV-M12. INV-R3"), ["INV-M12", "INV-R3"]);
    }
}
