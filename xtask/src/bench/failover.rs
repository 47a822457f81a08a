//! How long writes stand still when a node is killed.
//! Owns: killing nodes under writes, and the clock. Never: a clean stop, which hands over.
//!
//! A client of a surviving node writes one window of keys that fall into every shard, again and again.
//! The figure is the time from the kill until a whole window is acknowledged: the slowest shard counts.
//! Of etcd, which has one group, it is always the leader that is killed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bench;
use super::dialogue::{Dialogue as _, EtcdDialogue};
use super::goal::Limit;
use super::peer::{Dialect, Peer};
use super::redis_cluster;
use super::report::{Figure, Table};
use super::sample::{median_of, spread_percent};
use crate::project::Outcome;
use crate::server;
use crate::wait;
use crate::wire::{self, Connection};

/// Keys of one window: with 16 shards, the chance that one of them gets none is below one percent.
const KEYS: usize = 128;
const DEADLINE: Duration = Duration::from_secs(30);
/// How long one write to etcd may take before the next is tried.
const ETCD_PATIENCE: Duration = Duration::from_millis(500);
/// Seconds.
const MEDIAN_GOAL: Limit = Limit::AtMost(0.6);
const WORST_GOAL: Limit = Limit::AtMost(1.5);

/// Kills every node once per round.
pub(super) fn run(bench: &Bench<'_>) -> Outcome<Value> {
    let mut peers =
        [Peer::keystead(bench, "keystead", 3, &["--durability", "fsync"])?, Peer::etcd(bench, 3)?];
    let mut all = vec![Vec::new(); peers.len()];
    for (peer, seconds) in peers.iter_mut().zip(&mut all) {
        if peer.servers.len() < 3 {
            println!("   {:<18}needs three nodes: nothing measured", peer.name);
            continue;
        }
        println!("   {:<18}{}", peer.name, peer.settings);
        for round in 0..bench.options.rounds * peer.servers.len() {
            seconds.push(match peer.dialect {
                Dialect::Etcd => kill_etcd_leader(peer)?,
                _ => kill_one(peer, round)?,
            });
        }
    }
    println!("   {:<18}{}", "redis cluster", redis_cluster::SETTINGS);
    // Once: it takes so long that the rounds would say no more.
    let of_redis = vec![redis_cluster::failover(bench)?];
    let mut shown: Vec<(&str, &str, &[f64])> = Vec::new();
    for (peer, seconds) in peers.iter().zip(&all) {
        shown.push((peer.name, &peer.settings, seconds));
    }
    shown.push(("redis cluster", redis_cluster::SETTINGS, &of_redis));
    let mut table = Table::of_figures("s");
    let worst = |seconds: &[f64]| seconds.iter().copied().fold(0.0, f64::max);
    let figures = |of: &dyn Fn(&[f64]) -> f64, goal: Limit| -> Vec<Figure> {
        let made = shown.iter().enumerate().map(|(at, (name, _, seconds))| Figure {
            server: (*name).to_owned(),
            value: of(seconds),
            spread: spread_percent(seconds),
            goal: (at == 0).then_some(goal),
        });
        made.collect()
    };
    table.figures("failover, median", &figures(&|s| median_of(s.to_vec()), MEDIAN_GOAL));
    table.figures("failover, worst", &figures(&worst, WORST_GOAL));
    bench.show(&table);
    let results: Vec<Value> = shown
        .iter()
        .map(|(name, settings, all)| json!({ "name": name, "settings": settings, "seconds": all }))
        .collect();
    let goals = json!({ "median": MEDIAN_GOAL.to_string(), "worst": WORST_GOAL.to_string() });
    Ok(json!({ "goals": goals, "peers": results }))
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

fn kill_etcd_leader(peer: &mut Peer) -> Outcome<f64> {
    let count = peer.servers.len();
    let victim = wait::until("a leader of etcd", DEADLINE, || {
        Ok((0..count).find(|at| leads_etcd(peer.servers[*at].address)))
    })?;
    let survivor = peer.servers[(victim + 1) % count].address;
    let write = || {
        wait::until("a write to etcd", DEADLINE, || {
            Ok(put(survivor).is_ok_and(|is_done| is_done).then_some(()))
        })
    };
    write()?;
    peer.servers[victim].kill()?;
    let begin = Instant::now();
    write()?;
    let taken = begin.elapsed().as_secs_f64();
    peer.servers[victim].start_again()?;
    super::peer::await_etcd(peer.servers[victim].address)?;
    Ok(taken)
}

fn leads_etcd(address: SocketAddr) -> bool {
    let mut command = Command::new("etcdctl");
    command.args(["--endpoints", &format!("http://{address}"), "endpoint", "status", "-w", "json"]);
    let Ok(output) = command.env("ETCDCTL_API", "3").output() else { return false };
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let status = &status[0]["Status"];
    status["leader"]
        .as_u64()
        .is_some_and(|leader| Some(leader) == status["header"]["member_id"].as_u64())
}

/// One write over a connection of its own; false if it was not done in time.
fn put(address: SocketAddr) -> Outcome<bool> {
    let mut dialogue = EtcdDialogue::new(1, 5, true);
    let mut stream = TcpStream::connect_timeout(&address, ETCD_PATIENCE)?;
    stream.set_read_timeout(Some(ETCD_PATIENCE))?;
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    dialogue.request(&mut request);
    stream.write_all(&request)?;
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(false),
            count => reply.extend_from_slice(&chunk[..count]),
        }
        if dialogue.is_done(&reply)? {
            return Ok(true);
        }
    }
}
