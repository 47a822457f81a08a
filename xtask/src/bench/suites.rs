//! The suites that load running servers: who takes part, which rows are run, in which order.
//! Owns: rows and contenders of each suite. Never: how a load is generated (see `row`).

use serde_json::{Value, json};

use super::Bench;
use super::peer::{APPEND_ALWAYS, Dialect, IN_MEMORY, Peer};
use super::report;
use super::row::{Operation, Row};
use super::sample::{Sample, median};
use crate::project::Outcome;

const SINGLE_MEMORY: &[Row] = &[
    Row::new("GET, 50", Operation::Get),
    Row::new("SET, 50", Operation::Set),
    Row::new("INCR, 50", Operation::Incr),
    Row::new("HSET, 50", Operation::Hset),
    Row::new("MSET of 10, 50", Operation::Mset).percent(50),
    Row::new("GET, pipeline 16", Operation::Get).pipeline(16).percent(400),
    Row::new("SET, pipeline 16", Operation::Set).pipeline(16).percent(400),
    Row::new("GET, 1", Operation::Get).connections(1).percent(25),
    Row::new("SET, 1", Operation::Set).connections(1).percent(25),
    Row::new("GET, 512", Operation::Get).connections(512),
    Row::new("SET, 512", Operation::Set).connections(512),
    Row::new("GET of 4 KiB, 50", Operation::Get).value_bytes(4096),
    Row::new("SET of 4 KiB, 50", Operation::Set).value_bytes(4096),
];

const FSYNC: &[Row] = &[
    Row::new("SET, 1", Operation::Set).connections(1).percent(10),
    Row::new("SET, 50", Operation::Set).percent(50),
    Row::new("SET, 512", Operation::Set).connections(512),
    Row::new("SET, pipeline 16", Operation::Set).pipeline(16).percent(200),
];

const THREE: &[Row] = &[
    Row::new("SET, 1", Operation::Set).connections(1).percent(10),
    Row::new("SET, 50", Operation::Set).percent(50),
    Row::new("SET, 512", Operation::Set).connections(512).percent(50),
    Row::new("SET of 4 KiB, 50", Operation::Set).value_bytes(4096).percent(20),
    Row::new("GET, 50", Operation::Get),
];

/// Nothing waits for the disk.
pub(super) fn single_memory(bench: &Bench<'_>) -> Outcome<Value> {
    let peers = [
        Peer::keystead(bench, "keystead", 1, &["--durability", "replicated"])?,
        Peer::redis(bench, "redis", IN_MEMORY)?,
    ];
    play(bench, &peers, SINGLE_MEMORY)
}

/// Every write is on the disk before its reply.
pub(super) fn single_fsync(bench: &Bench<'_>) -> Outcome<Value> {
    let peers = [
        Peer::keystead(bench, "keystead", 1, &["--durability", "fsync"])?,
        Peer::redis(bench, "redis", APPEND_ALWAYS)?,
        Peer::etcd(bench, 1)?,
    ];
    play(bench, &peers, FSYNC)
}

/// Three nodes; clients connect to one of them, which forwards what it does not lead.
pub(super) fn three(bench: &Bench<'_>) -> Outcome<Value> {
    let peers = [
        Peer::keystead(bench, "keystead fsync", 3, &["--durability", "fsync"])?,
        Peer::keystead(bench, "keystead memory", 3, &["--durability", "replicated"])?,
        Peer::redis_three(bench)?,
        Peer::etcd(bench, 3)?,
    ];
    play(bench, &peers, THREE)
}

/// Runs the rows; contenders take turns within each round.
fn play(bench: &Bench<'_>, peers: &[Peer], rows: &[Row]) -> Outcome<Value> {
    for peer in peers {
        println!("   {:<18}{}", peer.name, peer.settings);
    }
    println!("   {} rounds, {} keys, medians", bench.options.rounds, bench.options.keys);
    for peer in peers.iter().filter(|peer| peer.dialect != Dialect::Etcd) {
        peer.fill(bench.options.keys, 64)?;
    }
    report::head();
    let mut results = Vec::new();
    for row in rows.iter().filter(|row| bench.options.wants(row.name)) {
        let samples = play_row(bench, peers, row)?;
        let medians: Vec<Option<Sample>> =
            samples.iter().map(|all| (!all.is_empty()).then(|| median(all))).collect();
        report::row(row.name, peers, &medians);
        let of_peers: Vec<Value> = peers
            .iter()
            .zip(&samples)
            .zip(&medians)
            .map(|((peer, all), median)| {
                let rounds: Vec<Value> = all.iter().map(|sample| sample.to_json()).collect();
                json!({ "name": peer.name, "median": median.map(Sample::to_json), "rounds": rounds })
            })
            .collect();
        results.push(json!({
            "row": row.name,
            "connections": row.connections,
            "pipeline": row.pipeline,
            "value_bytes": row.value_bytes,
            "peers": of_peers,
        }));
    }
    let settings: Vec<Value> =
        peers.iter().map(|peer| json!({ "name": peer.name, "settings": peer.settings })).collect();
    Ok(json!({ "peers": settings, "rows": results }))
}

/// Every contender's samples of one row.
fn play_row(bench: &Bench<'_>, peers: &[Peer], row: &Row) -> Outcome<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); peers.len()];
    for peer in peers.iter().filter(|peer| peer.dialect == Dialect::Redis) {
        row.prepare(peer, &bench.options)?;
    }
    for round in 0..bench.options.rounds {
        for turn in 0..peers.len() {
            let at = (round + turn) % peers.len();
            samples[at].extend(row.run(&peers[at], &bench.options)?);
        }
    }
    Ok(samples)
}
