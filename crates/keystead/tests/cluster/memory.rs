//! What a node says of its memory, beside what the system says.

use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::node::{Node, Tested as _};
use crate::wait::wait_for;
use crate::wire::{self, connect, field};

const KEYS: u32 = 200_000;
/// Commands sent before their replies are read.
const BATCH: u32 = 1_000;
/// What the allocator keeps in half-filled pages of each size and thread, whatever the number of keys: measured 5 to 9 MB
/// after a load of writes to 16 keys.
const ALLOCATOR_BYTES: i64 = 10 << 20;
/// Longest wait for the allocator to give back what was needed for a moment.
const SETTLED_MAX: Duration = Duration::from_secs(20);

/// The figures of MEMORY STATS by name.
fn figure(node: &Node, name: &str) -> i64 {
    let reply = wire::ask(node.port(), &["MEMORY", "STATS"]).expect("the node answers");
    let fields = reply.as_elements().expect("MEMORY STATS answers with pairs");
    let at = fields.iter().position(|field| field.as_str() == Some(name));
    match at.and_then(|at| fields.get(at + 1)) {
        Some(Value::Integer(figure)) => *figure,
        other => panic!("{name} is {other:?}"),
    }
}

fn run(node: &Node, command: impl Fn(u32) -> [String; 3]) {
    let mut wire = connect(node.port()).expect("the node listens");
    for first in (0..KEYS).step_by(BATCH as usize) {
        for number in first..first + BATCH {
            let args = command(number);
            let args: Vec<&str> =
                args.iter().map(String::as_str).filter(|a| !a.is_empty()).collect();
            wire.send(&args).expect("the node reads");
        }
        for _ in 0..BATCH {
            wire.receive().expect("the node answers");
        }
    }
}

/// Everything that a node with many keys occupies is counted but for a twentieth and what the allocator keeps for each
/// thread. Then most keys go, and come again: what they left is used again.
#[test]
fn what_a_node_counts_is_what_it_occupies() {
    let cluster = Cluster::start(&Shape { nodes: 1, ..Shape::default() });
    let node = &cluster.nodes[0];
    let value = "v".repeat(64);
    let set = |number: u32| ["SET".to_owned(), format!("key:{number:012}"), value.clone()];
    wait_for("the node has looked at what it needs without keys", SETTLED_MAX, || {
        let uptime_s: u64 = field(&node.info("server")?, "uptime_in_seconds")?.parse().ok()?;
        (uptime_s > 1).then_some(())
    });
    run(node, set);
    assert_eq!(figure(node, "keys.count"), i64::from(KEYS));
    wait_for("the figures are level", SETTLED_MAX, || {
        let counted = figure(node, "total.allocated");
        let resident = i64::try_from(node.resident_bytes()).expect("far below 2^63");
        eprintln!("counted {counted}, resident {resident}");
        let beside = (resident - counted).abs() - ALLOCATOR_BYTES;
        (beside * 20 <= resident).then_some(())
    });
    let full = node.resident_bytes();
    // A tenth stays, spread over all pages.
    run(node, |number| {
        let verb = if number % 10 == 0 { "EXISTS" } else { "DEL" };
        [verb.to_owned(), format!("key:{number:012}"), String::new()]
    });
    eprintln!("nine of ten removed: {} of {full} bytes stay resident", node.resident_bytes());
    run(node, set);
    let again = node.resident_bytes();
    assert!(again < full + full / 10, "the same keys take {again} bytes where they took {full}");
}
