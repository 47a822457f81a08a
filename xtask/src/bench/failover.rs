//! How long writes of all shards stand still when a node is killed.
//! Owns: killing each node in turn under writes, and the clock. Never: a clean stop, which hands over.
//!
//! A client of a surviving node writes one window of keys that fall into every shard, again and again.
//! The figure is the time from the kill until a whole window is acknowledged: the slowest shard counts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;
use super::peer::Peer;
use super::sample::median_of;
use crate::project::Outcome;
use crate::server;
use crate::wait;
use crate::wire::{self, Connection};

/// Keys of one window: with 16 shards, the chance that one of them gets none is below one percent.
const KEYS: usize = 128;
const DEADLINE: Duration = Duration::from_secs(30);

/// Kills every node once per round.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let mut peer = Peer::keystead(bench, "keystead", 3, &["--durability", "fsync"])?;
    if peer.servers.len() < 3 {
        println!("   needs three nodes of Keystead: nothing measured");
        return Ok(Value::Null);
    }
    println!("   {:<18}{}", peer.name, peer.settings);
    let mut seconds = Vec::new();
    for round in 0..bench.options.rounds * peer.servers.len() {
        seconds.push(kill_one(&mut peer, round)?);
    }
    let worst = seconds.iter().copied().fold(0.0, f64::max);
    println!(
        "{} kills: median {:.3} s, worst {worst:.3} s",
        seconds.len(),
        median_of(seconds.clone())
    );
    Ok(json!({ "settings": peer.settings, "seconds": seconds }))
}

fn kill_one(peer: &mut Peer, round: usize) -> Outcome<f64> {
    let count = peer.servers.len();
    let (victim, survivor) = (round % count, (round + 1) % count);
    let mut connection = Connection::open(peer.servers[survivor].address)?;
    await_writes(&mut connection)?;
    peer.servers[victim].kill()?;
    let begin = Instant::now();
    await_writes(&mut connection)?;
    let taken = begin.elapsed().as_secs_f64();
    peer.servers[victim].start_again()?;
    server::await_cluster(&mut peer.servers)?;
    Ok(taken)
}

/// Waits until every key of a window was acknowledged; says what the last refusal was if that never is.
fn await_writes(connection: &mut Connection) -> Outcome {
    let mut refusal = None;
    let written = wait::until("writes of all shards", DEADLINE, || {
        refusal = write_window(connection)?;
        Ok(refusal.is_none().then_some(()))
    });
    written.map_err(|error| format!("{error}; {}", refusal.unwrap_or_default()).into())
}

/// Writes a window of keys; the first refusal, and how many there were, if any.
fn write_window(connection: &mut Connection) -> Outcome<Option<String>> {
    let mut out = Vec::new();
    for number in 0..KEYS {
        wire::encode(&[b"SET", format!("key:{number:012}").as_bytes(), b"value"], &mut out);
    }
    connection.send(&out)?;
    let mut refusals = Vec::new();
    for number in 0..KEYS {
        let reply = connection.reply()?;
        if reply != b"+OK\r\n" {
            refusals.push(format!("key {number}: {}", reply.escape_ascii()));
        }
    }
    Ok(refusals.first().map(|first| format!("{} of {KEYS} refused, first {first}", refusals.len())))
}
