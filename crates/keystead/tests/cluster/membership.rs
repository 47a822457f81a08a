//! Nodes that come, and nodes that come back with nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, LEVEL_MAX, Shape};
use crate::load::Load;
use crate::node::{Node, Tested as _};
use crate::wait::wait_for;
use crate::wire::field;

/// How many replicas a node has, as it says itself.
fn replicas_of(cluster: &Cluster, at: usize) -> Option<u32> {
    field(&cluster.nodes[at].info("raft")?, "replica_of")?.parse().ok()
}

#[test]
fn a_fourth_node_joins_under_load_and_takes_its_share() {
    let mut cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    let at = cluster.join();
    cluster.nodes[at].begin();
    wait_for("the new node has replicas", LEVEL_MAX, || {
        (replicas_of(&cluster, at)? >= 8).then_some(())
    });
    cluster.wait_until_level();
    assert_eq!(cluster.nodes[0].cluster_field("cluster_known_nodes").as_deref(), Some("4"));
    load.arm();
    load.wait_for_writes("after the fourth node joined", Duration::from_secs(10));
    let figures = load.finish(&cluster);
    eprintln!("a fourth node: {figures:?}");
    // Each shard has three replicas, on three of the four nodes.
    let total: u32 = (0..4).map(|at| replicas_of(&cluster, at).expect("the node answers")).sum();
    assert_eq!(total, 3 * cluster.shards, "every shard has three replicas");
    cluster.assert_equal_digests();
}

#[test]
fn a_node_whose_data_was_lost_joins_as_a_new_one() {
    let mut cluster = Cluster::start(&Shape::default());
    let load = Load::start(&cluster);
    let before = crate::wire::ask_text(cluster.nodes[2].port(), &["CLUSTER", "MYID"]);
    cluster.nodes[2].end();
    cluster.nodes[2].wipe();
    cluster.nodes[2].begin();
    cluster.nodes[2].wait_for_answers(LEVEL_MAX);
    let after = wait_for("the node has joined", LEVEL_MAX, || {
        let known = cluster.nodes[2].cluster_field("cluster_known_nodes")?;
        (known != "0").then(|| crate::wire::ask_text(cluster.nodes[2].port(), &["CLUSTER", "MYID"]))
    });
    assert_ne!(before, after, "what it was is forgotten; it must not vote under its old name");
    load.arm();
    load.wait_for_writes("with a node that came back empty", Duration::from_secs(10));
    let figures = load.finish(&cluster);
    eprintln!("data lost: {figures:?}");
}

/// INV-M1.
#[test]
fn nobody_founds_a_second_cluster_by_accident() {
    let mut cluster = Cluster::prepare(&Shape::default());
    // The second and third node alone wait for the first, which alone may found.
    cluster.nodes[1].begin();
    cluster.nodes[2].begin();
    cluster.nodes[1].wait_for_answers(LEVEL_MAX);
    crate::node::wait_for_log(&cluster.nodes[1], "waiting for", Duration::from_secs(10));
    assert_ne!(cluster.nodes[1].cluster_field("cluster_state").as_deref(), Some("ok"));
    cluster.nodes[0].begin();
    cluster.wait_until_level();
}

/// The founder gives its replica of the metadata group away when there are five nodes. It had kept no addresses of the
/// others, so that it never found its cluster again after a crash (found by `keystead torture --nodes 5`).
#[test]
fn a_node_without_the_metadata_finds_its_cluster_again() {
    let mut cluster = Cluster::start(&Shape { nodes: 5, ..Shape::default() });
    let metadata = wait_for("the founder holds no metadata", LEVEL_MAX, || {
        let replicas = cluster.placement().replicas.remove(&0)?;
        (!replicas.contains(&0)).then_some(replicas)
    });
    // Looked at twice a second, so that this is soon.
    let identity = cluster.nodes[0].data().join("identity.json");
    wait_for("the founder keeps addresses", LEVEL_MAX, || {
        std::fs::read_to_string(&identity).ok().filter(|text| text.contains("127.0.0.1"))
    });
    for at in (0..5).filter(|at| !metadata.contains(at)) {
        cluster.nodes[at].end();
        cluster.nodes[at].begin();
        wait_for("it knows the cluster again", Duration::from_secs(20), || {
            let known = cluster.nodes[at].cluster_field("cluster_known_nodes")?;
            (known == "5").then_some(())
        });
    }
    cluster.wait_until_level();
}

#[test]
fn a_founder_lacks_what_it_expects() {
    let mut cluster = Cluster::prepare(&Shape::default());
    cluster.nodes.iter_mut().for_each(|node| node.begin());
    wait_for("the founder has all replicas", LEVEL_MAX, || {
        let info = crate::wire::ask_text(cluster.nodes[0].port(), &["CLUSTER", "INFO"])?;
        let is_full = field(&info, "keystead_replication")? == "full";
        let known = field(&info, "cluster_known_nodes")?;
        assert!(!is_full || known == "3", "full with {known} of 3 nodes");
        is_full.then_some(())
    });
}

#[test]
fn replicas_are_compared_over_the_wire() {
    let mut cluster = Cluster::start(&Shape::default());
    for number in 0..100 {
        let (key, port) = (format!("k{number}"), cluster.nodes[0].port());
        crate::wire::ask(port, &["SET", &key, "value"]).expect("the node answers");
    }
    for node in &cluster.nodes {
        let shards = compared(node, "60000");
        assert_eq!(shards.len(), cluster.shards as usize + 1, "the metadata group is one of them");
        for (shard, seen) in shards {
            let expected = [("level", "3"), ("wanted", "3"), ("equal", "1"), ("missing", "")];
            for (name, value) in expected {
                assert_eq!(seen[name], value, "{name} of shard {shard}: {seen:?}");
            }
            assert_ne!(seen["index"], "0", "shard {shard}: {seen:?}");
        }
    }
    cluster.nodes[2].end();
    let behind = compared(&cluster.nodes[0], "0");
    let lacking = behind.values().filter(|seen| seen["missing"].starts_with("is not level on n"));
    assert!(lacking.count() > 0, "a node is gone: {behind:?}");
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_keystead"))
        .args(["cluster", "sync", "--wait", "0"])
        .arg(format!("127.0.0.1:{}", cluster.nodes[0].port()))
        .output()
        .expect("the program runs");
    let text = String::from_utf8_lossy(&program.stdout);
    assert_eq!(program.status.code(), Some(1), "{text}");
    assert!(text.starts_with("SHARD") && text.contains("2 of 3"), "{text}");
    let complaint = String::from_utf8_lossy(&program.stderr);
    assert!(
        complaint.contains("shard") && complaint.contains("keystead cluster status"),
        "{complaint}"
    );
}

/// What CLUSTER SYNC tells of each shard.
fn compared(node: &Node, timeout_ms: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let reply = crate::wire::ask(node.port(), &["CLUSTER", "SYNC", timeout_ms]);
    let reply = reply.expect("the node answers");
    let shards = reply.as_elements().unwrap_or_else(|| panic!("{reply:?}"));
    let text = |value: &Value| match value {
        Value::Integer(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let fields = |shard: &Value| -> BTreeMap<String, String> {
        let flat = shard.as_elements().expect("RESP2 writes maps as arrays");
        flat.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    };
    shards.iter().map(fields).map(|seen| (seen["shard"].clone(), seen)).collect()
}
