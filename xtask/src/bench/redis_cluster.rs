//! Redis Cluster as it comes: three primaries, a replica of each, the default timeout.
//! Owns: putting it together, and how long the keys of a killed primary cannot be written. Never: a setting that makes
//! it faster or slower than its default.

use std::time::{Duration, Instant};

use super::Bench;
use super::peer::IN_MEMORY;
use crate::project::Outcome;
use crate::server::{self, Server};
use crate::wait;
use crate::wire::Connection;

/// How it was started, for the report.
pub(super) const SETTINGS: &str = "6 x redis-server --cluster-enabled yes in memory, three primaries, cluster-node-timeout 15000 (its default)";
const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
const DEADLINE: Duration = Duration::from_secs(90);

/// Kills a primary once; seconds until its replica takes a write.
pub(super) fn failover(bench: &Bench<'_>) -> Outcome<f64> {
    let mut servers = start(bench)?;
    let key = key_of_first(&servers[0])?;
    let expected = write(&servers[0], &key)?;
    if expected != "+OK\r\n" {
        return Err(format!("redis cluster refuses a write: {expected}").into());
    }
    servers[0].kill()?;
    let begin = Instant::now();
    wait::until("the replica of a killed primary", DEADLINE, || {
        Ok((write(&servers[PRIMARIES], &key)? == "+OK\r\n").then_some(()))
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

fn start(bench: &Bench<'_>) -> Outcome<Vec<Server>> {
    let (mut servers, mut buses) = (Vec::new(), Vec::new());
    for number in 0..2 * PRIMARIES {
        let bus = server::free_address()?.port().to_string();
        let folder = bench.scratch.folder(&format!("redis-cluster-{number}"))?;
        let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        servers.push(server::redis(&folder, &[IN_MEMORY, &own].concat())?);
        buses.push(bus);
    }
    for (number, server) in servers.iter().enumerate() {
        // Primaries that begin with one epoch would quarrel first.
        tell(server, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        if number < PRIMARIES {
            let (from, to) = (SLOTS * number / PRIMARIES, SLOTS * (number + 1) / PRIMARIES - 1);
            let slots = [from.to_string(), to.to_string()];
            tell(server, &["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]])?;
        }
    }
    for (server, bus) in servers.iter().zip(&buses).skip(1) {
        let port = server.address.port().to_string();
        tell(&servers[0], &["CLUSTER", "MEET", "127.0.0.1", &port, bus])?;
    }
    let known = format!("cluster_known_nodes:{}\r\n", servers.len());
    await_all(&servers, &["CLUSTER", "INFO"], &["cluster_state:ok", &known])?;
    for number in 0..PRIMARIES {
        let reply = Connection::open(servers[number].address)?.ask(&["CLUSTER", "MYID"])?;
        let id = reply.lines().nth(1).ok_or("redis has no id")?.to_owned();
        tell(&servers[PRIMARIES + number], &["CLUSTER", "REPLICATE", &id])?;
    }
    await_all(&servers[..PRIMARIES], &["INFO", "replication"], &["state=online"])?;
    // Everybody must know who follows whom, or nobody votes.
    let nodes = ["CLUSTER", "NODES"];
    for server in &servers {
        wait::until("three replicas of redis cluster", DEADLINE, || {
            let text = Connection::open(server.address)?.ask(&nodes)?;
            Ok((text.matches("slave").count() == PRIMARIES).then_some(()))
        })?;
    }
    Ok(servers)
}

fn await_all(servers: &[Server], question: &[&str], signs: &[&str]) -> Outcome {
    for server in servers {
        wait::until(&signs.join(", "), DEADLINE, || {
            let text = Connection::open(server.address)?.ask(question)?;
            Ok(signs.iter().all(|sign| text.contains(sign)).then_some(()))
        })?;
    }
    Ok(())
}

/// A key that the first primary has.
fn key_of_first(server: &Server) -> Outcome<String> {
    let mut connection = Connection::open(server.address)?;
    for number in 0..1000 {
        let key = format!("key:{number:012}");
        let reply = connection.ask(&["CLUSTER", "KEYSLOT", &key])?;
        let slot: usize = reply.trim_start_matches(':').trim().parse()?;
        if slot < SLOTS / PRIMARIES {
            return Ok(key);
        }
    }
    Err("none of a thousand keys falls into a third of the slots".into())
}

fn write(server: &Server, key: &str) -> Outcome<String> {
    Connection::open(server.address)?.ask(&["SET", key, "value"])
}

fn tell(server: &Server, words: &[&str]) -> Outcome {
    let reply = Connection::open(server.address)?.ask(words)?;
    if reply == "+OK\r\n" { Ok(()) } else { Err(format!("{}: {reply}", words.join(" ")).into()) }
}
