//! Clients that are broken, slow, gone, or very many: the node neither falls nor grows without bound.

use std::io::{Read, Write};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cluster::{Cluster, Shape};
use crate::node::{Node, Tested as _};
use crate::wait::wait_for;
use crate::wire::{Wire, connect, field, set};

const MIB: u64 = 1024 * 1024;
/// Connections that do nothing.
const IDLE: u64 = 10_000;
/// What each of them may cost the node.
const IDLE_BYTES_MAX: u64 = 16 * 1024;

fn single(flags: &'static [&'static str]) -> Cluster {
    Cluster::start(&Shape { nodes: 1, shards: 4, flags })
}

/// True if the node serves a fresh client as ever.
fn serves(node: &Node) -> bool {
    set(node.port(), "still", "here").as_deref() == Some("OK")
}

/// Everything that the node sends until it closes.
fn until_closed(wire: &Wire) -> String {
    let mut all = Vec::new();
    // A reset after the error is as good as an end.
    wire.stream().read_to_end(&mut all).ok();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn malformed_protocol_and_oversized_headers_are_answered_and_closed() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    let before = node.resident_bytes();
    let long_line = vec![b'a'; 200 * 1024];
    let cases: [(&[u8], &str); 9] = [
        (b"*1\r\n:5\r\n", "Protocol error"),
        (b"*-5\r\n*x\r\n", "Protocol error"),
        (b"*99999999999999\r\n", "Protocol error"),
        (b"*2147483647\r\n$1\r\na\r\n", "Protocol error"),
        (b"*1\r\n$99999999999\r\n", "Protocol error"),
        (b"*1\r\n$-7\r\n", "Protocol error"),
        (b"*1\r\n$3\r\nGETxx\r\n", ""),
        (&long_line, "Protocol error"),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
    ];
    for (bytes, told) in cases {
        let mut wire = connect(node.port()).expect("the node takes connections");
        wire.send_raw(bytes).ok();
        wire.stream().shutdown(std::net::Shutdown::Write).ok();
        let answer = until_closed(&wire);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(answer.contains(told), "{shown:?} was answered with {answer:?}");
        assert!(serves(node), "after {shown:?}");
    }
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "announced sizes are not allocated: {grown} bytes");
}

#[test]
fn a_client_that_vanishes_in_the_middle_of_a_command_leaves_nothing_behind() {
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    for cut in [
        &b"*3\r\n$3\r\nSET\r\n$3\r\nke"[..],
        b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000000\r\nhalf",
        b"*2\r\n",
    ] {
        for _ in 0..50 {
            let mut wire = connect(node.port()).expect("the node takes connections");
            wire.send_raw(cut).expect("the node reads");
        }
    }
    wait_for("their connections are forgotten", Duration::from_secs(10), || {
        let clients = field(&node.info("clients")?, "connected_clients")?;
        (clients.parse::<u32>().ok()? <= 2).then_some(())
    });
    assert!(serves(node));
    let mut wire = connect(node.port()).expect("the node takes connections");
    assert!(wire.call(["GET", "key"]).expect("a reply").is_null(), "half a command is none");
}

#[test]
fn a_slow_reader_does_not_fill_the_node() {
    let cluster =
        single(&["--client-output-bytes-soft=262144", "--client-output-bytes-max=1048576"]);
    let node = &cluster.nodes[0];
    let value = "v".repeat(512 * 1024);
    assert_eq!(set(node.port(), "large", &value).as_deref(), Some("OK"));
    let before = node.resident_bytes();
    // It asks for far more than it reads: 2,000 times half a MiB.
    let asks = b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n".repeat(2_000);
    let wires: Vec<Wire> = (0..4)
        .map(|_| {
            let wire = connect(node.port()).expect("the node takes connections");
            wire.stream().set_write_timeout(Some(Duration::from_millis(500))).expect("a socket");
            // The node stops reading at its bound; then not everything can be sent.
            wire.stream().write_all(&asks).ok();
            wire
        })
        .collect();
    assert!(serves(node));
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "four slow readers cost {grown} bytes");
    drop(wires);
    assert!(serves(node));
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(65_536);
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .expect("up to the hard limit");
    assert!(
        wanted > IDLE + 500,
        "this test needs {IDLE} open files, the hard limit is {wanted}; raise it (ulimit -Hn)"
    );
    let cluster = single(&[]);
    let node = &cluster.nodes[0];
    assert!(serves(node));
    let before = node.resident_bytes();
    let mut wires = Vec::new();
    for number in 0..IDLE {
        let mut wire =
            connect(node.port()).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        if number % 10 == 0 {
            wire.call(["PING"]).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        }
        wires.push(wire);
    }
    wait_for("all are served", Duration::from_secs(20), || {
        let clients = field(&node.info("clients")?, "connected_clients")?;
        (clients.parse::<u64>().ok()? >= IDLE).then_some(())
    });
    let each = node.resident_bytes().saturating_sub(before) / IDLE;
    assert!(serves(node));
    assert!(each < IDLE_BYTES_MAX, "an idle connection costs {each} bytes");
    drop(wires);
    wait_for("they are forgotten", Duration::from_secs(20), || {
        let clients = field(&node.info("clients")?, "connected_clients")?;
        (clients.parse::<u64>().ok()? <= 2).then_some(())
    });
    eprintln!("{IDLE} idle connections: {each} bytes each");
}
