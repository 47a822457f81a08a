//! Nodes that die, pause and return under load: nothing acknowledged is lost, and writes go on soon.

use std::time::{Duration, Instant};

use keystead::torture::Counts;

use crate::cluster::{Cluster, Shape};
use crate::load::{Load, writes_during};
use crate::node::{Node, Tested as _};

/// Longest time from a leader's death to the first write to each of its shards.
const RECOVERY_MAX: Duration = Duration::from_secs(2);
/// The same, in the median over all shards and rounds.
const RECOVERY_MEDIAN_MAX: Duration = Duration::from_secs(1);
/// How long a measure is waited for before the test gives up; what came late is judged against the promise.
const MEASURE_MAX: Duration = Duration::from_secs(30);
/// Deaths of leaders in the default run. Each shard that lost its leader is one failover.
const ROUNDS_DEFAULT: usize = 4;

/// How many rounds a test does: more if KEYSTEAD_TORTURE_ROUNDS says so.
fn rounds(default: usize) -> usize {
    std::env::var("KEYSTEAD_TORTURE_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(default)
}

/// Times from a death to the first write, with what else a run came to.
#[derive(Default)]
struct Recoveries {
    times: Vec<Duration>,
    deaths: usize,
}

impl Recoveries {
    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    fn worst(&self) -> Duration {
        self.times.iter().max().copied().unwrap_or_default()
    }

    fn print(&self, name: &str, figures: &Counts) {
        let (median, worst) = (self.median().as_millis(), self.worst().as_millis());
        eprintln!(
            "{name}: {} deaths, {} failovers of a shard, to the first write median {median} ms, worst {worst} ms; \
             {} writes acknowledged, {} refused, {} in doubt, {} reads, 0 violations",
            self.deaths,
            self.times.len(),
            figures.acked,
            figures.refused,
            figures.uncertain,
            figures.reads,
        );
    }

    fn assert_prompt(&self) {
        assert!(
            self.worst() <= RECOVERY_MAX,
            "a shard took {:?} after its leader's death, {RECOVERY_MAX:?} are promised",
            self.worst()
        );
        assert!(
            self.median() <= RECOVERY_MEDIAN_MAX,
            "the median of {:?} is above {RECOVERY_MEDIAN_MAX:?}",
            self.median()
        );
    }

    /// Kills a node under load, measures, and brings it back.
    fn kill_and_return(&mut self, cluster: &mut Cluster, load: &Load, at: usize) {
        let led = cluster.nodes[at].leads();
        let fault = Instant::now();
        cluster.nodes[at].end();
        load.arm();
        let times = load.first_writes("after its leader's death", &led, fault, MEASURE_MAX);
        eprintln!(
            "  {} died, leader of {}: first writes after {} to {} ms",
            cluster.nodes[at].name,
            led.len(),
            times.iter().min().map_or(0, Duration::as_millis),
            times.iter().max().map_or(0, Duration::as_millis),
        );
        self.deaths += 1;
        self.times.extend(times);
        cluster.nodes[at].begin();
        cluster.wait_until_level();
    }
}

#[test]
fn a_node_that_dies_takes_no_write_with_it() {
    // Snapshots often, so that a long run does not replay an ever longer log at each return.
    let flags = &["--snapshot-log-bytes=4194304", "--segment-bytes=16777216"];
    let mut cluster = Cluster::start(&Shape { flags, ..Shape::default() });
    let load = Load::start(&cluster);
    let mut recoveries = Recoveries::default();
    for round in 0..rounds(ROUNDS_DEFAULT) {
        recoveries.kill_and_return(&mut cluster, &load, round % 3);
    }
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    recoveries.print("kill -9 of each node", &figures);
    assert!(
        recoveries.times.len() >= rounds(ROUNDS_DEFAULT),
        "too few failovers were seen to judge"
    );
    recoveries.assert_prompt();
}

#[test]
fn the_leader_of_every_shard_dies_in_turn() {
    // Few shards, so that the default run gets through all of them.
    let mut cluster = Cluster::start(&Shape { shards: 4, ..Shape::default() });
    let load = Load::start(&cluster);
    let mut recoveries = Recoveries::default();
    for _ in 0..rounds(4).div_ceil(4) {
        for shard in 1..=cluster.shards {
            cluster.wait_until_led();
            let Some(at) = cluster.leader_of(shard) else { continue };
            recoveries.kill_and_return(&mut cluster, &load, at);
        }
    }
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    recoveries.print("kill -9 of the leader of every shard", &figures);
    recoveries.assert_prompt();
}

#[test]
fn a_node_that_pauses_for_ten_seconds_neither_loses_nor_invents() {
    let cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    let mut replaced = 0;
    for at in 0..3 {
        load.take_longest_gap();
        load.take_doubts();
        cluster.nodes[at].pause().expect("the node runs");
        let acked = writes_during(&load, Duration::from_secs(10));
        cluster.nodes[at].resume().expect("the node runs");
        assert!(
            acked > 0,
            "no write succeeded while {} paused, though two of three nodes ran",
            cluster.nodes[at].name
        );
        load.arm();
        load.wait_for_writes("after the pause", MEASURE_MAX);
        let doubts = load.take_doubts();
        replaced += doubts.keys().filter(|why| why.contains("leader was replaced")).count();
        eprintln!("  {} paused, in doubt {doubts:?}", cluster.nodes[at].name);
        eprintln!(
            "  {} paused 10 s: {acked} writes meanwhile, longest gap of a shard {:?}",
            cluster.nodes[at].name,
            load.take_longest_gap()
        );
    }
    cluster.wait_until_level();
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    assert!(
        replaced > 0,
        "what was forwarded to the node that paused is said to be in doubt for that"
    );
    eprintln!("pauses: {figures:?}");
}

#[test]
fn all_three_die_at_once_and_nothing_acknowledged_is_missing() {
    let mut cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    for _ in 0..rounds(2).min(10) {
        writes_during(&load, Duration::from_secs(1));
        let fault = Instant::now();
        cluster.nodes.iter_mut().for_each(Node::end);
        load.arm();
        cluster.nodes.iter_mut().for_each(Node::begin);
        let all: Vec<u32> = (1..=cluster.shards).collect();
        let times = load.first_writes("after all nodes died", &all, fault, MEASURE_MAX);
        eprintln!("  all died: first writes after at most {:?}", times.iter().max());
        cluster.wait_until_level();
    }
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("kill -9 of all at once: {figures:?}");
}
