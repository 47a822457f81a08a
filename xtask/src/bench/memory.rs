//! Resident bytes per key: 16-byte keys, 64-byte values; and how much of them the server can name.
//! Owns: those two figures. Never: takes the server's word for the first.

use serde_json::{Value, json};

use super::Bench;
use super::goal::Limit;
use super::peer::{IN_MEMORY, Peer};
use super::report::{Figure, Table};
use crate::project::Outcome;
use crate::wire::Connection;

/// Bytes per key, with ten million of them.
const GOAL: Limit = Limit::AtMost(120.0);
/// How far what a server counts may be from what is resident, percent of the latter.
const ACCOUNTED_GOAL: Limit = Limit::AtMost(5.0);

/// Fills each contender and divides what its resident memory grew by.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let keys = bench.options.keys;
    let mut peers = vec![
        Peer::keystead(bench, "keystead", 1, &["--durability", "replicated"])?,
        Peer::redis(bench, "redis", IN_MEMORY)?,
    ];
    peers.extend(Peer::valkey(bench, IN_MEMORY)?);
    let (mut figures, mut unaccounted, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for (at, peer) in peers.iter().enumerate() {
        println!("   {:<18}{}", peer.name, peer.settings);
        let bytes = bytes_per_key(peer, keys)?;
        let goal = (at == 0).then_some(GOAL);
        figures.push(Figure { server: peer.name.to_owned(), value: bytes, spread: 0.0, goal });
        let (server, value) = (peer.name.to_owned(), unaccounted_percent(peer)?);
        let goal = (at == 0).then_some(ACCOUNTED_GOAL);
        unaccounted.push(Figure { server, value, spread: 0.0, goal });
        results.push(json!({
            "name": peer.name,
            "settings": peer.settings,
            "bytes_per_key": bytes,
            "unaccounted_percent": value,
        }));
    }
    println!("   memcached         absent: only what is installed is measured");
    let mut table = Table::of_figures("figure");
    table.figures(&format!("resident bytes per key, {keys} keys"), &figures);
    table.figures("resident and not in used_memory, or the other way, percent", &unaccounted);
    bench.show(&table);
    let settings = json!({ "keys": keys, "key_bytes": 16, "value_bytes": 64 });
    let goals = json!({ "bytes": GOAL.to_string(), "unaccounted": ACCOUNTED_GOAL.to_string() });
    Ok(json!({ "load": settings, "goals": goals, "peers": results }))
}

/// What an empty contender's memory grows by for each key.
#[expect(clippy::cast_precision_loss, reason = "bytes and keys of a benchmark are far below 2^52")]
pub(super) fn bytes_per_key(peer: &Peer, keys: u64) -> Outcome<f64> {
    let before = peer.resident_bytes()?;
    peer.fill(keys, 64)?;
    let grown = peer.resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / keys as f64)
}

/// How far `used_memory` is from what is resident, percent.
#[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark are far below 2^52")]
fn unaccounted_percent(peer: &Peer) -> Outcome<f64> {
    let text = Connection::open(peer.address())?.ask(&["INFO", "memory"])?;
    let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used: f64 = line.ok_or("INFO has no used_memory")?.trim().parse()?;
    let resident = peer.resident_bytes()? as f64;
    Ok((resident - used).abs() / resident * 100.0)
}
