//! Fuzz targets: what each decoder of the product promises for any bytes whatever.
//!
//! Owns: [`TARGETS`], one function for each kind of bytes that a socket or a disk may bring. Never: part of the
//! product. Called by the programs in `fuzz_targets/`, which libFuzzer drives (`cargo xtask fuzz TARGET`), and by
//! `tests/replay.rs`, which needs no fuzzer: it replays the stored corpus and mutations of it, in CI.
//!
//! A target takes bytes and returns, or panics because a promise is broken. "Does not panic" is the least; each
//! asserts what it can beyond that: what was read comes back as it was when it is written, any split into reads
//! decodes alike, two replicas come to one state.

mod input;
mod seal;
pub mod targets;

use targets::{
    commands, configuration, control, forwarded, frames, greetings, inline, json, log, lua,
    messages, metadata, payloads, records, replies, requests, snapshot_files, store_dumps,
};

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its program and of its folder in `corpus/`.
    pub name: &'static str,
    /// What it does with the bytes.
    pub run: fn(&[u8]),
    /// Inputs to begin with, where the stored corpus has none yet.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    Target { name: "commands", run: commands::run, seeds: commands::seeds },
    Target { name: "configuration", run: configuration::run, seeds: configuration::seeds },
    Target { name: "control", run: control::run, seeds: control::seeds },
    Target { name: "forwarded", run: forwarded::run, seeds: forwarded::seeds },
    Target { name: "frames", run: frames::run, seeds: frames::seeds },
    Target { name: "greetings", run: greetings::run, seeds: greetings::seeds },
    Target { name: "inline", run: inline::run, seeds: inline::seeds },
    Target { name: "json", run: json::run, seeds: json::seeds },
    Target { name: "log", run: log::run, seeds: log::seeds },
    Target { name: "lua", run: lua::run, seeds: lua::seeds },
    Target { name: "messages", run: messages::run, seeds: messages::seeds },
    Target { name: "metadata", run: metadata::run, seeds: metadata::seeds },
    Target { name: "payloads", run: payloads::run, seeds: payloads::seeds },
    Target { name: "records", run: records::run, seeds: records::seeds },
    Target { name: "replies", run: replies::run, seeds: replies::seeds },
    Target { name: "requests", run: requests::run, seeds: requests::seeds },
    Target { name: "snapshot_files", run: snapshot_files::run, seeds: snapshot_files::seeds },
    Target { name: "store_dumps", run: store_dumps::run, seeds: store_dumps::seeds },
];

/// The target called `name`.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
