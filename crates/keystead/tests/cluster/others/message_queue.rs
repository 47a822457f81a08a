//! A job queue: BullMQ 6.7.0 (Node.js), over ioredis 6.0.0. The script is `message_queue.cjs`.
//!
//! Exercises what BullMQ offers: adding one and many, delays, ranks, retries, pauses, parents and children, schedules, a limit of
//! the rate, progress, logs, events, workers that wait. That is BZPOPMIN and XREAD that wait, some fifty scripts in Lua over lists,
//! hashes, sorted sets and streams, MULTI and CLIENT SETNAME in one shard.
//!
//! And what BullMQ promises while a leader dies: a job with several attempts that was added, or added again under its name because
//! nobody knew, is completed; it runs again only if BullMQ did not hear of its end, which it counts. (A job with one attempt of which
//! the end is answered with UNCERTAIN stays failed, with that as its reason.)

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{kill, leader, node_script, port_words};
use crate::clients::text;
use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;

/// BullMQ's keys have no hash tags unless it is told to give them some.
const ONE_SHARD: Shape = Shape { nodes: 3, shards: 1, flags: &[] };
/// Jobs of the run with a failover, and after how many of them the leader dies and returns.
const JOBS: usize = 200;
const DEATH_AFTER: usize = 50;
const RETURN_AFTER: usize = 120;
/// Longest wait for all jobs to be completed: those of a worker that was not heard are seen after a few seconds.
const DRAINED_MAX: Duration = Duration::from_secs(60);

#[test]
fn bullmq_does_what_it_offers() {
    let cluster = Cluster::start(&ONE_SHARD);
    // One node leads, the others do not.
    for port in port_words(&cluster) {
        let output = node_script("message_queue.cjs").args(["offers", &port]).output();
        let output = output.expect("node runs; `cargo xtask setup` installs it");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && out.contains("done"), "{out}\n{err}");
    }
    cluster.assert_equal_digests();
}

/// A worker at each node.
struct Workers(Vec<Child>);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            drop(worker.kill());
            drop(worker.wait());
        }
    }
}

#[test]
fn jobs_that_bullmq_took_are_completed_while_the_leader_dies() {
    let mut cluster = Cluster::start(&ONE_SHARD);
    let (ran, ports) = (cluster.dir().join("ran"), port_words(&cluster));
    fs::write(&ran, "").expect("a file of this test");
    let script = |words: &[&str]| {
        let mut command = node_script("message_queue.cjs");
        command.args(words).env("JOBS_RUN", &ran).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let start = |port: &String| script(&["work", port]).spawn().expect("node runs");
    let _workers = Workers(ports.iter().map(start).collect());
    let mut producer = script(&["produce", &JOBS.to_string()]);
    let mut producer = producer.args(&ports).spawn().expect("node runs");
    let lines = BufReader::new(producer.stdout.take().expect("piped")).lines();
    let (mut taken, mut dead) = (0, None);
    for line in lines {
        assert!(line.expect("text").starts_with("taken"));
        taken += 1;
        if taken == DEATH_AFTER {
            let at = leader(&cluster);
            kill(&mut cluster, at);
            dead = Some(at);
        } else if taken == RETURN_AFTER {
            cluster.nodes[dead.expect("it died before")].begin();
        }
    }
    assert!(producer.wait().expect("a child").success() && taken == JOBS, "{taken} taken");
    cluster.wait_until_level();
    let call = |words: &[&str]| {
        let output = script(words).output().expect("node runs");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
        out.trim().to_owned()
    };
    let port = ports[0].as_str();
    wait_for("no job is left", DRAINED_MAX, || (call(&["waiting", port]) == "0").then_some(()));
    eprintln!("BullMQ while a leader dies: {}", call(&["audit", &JOBS.to_string(), port]));
    cluster.assert_equal_digests();
}
