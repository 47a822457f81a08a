//! A node that is asked to stop hands its shards over, then its clients: each gets the replies to what was read,
//! and then the end of the connection.

use std::time::Duration;

use crate::cluster::{Cluster, Shape};
use crate::load::Load;
use crate::node::{Node, Tested as _, wait_for_log};
use crate::wait::pause;
use crate::wire::connect;

#[test]
fn sigterm_hands_leadership_over_and_no_write_fails() {
    let mut cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    load.expect_ends_in_order();
    for at in 0..3 {
        load.take_longest_gap();
        load.take_doubts();
        // A client that takes no notice has the node wait for it, long enough for leaders to be levelled.
        let idle = connect(cluster.nodes[at].port()).expect("the node takes connections");
        let name = id_of(&cluster.nodes[at]);
        let returned = handed_to(&name, &cluster);
        let (refused, cut_off) = (load.refused(), load.cut_off());
        let status = cluster.nodes[at].terminate();
        assert!(status.success(), "{} ended with {status} after SIGTERM", cluster.nodes[at].name);
        drop(idle);
        let returned = handed_to(&name, &cluster) - returned;
        assert_eq!(returned, 0, "{name} was handed leaderships while it stopped");
        load.arm();
        load.wait_for_writes("after a node stopped in order", Duration::from_secs(10));
        let (refused, doubts) = (load.refused() - refused, load.take_doubts());
        let gap = load.take_longest_gap();
        eprintln!(
            "  {} stopped: {refused} refused, {} cut off, in doubt {doubts:?}, longest gap {gap:?}",
            cluster.nodes[at].name,
            load.cut_off() - cut_off
        );
        // A connection that was reset would be among them. A command that crossed the end of its connection
        // is cut off, and judged at the end: it must not have been executed.
        assert!(doubts.is_empty(), "a stop in order leaves no write in doubt: {doubts:?}");
        assert_eq!(refused, 0, "a stop in order refuses no write");
        cluster.nodes[at].begin();
        cluster.wait_until_level();
        // Leaders move back; the next stop should find them spread.
        pause(Duration::from_secs(1));
    }
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("stops in order: {figures:?}");
}

/// How the nodes call it in their logs.
fn id_of(node: &Node) -> String {
    let line = wait_for_log(node, "connect with", Duration::from_secs(1));
    let id = line.split_whitespace().find_map(|word| word.strip_prefix("node="));
    id.unwrap_or_else(|| panic!("no name in {line:?}")).to_owned()
}

/// How often the nodes that run have begun to hand a leadership to the node of that name.
fn handed_to(name: &str, cluster: &Cluster) -> usize {
    let is_begin = |line: &&str| {
        line.contains("begins") && line.contains(&format!("transfer leadership to {name}"))
    };
    cluster.nodes.iter().map(|node| node.log().lines().filter(is_begin).count()).sum()
}
