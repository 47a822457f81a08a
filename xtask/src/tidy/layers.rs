//! Which crate may use which, and what the pure crates may never depend on.
//! Owns: the layer table. Never: the reasons; they stand in ARCHITECTURE.md.
//!
//! Read from cargo's metadata, so a dependency that is only declared counts too. Tests obey the
//! same table: a dev-dependency upwards would let a layer be tested only with what stands on it.

use serde_json::Value;

use super::{Tree, Violation};
use crate::project::Outcome;

/// A crate and the crates of this workspace it may use, from the lowest layer up.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("resp", &["types"]),
    ("script", &["resp"]),
    ("store", &["types", "resp", "script"]),
    ("topology", &["types", "resp"]),
    ("history", &[]),
    ("supervisor", &[]),
    ("wal", &["types"]),
    ("replication", &["types", "supervisor", "wal"]),
    ("node", &["types", "resp", "store", "topology", "supervisor", "wal", "replication"]),
    ("gateway", &["types", "resp", "store", "topology", "supervisor", "node"]),
    ("client", &["types", "resp"]),
    (
        "keystead",
        &[
            "types",
            "resp",
            "store",
            "topology",
            "history",
            "supervisor",
            "wal",
            "replication",
            "node",
            "gateway",
            "client",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that may not even name a runtime, a clock or a random source.
const PURE: &[&str] = &["types", "resp", "script", "store", "topology", "history"];
const IMPURE_DEPENDENCIES: &[&str] =
    &["tokio", "rand", "chrono", "getrandom", "time", "async-std", "mio"];
/// Errors without a type are for binaries.
const ANYHOW: &[&str] = &["anyhow", "eyre", "color-eyre"];

/// Checks every package of the workspace against the table.
pub(super) fn check(tree: &Tree<'_>) -> Outcome<Vec<Violation>> {
    let mut found = Vec::new();
    for (name, package) in tree.crates() {
        let place = format!("crate {name}");
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            found.push(Violation::new(
                place,
                "stands in no layer: add it to LAYERS, and write an ADR",
            ));
            continue;
        };
        for dependency in dependencies(package) {
            found
                .extend(judge(name, &dependency, allowed).map(|what| Violation::new(&place, what)));
        }
        if package["publish"].as_array().is_none_or(|registries| !registries.is_empty()) {
            found.push(Violation::new(
                &place,
                "could be published by mistake: publish.workspace = true",
            ));
        }
    }
    for (name, package) in tree.crates() {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let text = std::fs::read_to_string(manifest)?;
        if !text.contains("[lints]\nworkspace = true") {
            found.push(Violation::new(
                format!("crate {name}"),
                "does not take the workspace's lints",
            ));
        }
    }
    Ok(found)
}

struct Dependency {
    name: String,
    is_own: bool,
    is_for_tests: bool,
}

fn dependencies(package: &Value) -> Vec<Dependency> {
    let listed = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let read = |dependency: &Value| {
        let name = dependency["name"].as_str()?;
        let is_own = dependency["path"].is_string();
        let name = if is_own { name.strip_prefix("keystead-").unwrap_or(name) } else { name };
        let is_for_tests = dependency["kind"].as_str() == Some("dev");
        Some(Dependency { name: name.to_owned(), is_own, is_for_tests })
    };
    listed.iter().filter_map(read).collect()
}

fn judge(of: &str, dependency: &Dependency, allowed: &[&str]) -> Option<String> {
    let name = dependency.name.as_str();
    if dependency.is_own {
        // A crate that lists itself for tests turns on its own features; that crosses no layer.
        let is_allowed = allowed.contains(&name) || (dependency.is_for_tests && name == of);
        return (!is_allowed).then(|| format!("may not use {name}, which does not stand below it"));
    }
    if PURE.contains(&of) && IMPURE_DEPENDENCIES.contains(&name) && !dependency.is_for_tests {
        return Some(format!("is pure and may not depend on {name}: pass the value in"));
    }
    if name == "raft" && of != "replication" {
        return Some("only replication may name raft".to_owned());
    }
    let is_binary = matches!(of, "keystead" | "xtask");
    if ANYHOW.contains(&name) && !is_binary && !dependency.is_for_tests {
        return Some(format!("is a library: a thiserror enum instead of {name}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Dependency, LAYERS, judge};

    fn dependency(name: &str, is_own: bool) -> Dependency {
        Dependency { name: name.to_owned(), is_own, is_for_tests: false }
    }

    #[test]
    fn a_layer_uses_only_what_stands_before_it() {
        for (at, (name, allowed)) in LAYERS.iter().enumerate() {
            for below in *allowed {
                let position = LAYERS.iter().position(|(layer, _)| layer == below);
                assert!(
                    position.is_some_and(|p| p < at),
                    "{name} may use {below}, which stands after it"
                );
            }
        }
    }

    #[test]
    fn forbidden_edges_are_found() {
        assert!(judge("store", &dependency("node", true), &["types"]).is_some());
        assert!(judge("store", &dependency("tokio", false), &["types"]).is_some());
        assert!(judge("node", &dependency("raft", false), &[]).is_some());
        assert!(judge("wal", &dependency("anyhow", false), &[]).is_some());
        assert!(judge("store", &dependency("types", true), &["types"]).is_none());
        assert!(judge("node", &dependency("tokio", false), &[]).is_none());
    }
}
