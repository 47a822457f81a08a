//! The first walk through the product, on three real processes: serve, put, get, update, crash, recover.

use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;
use crate::wire::{ask, connect};

/// Longest wait for a surviving node to serve a shard whose leader died.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(10);
const USERS: usize = 40;

/// A command, asked again as long as it is refused: what a program does while leaders are elected.
fn patiently(port: u16, args: &[&str]) -> Value {
    wait_for(&format!("{args:?} is answered"), TAKEN_OVER_MAX, || {
        ask(port, args).ok().filter(|reply| reply.as_error().is_none())
    })
}

#[test]
fn serve_put_get_update_crash_recover() {
    // Three nodes found a cluster.
    let mut cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();

    // Put: through the first node, whichever node leads the key's shard.
    let mut first = connect(ports[0]).expect("the node takes connections");
    for user in 0..USERS {
        let reply = first.call(["SET", &format!("user:{user}"), "new"]).expect("a reply");
        assert_eq!(reply, Value::Simple("OK".into()));
    }
    // Get: any node answers with what was acknowledged, at once.
    let mut second = connect(ports[1]).expect("the node takes connections");
    for user in 0..USERS {
        let reply = second.call(["GET", &format!("user:{user}")]).expect("a reply");
        assert_eq!(reply.as_str(), Some("new"), "user:{user}");
    }
    // Update: read, change, write if nobody else did meanwhile.
    let mut third = connect(ports[2]).expect("the node takes connections");
    for (args, answer) in [
        (&["WATCH", "user:1"][..], Value::Simple("OK".into())),
        (&["MULTI"], Value::Simple("OK".into())),
        (&["SET", "user:1", "changed"], Value::Simple("QUEUED".into())),
        (&["EXEC"], Value::Array(vec![Value::Simple("OK".into())])),
    ] {
        assert_eq!(third.call_all(args).expect("a reply"), answer, "{args:?}");
    }
    // The same, but somebody was faster: nothing is changed.
    third.call(["WATCH", "user:2"]).expect("a reply");
    first.call(["SET", "user:2", "faster"]).expect("a reply");
    third.call(["MULTI"]).expect("a reply");
    third.call(["SET", "user:2", "slower"]).expect("a reply");
    assert_eq!(third.call(["EXEC"]).expect("a reply"), Value::Null);

    // Crash: the first node dies without a word. The others have everything.
    cluster.nodes[0].end();
    assert_eq!(patiently(ports[1], &["GET", "user:1"]).as_str(), Some("changed"));
    assert_eq!(patiently(ports[2], &["GET", "user:2"]).as_str(), Some("faster"));
    for user in 3..USERS {
        assert_eq!(
            patiently(ports[2], &["GET", &format!("user:{user}")]).as_str(),
            Some("new"),
            "user:{user}"
        );
    }
    assert_eq!(
        patiently(ports[1], &["SET", "user:0", "written without n1"]),
        Value::Simple("OK".into())
    );

    // Recover: it comes back with its data and learns what it missed.
    cluster.nodes[0].begin();
    cluster.wait_until_level();
    assert_eq!(patiently(ports[0], &["GET", "user:0"]).as_str(), Some("written without n1"));
    cluster.assert_equal_digests();
}
