//! How long a killed server takes until it serves its keys again.
//! Owns: the clock from the start of the process to the first value read. Never: a clean stop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;
use super::dialogue::EtcdDialogue;
use super::goal::Limit;
use super::peer::{Dialect, Peer};
use super::report::{Figure, Table};
use super::sample::{median_of, spread_percent};
use super::swarm;
use crate::project::Outcome;
use crate::wait;
use crate::wire::Connection;

const DEADLINE: Duration = Duration::from_secs(120);
/// Seconds, with a million keys.
const GOAL: Limit = Limit::AtMost(0.4);
/// Most keys that etcd is filled with: it takes a minute for a million, and its file has a bound.
const ETCD_KEYS_MAX: u64 = 1_000_000;

/// Fills, kills and starts each contender, several rounds.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let append = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
    let mut peers = vec![
        Peer::keystead(bench, "keystead", 1, &["--durability", "fsync"])?,
        Peer::redis(bench, "redis", &append)?,
    ];
    peers.extend(Peer::valkey(bench, &append)?);
    peers.push(Peer::etcd(bench, 1)?);
    let keys = |peer: &Peer| match peer.dialect {
        Dialect::Etcd => bench.options.keys.min(ETCD_KEYS_MAX),
        _ => bench.options.keys,
    };
    for peer in &peers {
        println!("   {:<18}{}, {} keys", peer.name, peer.settings, keys(peer));
        peer.fill(keys(peer), 64)?;
    }
    let mut seconds = vec![Vec::new(); peers.len()];
    for _ in 0..bench.options.rounds {
        for (peer, taken) in peers.iter_mut().zip(&mut seconds) {
            let keys = keys(peer);
            taken.push(kill_and_start(peer, keys)?);
        }
    }
    let figure = |(at, (peer, seconds)): (usize, (&Peer, &Vec<f64>))| Figure {
        server: peer.name.to_owned(),
        value: median_of(seconds.clone()),
        spread: spread_percent(seconds),
        goal: (at == 0).then_some(GOAL),
    };
    let figures: Vec<Figure> = peers.iter().zip(&seconds).enumerate().map(figure).collect();
    let mut table = Table::of_figures("s");
    table.figures(&format!("restart with {} keys", bench.options.keys), &figures);
    bench.show(&table);
    let results: Vec<Value> = peers
        .iter()
        .zip(&seconds)
        .map(|(peer, all)| {
            json!({ "name": peer.name, "settings": peer.settings, "keys": keys(peer), "seconds": all })
        })
        .collect();
    Ok(json!({ "goal": GOAL.to_string(), "peers": results }))
}

fn kill_and_start(peer: &mut Peer, keys: u64) -> Outcome<f64> {
    let dialect = peer.dialect;
    let server = &mut peer.servers[0];
    server.kill()?;
    let begin = Instant::now();
    server.start_again()?;
    let address = server.address;
    wait::until("a key after the restart", DEADLINE, || {
        server.check_alive()?;
        match dialect {
            Dialect::Etcd => read_etcd(address, keys / 2),
            _ => read_redis(address, keys / 2),
        }
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Refused connections and LOADING errors both mean: not yet.
fn read_redis(address: SocketAddr, key: u64) -> Outcome<Option<()>> {
    let key = format!("key:{key:012}");
    let reply = Connection::open(address).and_then(|mut c| c.ask(&["GET", &key]));
    match reply {
        Ok(reply) if reply.starts_with("$-1") || reply.starts_with('_') => {
            Err("the restarted server has lost its keys".into())
        }
        Ok(reply) => Ok(reply.starts_with('$').then_some(())),
        Err(_) => Ok(None),
    }
}

/// A linearizable read that is answered at all: what it holds was checked by nobody.
fn read_etcd(address: SocketAddr, key: u64) -> Outcome<Option<()>> {
    let mut dialogue = EtcdDialogue::reading(key);
    Ok(swarm::run(address, 1, 1, &mut dialogue).ok().map(|_| ()))
}
