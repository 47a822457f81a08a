//! Parts of a node that fail while the process stays: each comes back by itself, or is named as down.

use std::time::Duration;

use crate::cluster::{Cluster, Shape};
use crate::faults::{arm, child_line, restarts};
use crate::load::{Load, tag_in};
use crate::node::Tested as _;
use crate::wait::wait_for;
use crate::wire::{ask, set};

const BACK_MAX: Duration = Duration::from_secs(20);

/// Parts of a node by their place in the tree, and where each can be made to fail; those that wait for a snapshot
/// fall in `snapshots.rs`.
const PARTS: [(&str, &str, &str); 10] = [
    ("shards", "shard-3", "replica"),
    ("workers", "worker-0", "turn"),
    ("gateway", "io-0", "serve"),
    ("gateway", "listener", "listener"),
    ("control", "keeper", "keeper"),
    ("control", "membership", "membership"),
    ("control", "reconcile", "reconcile"),
    ("control", "sync", "sync"),
    ("control", "libraries", "libraries"),
    ("control", "pacer", "pacer"),
];

/// INV-N4 among others: a worker that panics leaves leases behind, and its replicas are rebuilt from older states.
#[test]
fn each_part_that_falls_comes_back_without_the_process() {
    let cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    let node = &cluster.nodes[0];
    let pid = node.pid();
    for (parent, name, point) in &PARTS {
        for kind in ["panic", "error"] {
            let before = restarts(node, parent, name).unwrap_or_else(|| {
                panic!("{name} is not in the tree:\n{:?}", node.info("supervision"))
            });
            arm(node, &format!("root/{parent}/{name}"), point, kind, 1);
            wait_for(
                &format!("{parent}/{name} runs again after a fault ({kind})"),
                BACK_MAX,
                || {
                    let line = child_line(node, parent, name)?;
                    (restarts(node, parent, name)? > before && line.contains("running"))
                        .then_some(())
                },
            );
            load.arm();
            load.wait_for_writes(&format!("after {name} fell"), BACK_MAX);
        }
    }
    // The transport takes along everything that depends on it.
    arm(node, "root/transport", "transport", "panic", 1);
    load.arm();
    load.wait_for_writes("after the transport fell", BACK_MAX);
    assert_eq!(node.pid(), pid, "the process never ended");
    cluster.wait_until_level();
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("fallen parts: {figures:?}");
}

#[test]
fn a_shard_that_keeps_failing_stays_down_is_named_and_the_others_serve() {
    let cluster = Cluster::start(&Shape { nodes: 1, shards: 4, ..Shape::default() });
    let node = &cluster.nodes[0];
    arm(node, "root/shards/shard-2", "replica", "panic", 50);
    let line = wait_for("the shard is shown as down", BACK_MAX, || {
        child_line(node, "shards", "shard-2").filter(|line| line.contains("DOWN"))
    });
    assert!(line.contains("fault injected"), "the reason is told: {line}");
    // Its keys are refused with a reason, at once or when patience ends; the others' are served.
    let refusal = set(node.port(), &tag_in(2, 4, 0), "v").expect("a reply");
    assert!(refusal.starts_with("CLUSTERDOWN") && refusal.contains("it panicked"), "{refusal}");
    for shard in [1, 3, 4] {
        let key = tag_in(shard, 4, 0);
        assert_eq!(set(node.port(), &key, "v").as_deref(), Some("OK"), "shard {shard}");
        assert_eq!(
            ask(node.port(), &["GET", &key]).expect("a reply").as_str(),
            Some("v"),
            "shard {shard}"
        );
    }
    assert_ne!(node.cluster_field("keystead_replication").as_deref(), Some("full"));
}
