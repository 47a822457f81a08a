//! Databases over three nodes: a connection's SELECT holds wherever its commands are executed, and outlives a leader.

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wire::{Wire, connect};

const KEYS: usize = 60;

fn call(wire: &mut Wire, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = wire.call_all(&words).expect("the node answers");
    let number = || reply.as_integer().map(|number| number.to_string());
    let text = reply.as_str().or(reply.as_error()).map(str::to_owned);
    text.or_else(number).unwrap_or_default()
}

#[test]
fn select_holds_over_forwarding_failover_and_restart() {
    let mut cluster = Cluster::start(&Shape { shards: 6, ..Shape::default() });
    let ports = cluster.ports();
    let mut wires: Vec<Wire> =
        ports.iter().map(|port| connect(*port).expect("the node listens")).collect();
    // Each node's connection writes every key to a database of its own, most of them over another node.
    for (number, wire) in wires.iter_mut().enumerate() {
        assert_eq!(call(wire, &format!("SELECT {number}")), "OK");
        for key in 0..KEYS {
            assert_eq!(call(wire, &format!("SET k{key} {number}")), "OK");
        }
        assert_eq!(call(wire, &format!("SET only:{number} x")), "OK");
    }
    for (number, wire) in wires.iter_mut().enumerate() {
        assert_eq!(call(wire, "DBSIZE"), (KEYS + 1).to_string());
        for key in 0..KEYS {
            assert_eq!(call(wire, &format!("GET k{key}")), number.to_string());
        }
        assert_eq!(call(wire, &format!("EXISTS only:{}", (number + 1) % 3)), "0");
    }
    assert_eq!(call(&mut wires[2], "MOVE only:2 5"), "1");
    assert_eq!(call(&mut wires[0], "SWAPDB 0 1"), "OK");
    assert_eq!(call(&mut wires[0], "GET k7"), "1");

    // Under another leader, and out of the log, everything is where it was.
    cluster.nodes[0].end();
    cluster.nodes[0].begin();
    cluster.wait_until_level();
    cluster.assert_equal_digests();
    let mut wire = connect(cluster.ports()[0]).expect("the node listens");
    for (database, value) in [(0, "1"), (1, "0"), (2, "2")] {
        assert_eq!(call(&mut wire, &format!("SELECT {database}")), "OK");
        for key in 0..KEYS {
            assert_eq!(call(&mut wire, &format!("GET k{key}")), value, "{database} {key}");
        }
    }
    assert_eq!(call(&mut wire, "SELECT 5"), "OK");
    assert_eq!(call(&mut wire, "GET only:2"), "x");
    assert_eq!(call(&mut wire, "DBSIZE"), "1");
}
