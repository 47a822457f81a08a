//! How long a killed server takes until it serves its keys again.
//! Owns: the clock from the start of the process to the first value read. Never: a clean stop.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::peer::Peer;
use super::sample::median_of;
use super::{Bench, report};
use crate::project::Outcome;
use crate::wait;
use crate::wire::Connection;

const DEADLINE: Duration = Duration::from_secs(120);

/// Fills, kills and starts each contender, several rounds.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let append = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
    let mut peers = [
        Peer::keystead(bench, "keystead", 1, &["--durability", "fsync"])?,
        Peer::redis(bench, "redis", &append)?,
    ];
    let keys = bench.options.keys;
    for peer in &peers {
        println!("   {:<18}{}", peer.name, peer.settings);
        peer.fill(keys, 64)?;
    }
    let mut seconds = vec![Vec::new(); peers.len()];
    for _ in 0..bench.options.rounds {
        for (peer, taken) in peers.iter_mut().zip(&mut seconds) {
            taken.push(kill_and_start(peer, keys)?);
        }
    }
    let medians: Vec<(&str, f64)> =
        peers.iter().zip(&seconds).map(|(p, s)| (p.name, median_of(s.clone()))).collect();
    report::figures("s", &medians);
    let results: Vec<Value> = peers
        .iter()
        .zip(&seconds)
        .map(|(peer, all)| json!({ "name": peer.name, "settings": peer.settings, "seconds": all }))
        .collect();
    Ok(json!({ "keys": keys, "peers": results }))
}

fn kill_and_start(peer: &mut Peer, keys: u64) -> Outcome<f64> {
    let server = &mut peer.servers[0];
    server.kill()?;
    let begin = Instant::now();
    server.start_again()?;
    let address = server.address;
    let key = format!("key:{:012}", keys / 2);
    wait::until("a key after the restart", DEADLINE, || {
        server.check_alive()?;
        // Refused connections and LOADING errors both mean: not yet.
        let reply = Connection::open(address).and_then(|mut c| c.ask(&["GET", &key]));
        match reply {
            Ok(reply) if reply.starts_with("$-1") || reply.starts_with('_') => {
                Err("the restarted server has lost its keys".into())
            }
            Ok(reply) => Ok(reply.starts_with('$').then_some(())),
            Err(_) => Ok(None),
        }
    })?;
    Ok(begin.elapsed().as_secs_f64())
}
