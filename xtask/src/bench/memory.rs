//! Resident bytes per key: 16-byte keys, 64-byte values.
//! Owns: that figure. Never: what the server itself believes to use.

use serde_json::{Value, json};

use super::Bench;
use super::goal::Limit;
use super::peer::{IN_MEMORY, Peer};
use super::report::{Figure, Table};
use crate::project::Outcome;

/// Bytes per key, with ten million of them.
const GOAL: Limit = Limit::AtMost(120.0);

/// Fills each contender and divides what its resident memory grew by.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let keys = bench.options.keys;
    let mut peers = vec![
        Peer::keystead(bench, "keystead", 1, &["--durability", "replicated"])?,
        Peer::redis(bench, "redis", IN_MEMORY)?,
    ];
    peers.extend(Peer::valkey(bench, IN_MEMORY)?);
    let (mut figures, mut results) = (Vec::new(), Vec::new());
    for (at, peer) in peers.iter().enumerate() {
        println!("   {:<18}{}", peer.name, peer.settings);
        let bytes = bytes_per_key(peer, keys)?;
        let goal = (at == 0).then_some(GOAL);
        figures.push(Figure { server: peer.name.to_owned(), value: bytes, spread: 0.0, goal });
        results
            .push(json!({ "name": peer.name, "settings": peer.settings, "bytes_per_key": bytes }));
    }
    println!("   memcached         absent: only what is installed is measured");
    let mut table = Table::of_figures("bytes");
    table.figures(&format!("resident bytes per key, {keys} keys"), &figures);
    bench.show(&table);
    Ok(
        json!({ "keys": keys, "key_bytes": 16, "value_bytes": 64, "goal": GOAL.to_string(), "peers": results }),
    )
}

/// What an empty contender's memory grows by for each key.
#[expect(clippy::cast_precision_loss, reason = "bytes and keys of a benchmark are far below 2^52")]
pub(super) fn bytes_per_key(peer: &Peer, keys: u64) -> Outcome<f64> {
    let before = peer.resident_bytes()?;
    peer.fill(keys, 64)?;
    let grown = peer.resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / keys as f64)
}
