//! The suites that load running servers: who takes part, which rows are run, in which order.
//! Owns: rows, goals and contenders of each suite. Never: how a load is generated (see `row`).

use serde_json::{Value, json};

use super::Bench;
use super::goal::Goal;
use super::peer::{APPEND_ALWAYS, Dialect, IN_MEMORY, Peer};
use super::report::{Line, Table};
use super::row::{Operation, Row, Volume};
use super::sample::{Sample, median, spread_percent};
use crate::project::Outcome;

const SINGLE_MEMORY: &[Row] = &[
    Row::new("GET, 50", Operation::Get).goal(Goal::cpu_us(5.6)),
    Row::new("SET, 50", Operation::Set).goal(Goal::cpu_us(5.7)),
    Row::new("INCR, 50", Operation::Incr).goal(Goal::cpu_us(5.3)),
    Row::new("HSET, 50", Operation::Hset).goal(Goal::cpu_us(5.6)),
    Row::new("ZADD, 50", Operation::Zadd).goal(Goal::cpu_us(7.0)),
    Row::new("MSET of 10, 50", Operation::Mset).percent(50).goal(Goal::rate_and_cpu_us(62e3, 15.5)),
    Row::new("GET, pipeline 16", Operation::Get)
        .pipeline(16)
        .percent(400)
        .goal(Goal::rate_and_cpu_us(900e3, 1.0)),
    Row::new("SET, pipeline 16", Operation::Set)
        .pipeline(16)
        .percent(400)
        .goal(Goal::rate_and_cpu_us(750e3, 1.3)),
    Row::new("GET, 1", Operation::Get).connections(1).percent(25),
    Row::new("SET, 1", Operation::Set).connections(1).percent(25),
    Row::new("GET, 512", Operation::Get).connections(512).goal(Goal::cpu_us(6.1)),
    Row::new("SET, 512", Operation::Set).connections(512).goal(Goal::cpu_us(6.2)),
    Row::new("GET of 4 KiB, 50", Operation::Get).value_bytes(4096).goal(Goal::cpu_us(5.9)),
    Row::new("SET of 4 KiB, 50", Operation::Set).value_bytes(4096).goal(Goal::cpu_us(6.9)),
];

const FSYNC: &[Row] = &[
    Row::new("SET, 1", Operation::Set).connections(1).percent(10).goal(Goal::rate(7e3)),
    Row::new("SET, 50", Operation::Set).percent(50).goal(Goal::rate_and_cpu_us(95e3, 7.8)),
    Row::new("SET, 512", Operation::Set).connections(512).goal(Goal::rate_and_cpu_us(125e3, 6.5)),
    Row::new("SET, pipeline 16", Operation::Set).pipeline(16).percent(200),
];

/// Goals: with fsync, then in memory.
const THREE: &[Row] = &[
    Row::new("SET, 1", Operation::Set)
        .connections(1)
        .percent(10)
        .goals([Goal::rate(3e3), Goal::rate(10e3)]),
    Row::new("SET, 50", Operation::Set)
        .percent(50)
        .goals([Goal::rate_and_cpu_us(40e3, 24.0), Goal::rate_and_cpu_us(90e3, 12.0)]),
    Row::new("SET, 512", Operation::Set)
        .connections(512)
        .percent(50)
        .goals([Goal::rate_and_cpu_us(80e3, 13.0), Goal::rate_and_cpu_us(100e3, 11.0)]),
    Row::new("SET of 4 KiB, 50", Operation::Set)
        .value_bytes(4096)
        .percent(20)
        .goals([Goal::rate(15e3), Goal::rate(50e3)]),
    // One goal for reads: they do not meet the disk.
    Row::new("GET, 50", Operation::Get).goals([Goal::rate_and_cpu_us(120e3, 8.0), Goal::NONE]),
];

/// Nothing waits for the disk.
pub(super) fn single_memory(bench: &Bench<'_>) -> Outcome<Value> {
    let mut peers = vec![
        Peer::keystead(bench, "keystead", 1, &["--durability", "replicated"])?,
        Peer::redis(bench, "redis", IN_MEMORY)?,
    ];
    peers.extend(Peer::valkey(bench, IN_MEMORY)?);
    play(bench, &peers, SINGLE_MEMORY)
}

/// Every write is on the disk before its reply.
pub(super) fn single_fsync(bench: &Bench<'_>) -> Outcome<Value> {
    let mut peers = vec![
        Peer::keystead(bench, "keystead", 1, &["--durability", "fsync"])?,
        Peer::redis(bench, "redis", APPEND_ALWAYS)?,
    ];
    peers.extend(Peer::valkey(bench, APPEND_ALWAYS)?);
    peers.push(Peer::etcd(bench, 1)?);
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
    println!("   valkey            absent: WAITAOF needs a valkey-server of 7.2 or later");
    play(bench, &peers, THREE)
}

/// What the rounds of one contender gave, or why there is nothing.
type Rounds = Result<Vec<Sample>, String>;

/// Runs the rows; contenders take turns within each round.
fn play(bench: &Bench<'_>, peers: &[Peer], rows: &[Row]) -> Outcome<Value> {
    for peer in peers {
        println!("   {:<18}{}", peer.name, peer.settings);
    }
    println!("   {} rounds, {} keys, medians", bench.options.rounds, bench.options.keys);
    for peer in peers.iter().filter(|peer| peer.dialect != Dialect::Etcd) {
        peer.fill(bench.options.keys, 64)?;
    }
    let (mut table, mut results) = (Table::of_loads(), Vec::new());
    for row in rows.iter().filter(|row| bench.options.wants(row.name)) {
        eprintln!("   ... {}", row.name);
        let rounds = match play_row(bench, peers, row) {
            Ok(rounds) => rounds,
            Err(error) => {
                bench.note_broken(format!("{}: {error}", row.name));
                peers.iter().map(|_| Err("the run broke".to_owned())).collect()
            }
        };
        table.load(row.name, &lines(peers, row, &rounds));
        results.push(to_json(peers, row, &rounds));
    }
    bench.show(&table);
    let settings: Vec<Value> =
        peers.iter().map(|peer| json!({ "name": peer.name, "settings": peer.settings })).collect();
    Ok(json!({ "peers": settings, "rows": results }))
}

/// Every contender's samples of one row.
fn play_row(bench: &Bench<'_>, peers: &[Peer], row: &Row) -> Outcome<Vec<Rounds>> {
    let volume = Volume { requests: bench.options.requests, keys: bench.options.keys };
    let mut rounds: Vec<Rounds> = Vec::new();
    for peer in peers {
        rounds.push(row.prepare(peer, volume)?.map_or(Ok(Vec::new()), Err));
    }
    for round in 0..bench.options.rounds {
        for turn in 0..peers.len() {
            let at = (round + turn) % peers.len();
            if let Ok(samples) = &mut rounds[at] {
                samples.push(row.run(&peers[at], volume)?);
            }
        }
    }
    Ok(rounds)
}

fn lines<'a>(peers: &'a [Peer], row: &Row, rounds: &[Rounds]) -> Vec<Line<'a>> {
    let mut goals = row.goals.iter().copied();
    let line = |(peer, rounds): (&'a Peer, &Rounds)| {
        let is_ours = peer.name.starts_with("keystead");
        let goal = if is_ours { goals.next().unwrap_or(Goal::NONE) } else { Goal::NONE };
        let measured = match rounds {
            Ok(samples) => Ok((median(samples), rate_spread(samples))),
            Err(why) => Err(why.clone()),
        };
        Line { server: peer.name, measured, goal }
    };
    peers.iter().zip(rounds).map(line).collect()
}

fn rate_spread(samples: &[Sample]) -> f64 {
    let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
    spread_percent(&rates)
}

fn to_json(peers: &[Peer], row: &Row, rounds: &[Rounds]) -> Value {
    let of_peers: Vec<Value> = lines(peers, row, rounds)
        .iter()
        .zip(rounds)
        .map(|(line, rounds)| match (rounds, &line.measured) {
            (Ok(samples), Ok((median, spread))) => json!({
                "name": line.server,
                "median": median.to_json(),
                "rate_spread_percent": spread,
                "rounds": samples.iter().map(|sample| sample.to_json()).collect::<Vec<_>>(),
                "goal": line.goal.to_string(),
                "verdict": line.goal.verdict(median),
            }),
            (Err(why), _) | (_, Err(why)) => json!({ "name": line.server, "nothing": why }),
        })
        .collect();
    json!({
        "row": row.name,
        "connections": row.connections,
        "pipeline": row.pipeline,
        "value_bytes": row.value_bytes,
        "peers": of_peers,
    })
}
