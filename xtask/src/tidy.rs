//! The verb `tidy`: house rules that no lint of the compiler knows.
//!
//! Owns: the list of checks. Never: writes, builds, or judges style that rustfmt and clippy judge.
//! A check is a function from the tree to violations; each violation says what to do. The same
//! checks run as a test of this crate, so that they cannot be forgotten. A check that only makes
//! work is taken out again.

mod absences;
mod heads;
mod invariants;
mod layers;
mod names;
mod readmes;
mod sizes;
mod source;

use std::path::Path;

use crate::project::{Outcome, Project};
use source::Source;

/// Everything the checks look at, read once.
struct Tree<'a> {
    project: &'a Project,
    metadata: serde_json::Value,
    /// Every Rust file of the crates and of xtask.
    sources: Vec<Source>,
}

/// One broken rule at one place.
struct Violation {
    place: String,
    what: String,
}

impl Violation {
    fn new(place: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self { place: place.as_ref().display().to_string(), what: what.into() }
    }
}

/// A check: its name and what it finds.
type Check = (&'static str, fn(&Tree<'_>) -> Outcome<Vec<Violation>>);

const CHECKS: &[Check] = &[
    ("layers", layers::check),
    ("absences", absences::check),
    ("file heads", heads::check),
    ("sizes", sizes::check),
    ("names", names::check),
    ("invariants", invariants::check),
    ("readmes", readmes::check),
];

/// Runs every check and prints what it finds.
pub(crate) fn run(project: &Project, arguments: &[String]) -> Outcome {
    if !arguments.is_empty() {
        return Err("tidy takes nothing".into());
    }
    let tree = Tree::read(project)?;
    let mut count = 0;
    for (name, check) in CHECKS {
        for violation in check(&tree)? {
            println!("{name}: {}: {}", violation.place, violation.what);
            count += 1;
        }
    }
    if count == 0 { Ok(()) } else { Err(format!("{count} rules of the house are broken").into()) }
}

impl<'a> Tree<'a> {
    fn read(project: &'a Project) -> Outcome<Self> {
        let mut sources = Vec::new();
        for folder in ["crates", "xtask", "sim", "fuzz", "loom", "bench"] {
            for path in project.files(folder, "rs")? {
                let text = project.read(&path)?;
                sources.push(Source::new(path, text));
            }
        }
        Ok(Self { project, metadata: project.metadata()?, sources })
    }

    /// The product's crates: name without the prefix, and its entry in cargo's metadata.
    fn crates(&self) -> impl Iterator<Item = (&str, &serde_json::Value)> {
        let packages = self.metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
        packages.iter().filter_map(|package| {
            let name = package["name"].as_str()?;
            Some((name.strip_prefix("keystead-").unwrap_or(name), package))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::project::Project;

    #[test]
    fn the_tree_keeps_the_rules_of_the_house() {
        let project = Project::here().expect("tests run in the checkout");
        super::run(&project, &[]).expect("cargo xtask tidy names each broken rule");
    }
}
