//! Resident bytes per key: 16-byte keys, 64-byte values.
//! Owns: that figure. Never: what the server itself believes to use.

use serde_json::{Value, json};

use super::peer::{IN_MEMORY, Peer};
use super::{Bench, report};
use crate::project::Outcome;

/// Fills each contender and divides what its resident memory grew by.
#[expect(clippy::cast_precision_loss, reason = "bytes and keys of a benchmark are far below 2^52")]
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let peers = [
        Peer::keystead(bench, "keystead", 1, &["--durability", "replicated"])?,
        Peer::redis(bench, "redis", IN_MEMORY)?,
    ];
    let keys = bench.options.keys;
    let mut figures = Vec::new();
    for peer in &peers {
        println!("   {:<18}{}", peer.name, peer.settings);
        let before = peer.resident_bytes()?;
        peer.fill(keys, 64)?;
        let grown = peer.resident_bytes()?.saturating_sub(before);
        figures.push((peer.name, grown as f64 / keys as f64));
    }
    report::figures("resident bytes per key", &figures);
    let results: Vec<Value> = peers
        .iter()
        .zip(&figures)
        .map(|(peer, (name, bytes))| {
            json!({ "name": name, "settings": peer.settings, "bytes_per_key": bytes })
        })
        .collect();
    Ok(json!({ "keys": keys, "key_bytes": 16, "value_bytes": 64, "peers": results }))
}
