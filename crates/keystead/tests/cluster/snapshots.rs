//! A node that was away longer than the log reaches back returns by snapshot, under load.

use std::fs;
use std::time::Duration;

use crate::cluster::{Cluster, Shape};
use crate::faults::{arm, child_line, lay, restarts};
use crate::load::Load;
use crate::node::{Node, Tested as _};
use crate::wait::wait_for;
use crate::wire::field;

/// Longest wait for the log to be purged behind a node that is away.
const PURGED_MAX: Duration = Duration::from_secs(40);
/// Bytes of each value: so that little time makes much log.
const VALUE_BYTES: usize = 2_000;

/// A number from the line of a shard in INFO raft.
fn of_shard(node: &Node, shard: u32, name: &str) -> Option<u64> {
    let raft = node.info("raft")?;
    let line = field(&raft, &format!("shard_{shard}"))?;
    line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn snapshot_names(node: &Node) -> Vec<String> {
    let entries = fs::read_dir(node.data().join("snapshots")).expect("a node has snapshots");
    entries.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned()).collect()
}

/// Ends the third node and waits until every leader has dropped the entries that it would need.
fn leave_behind(cluster: &mut Cluster) {
    let away_at: Vec<u64> = (1..=4)
        .map(|shard| of_shard(&cluster.nodes[2], shard, "log_last").expect("it answers"))
        .collect();
    cluster.nodes[2].end();
    wait_for("the log is purged behind the node", PURGED_MAX, || {
        let firsts = (1..=4).map(|shard| {
            let leader = cluster.leader_of(shard)?;
            of_shard(&cluster.nodes[leader], shard, "log_first")
        });
        let firsts: Option<Vec<u64>> = firsts.collect();
        firsts?.iter().zip(&away_at).all(|(first, last)| first > last).then_some(())
    });
}

/// INV-R7: the log behind the snapshot is still there when the snapshot has come.
#[test]
fn a_node_behind_a_purged_log_returns_by_snapshot_under_load() {
    let flags = &["--snapshot-log-bytes=262144", "--segment-bytes=1048576"];
    let mut cluster = Cluster::start(&Shape { shards: 4, flags, ..Shape::default() });
    let load = Load::start_with_values(&cluster, VALUE_BYTES);
    leave_behind(&mut cluster);
    let before = snapshot_names(&cluster.nodes[2]);
    cluster.nodes[2].begin();
    cluster.wait_until_level();
    let after = snapshot_names(&cluster.nodes[2]);
    for shard in 1..=4 {
        let is_new =
            |name: &&String| name.starts_with(&format!("{shard}-")) && !before.contains(name);
        assert!(
            after.iter().any(|name| is_new(&name)),
            "shard {shard} came back without a snapshot: {before:?}, {after:?}"
        );
    }
    load.arm();
    load.wait_for_writes("after the node is back", Duration::from_secs(10));
    // Digests under load: at one index, whatever is written meanwhile.
    cluster.assert_equal_digests();
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("return by snapshot: {figures:?}");
}

#[test]
fn the_threads_that_write_and_fetch_snapshots_come_back_when_they_fall() {
    let flags = &["--snapshot-log-bytes=262144", "--segment-bytes=1048576"];
    let mut cluster = Cluster::start(&Shape { shards: 4, flags, ..Shape::default() });
    let load = Load::start_with_values(&cluster, VALUE_BYTES);
    let has_fallen = |node: &Node, name: &str| {
        wait_for(&format!("snapshots/{name} runs again"), PURGED_MAX, || {
            let line = child_line(node, "snapshots", name)?;
            (restarts(node, "snapshots", name)? > 0 && line.contains("running")).then_some(())
        });
    };
    arm(&cluster.nodes[0], "root/snapshots/writer", "snapshot", "panic", 1);
    has_fallen(&cluster.nodes[0], "writer");
    // Snapshots go on: the node's log is let go of beyond what it holds now.
    let last = of_shard(&cluster.nodes[0], 1, "log_last").expect("it answers");
    wait_for("the node takes snapshots again", PURGED_MAX, || {
        (of_shard(&cluster.nodes[0], 1, "snapshot")? > last).then_some(())
    });
    leave_behind(&mut cluster);
    lay(&cluster.nodes[2], "root/snapshots/fetcher", "fetch", "panic", 1);
    cluster.nodes[2].begin();
    has_fallen(&cluster.nodes[2], "fetcher");
    cluster.wait_until_level();
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("fallen snapshot threads: {figures:?}");
}
