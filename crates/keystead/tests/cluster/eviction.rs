//! Memory that is full: keys go on every node alike, those in use stay, and where none may go, commands are refused.

use std::io;
use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;
use crate::wire::{Wire, ask, connect, field};

/// What keys may take in these tests.
const LIMIT: u64 = 4 << 20;
/// Longest wait until all nodes know a setting, or until memory is below its limit.
const SETTLED_MAX: Duration = Duration::from_secs(20);

fn info(cluster: &Cluster, node: usize, section: &str, name: &str) -> u64 {
    let text = cluster.nodes[node].info(section).expect("the node answers");
    field(&text, name).and_then(|value| value.parse().ok()).expect("a number")
}

/// What counts towards the limit.
fn counted(cluster: &Cluster, node: usize) -> u64 {
    info(cluster, node, "memory", "used_memory_dataset")
        + info(cluster, node, "memory", "used_memory_tables")
}

fn set_everywhere(cluster: &Cluster, name: &str, value: &str) {
    let ports = cluster.ports();
    let reply = ask(ports[0], &["CONFIG", "SET", name, value]).expect("it answers");
    assert_eq!(reply.as_str(), Some("OK"), "{reply:?}");
    for port in ports {
        wait_for("the node knows the setting", SETTLED_MAX, || {
            let known = ask(port, &["CONFIG", "GET", name]).expect("it answers");
            let parts = known.as_elements()?.get(1)?.as_str()?.to_owned();
            (parts == value).then_some(())
        });
    }
}

/// Sets keys in batches; those that were refused.
fn fill(wire: &mut Wire, keys: std::ops::Range<usize>, expire: bool) -> usize {
    let value = "x".repeat(400);
    let mut refused = 0;
    let all: Vec<usize> = keys.collect();
    for batch in all.chunks(200) {
        for key in batch {
            let key = format!("key:{key}");
            let line: &[&str] = &["SET", &key, &value, "EX", "10000"];
            wire.send(if expire { line } else { &line[..3] }).expect("the node reads");
        }
        for _ in batch {
            let reply = wire.receive().expect("the node answers");
            match reply.as_error() {
                Some(error) => {
                    assert_eq!(
                        error, "OOM command not allowed when used memory > 'maxmemory'.",
                        "no other refusal"
                    );
                    refused += 1;
                }
                None => assert_eq!(reply.as_str(), Some("OK")),
            }
        }
    }
    refused
}

#[test]
fn keys_go_on_every_node_alike_and_those_in_use_stay() {
    let cluster = Cluster::start(&Shape { shards: 4, ..Shape::default() });
    set_everywhere(&cluster, "maxmemory", &LIMIT.to_string());
    set_everywhere(&cluster, "maxmemory-policy", "allkeys-lfu");
    let mut wire = connect(cluster.nodes[1].port()).expect("the node listens");
    fill(&mut wire, 0..200, false);
    for round in 0..100 {
        for key in 0..200 {
            wire.send(&["GET", &format!("key:{key}")]).expect("the node reads");
        }
        for _ in 0..200 {
            wire.receive().expect("the node answers");
        }
        assert_eq!(fill(&mut wire, 200 + round * 200..400 + round * 200, false), 0);
    }
    for node in 0..3 {
        wait_for("the keys take what they may", SETTLED_MAX, || {
            (counted(&cluster, node) <= LIMIT + LIMIT / 20).then_some(())
        });
        assert!(info(&cluster, node, "stats", "evicted_keys") > 5_000);
        // Not far more than had to go.
        assert!(counted(&cluster, node) > LIMIT / 2, "{}", counted(&cluster, node));
    }
    let mut hot = 0;
    for key in 0..200 {
        let value = wire.call(["GET", &format!("key:{key}")]).expect("the node answers");
        hot += usize::from(!value.is_null());
    }
    assert!(hot > 150, "{hot} of 200 keys in use stayed");
    let frequency = wire.call(["OBJECT", "FREQ", "key:1"]).expect("it answers");
    assert!(frequency.as_integer().is_some_and(|it| it >= 5), "{frequency:?}");
    cluster.assert_equal_digests();
}

#[test]
fn only_what_expires_goes_if_that_is_asked_for() {
    let cluster = Cluster::start(&Shape {
        shards: 2,
        flags: &["--maxmemory=4194304", "--maxmemory-policy=volatile-ttl"],
        ..Shape::default()
    });
    let mut wire = connect(cluster.nodes[0].port()).expect("the node listens");
    assert_eq!(fill(&mut wire, 0..3_000, false), 0);
    assert_eq!(fill(&mut wire, 3_000..20_000, true), 0);
    for key in [0, 1_500, 2_999] {
        let value = wire.call(["EXISTS", &format!("key:{key}")]).expect("the node answers");
        assert_eq!(value, Value::Integer(1), "key {key} never expires");
    }
    // When nothing is left that may go, commands are refused.
    let refused = fill(&mut wire, 20_000..40_000, false);
    assert!(refused > 0);
    cluster.assert_equal_digests();
}

#[test]
fn without_eviction_what_needs_memory_is_refused_and_nothing_else() {
    let cluster = Cluster::start(&Shape { shards: 2, ..Shape::default() });
    let mut wire = connect(cluster.nodes[2].port()).expect("the node listens");
    set_everywhere(&cluster, "maxmemory", "1048576");
    let refused = fill(&mut wire, 0..20_000, false);
    assert!(refused > 10_000, "{refused} were refused");
    let text = |value: io::Result<Value>| {
        let value = value.expect("the node answers");
        value.as_str().or(value.as_error()).unwrap_or("other").to_owned()
    };
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(text(wire.call(["SET", "key:1", "v"])), oom);
    assert_eq!(text(wire.call(["MULTI"])), "OK");
    assert_eq!(text(wire.call(["SET", "key:1", "v"])), oom);
    assert!(text(wire.call(["EXEC"])).starts_with("EXECABORT "));
    assert_eq!(wire.call(["DEL", "key:1"]).expect("it answers"), Value::Integer(1));
    assert!(wire.call(["GET", "key:2"]).expect("it answers").as_bytes().is_some());
    cluster.assert_equal_digests();
    // With a higher limit, writes go on.
    set_everywhere(&cluster, "maxmemory", "0");
    assert_eq!(text(wire.call(["SET", "key:1", "v"])), "OK");
    assert!(counted(&cluster, 0) > 1 << 20);
}
