//! What a snapshot costs those who write meanwhile: memory, and the slowest of a thousand replies.
//! Owns: those two figures. Never: how long a snapshot takes by itself.
//!
//! Keystead decides for itself when it takes a snapshot: by the bytes of log since the last one. So there are two of
//! them, one that never gets there, one that always does. redis is told to (BGSAVE).

use std::fs::File;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;
use super::goal::Limit;
use super::peer::{IN_MEMORY, Peer};
use super::report::{Figure, Table};
use super::row::{self, Operation, Row};
use super::sample::{median_of, spread_percent};
use crate::project::Outcome;
use crate::wait;
use crate::wire::Connection;

/// How much a snapshot may add to memory, percent of what there was before.
const MEMORY_GOAL: Limit = Limit::AtMost(10.0);
/// How many times its own the slowest of a thousand replies may take.
const LATENCY_GOAL: Limit = Limit::AtMost(2.0);
/// How often memory is looked at: the look itself costs a millisecond or so.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(300);

const NEVER: &[&str] = &["--durability", "replicated", "--snapshot-log-bytes", "1tb"];
const ALWAYS: &[&str] = &["--durability", "replicated", "--snapshot-log-bytes", "1mb"];

/// Whether snapshots are taken while a load runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    Always,
    /// At the start of the load, because the server is told to.
    Told,
}

/// What a load showed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    p999_ms: f64,
    /// By how much memory grew at its highest, percent.
    memory: f64,
    /// Shards of which a snapshot was finished meanwhile.
    snapshots: usize,
}

/// Loads each server with snapshots and without.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let runs = [
        ("keystead", Peer::keystead(bench, "keystead never", 1, NEVER)?, When::Never),
        ("keystead", Peer::keystead(bench, "keystead always", 1, ALWAYS)?, When::Always),
        ("redis", Peer::redis(bench, "redis", IN_MEMORY)?, When::Never),
        ("redis", Peer::redis(bench, "redis told", IN_MEMORY)?, When::Told),
    ];
    let mut all: Vec<Vec<Seen>> = vec![Vec::new(); runs.len()];
    for (_, peer, _) in &runs {
        println!("   {:<18}{}", peer.name, peer.settings);
        peer.fill(bench.options.keys, 64)?;
        // Buffers grow to their size, and the log in memory to its bound: that is nobody's snapshot.
        load(bench, peer, When::Never)?;
    }
    for _ in 0..bench.options.rounds {
        for ((_, peer, when), seen) in runs.iter().zip(&mut all) {
            seen.push(load(bench, peer, *when)?);
        }
    }
    for ((_, peer, when), seen) in runs.iter().zip(&all) {
        if *when != When::Never && seen.iter().all(|seen| seen.snapshots == 0) {
            let what = "took no snapshot: give it more --requests";
            bench.note_broken(format!("{} {what}", peer.name));
        }
    }
    let (mut memory, mut latency) = (Vec::new(), Vec::new());
    for (at, pair) in [&all[..2], &all[2..]].into_iter().enumerate() {
        let name = runs[at * 2].0;
        let goal = |limit: Limit| (at == 0).then_some(limit);
        let p999 = |seen: &[Seen]| median_of(seen.iter().map(|seen| seen.p999_ms).collect());
        // Memory moves without snapshots, too. That is not theirs.
        let without = median_of(pair[0].iter().map(|seen| seen.memory).collect());
        let grown: Vec<f64> = pair[1].iter().map(|seen| seen.memory - without).collect();
        let figure = |value, goal| Figure { server: name.to_owned(), value, spread: 0.0, goal };
        let spread = spread_percent(&grown);
        memory.push(Figure { spread, ..figure(median_of(grown), goal(MEMORY_GOAL)) });
        latency.push(figure(p999(&pair[1]) / p999(&pair[0]), goal(LATENCY_GOAL)));
    }
    let mut table = Table::of_figures("figure");
    table.figures("memory at its highest, percent more than without", &memory);
    table.figures("p99.9 with snapshots, times that without", &latency);
    bench.show(&table);
    let to_json = |((name, peer, _), seen): (&(&str, Peer, When), &Vec<Seen>)| {
        let rounds: Vec<Value> = seen
            .iter()
            .map(|s| json!({ "p999_ms": s.p999_ms, "memory_percent": s.memory, "snapshots": s.snapshots }))
            .collect();
        json!({ "name": name, "settings": peer.settings, "rounds": rounds })
    };
    Ok(json!({ "peers": runs.iter().zip(&all).map(to_json).collect::<Vec<_>>() }))
}

/// SETs of 50 connections over keys that exist, while memory is watched.
fn load(bench: &Bench<'_>, peer: &Peer, when: When) -> Outcome<Seen> {
    let row = Row::new("SET, 50", Operation::Set);
    let options = &bench.options;
    let log = bench.scratch.folder("generator")?.join("out");
    let before = peer.proportional_bytes()?;
    let (marks, mut highest) = (snapshot_marks(peer)?, before);
    if when == When::Told {
        let said = Connection::open(peer.address())?.ask(&["BGSAVE"])?;
        if !said.starts_with('+') {
            return Err(format!("{} refuses BGSAVE: {said}", peer.name).into());
        }
    }
    let mut generator = row.generator(peer, options.requests, options.keys);
    let mut child = generator.stdout(File::create(&log)?).spawn()?;
    let mut looked_at = Instant::now();
    let status = wait::until("the end of a load", DEADLINE, || {
        if looked_at.elapsed() >= LOOK_EVERY {
            looked_at = Instant::now();
            highest = highest.max(peer.proportional_bytes()?);
        }
        Ok(child.try_wait()?)
    })?;
    let text = std::fs::read_to_string(&log)?;
    let sample = row::parse(&text).filter(|_| status.success());
    let sample = sample.ok_or_else(|| format!("redis-benchmark against {}: {text}", peer.name))?;
    let marks_now = snapshot_marks(peer)?;
    let snapshots = marks.iter().zip(&marks_now).filter(|(before, now)| before != now).count();
    #[expect(clippy::cast_precision_loss, reason = "bytes of a benchmark are far below 2^52")]
    let memory = (highest as f64 / before as f64 - 1.0) * 100.0;
    Ok(Seen { p999_ms: sample.p999_ms, memory, snapshots })
}

/// What changes when a snapshot is finished: the index of each shard's newest, or redis' time of the last.
fn snapshot_marks(peer: &Peer) -> Outcome<Vec<String>> {
    let section = if peer.name.starts_with("keystead") { "raft" } else { "persistence" };
    let text = Connection::open(peer.address())?.ask(&["INFO", section])?;
    Ok(text.lines().filter_map(mark).collect())
}

fn mark(line: &str) -> Option<String> {
    if let Some((front, rest)) = line.split_once(",snapshot=") {
        // The metadata group keeps its log short by itself.
        let is_of_keys = !front.starts_with("shard_0:");
        return rest.split(',').next().filter(|_| is_of_keys).map(str::to_owned);
    }
    line.strip_prefix("rdb_last_save_time:").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn snapshots_leave_a_mark() {
        let line = "shard_3:role=leader,log_last=9,snapshot=700,lease=1";
        assert_eq!(mark(line).as_deref(), Some("700"));
        assert_eq!(mark("shard_0:role=leader,snapshot=700,lease=1"), None);
        assert_eq!(mark("rdb_last_save_time:1700").as_deref(), Some("1700"));
        assert_eq!(mark("leader_of:16"), None);
    }
}
