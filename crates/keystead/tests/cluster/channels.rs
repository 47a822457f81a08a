//! Publish and subscribe over real nodes: who listens anywhere hears what is published anywhere.

use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;
use crate::wire::{Wire, ask, connect};

/// Messages that one publisher sends in a row.
const MESSAGES: usize = 500;
/// Longest time until a node that is started again hears what others publish.
const RETURN_MAX: Duration = Duration::from_secs(20);

fn subscribed(port: u16, words: &[&str]) -> Wire {
    let mut wire = connect(port).expect("the node listens");
    wire.send(words).expect("the node reads");
    wire.receive().expect("the node confirms");
    wire
}

fn words(value: &Value) -> Vec<String> {
    let parts = value.as_elements().expect("a message is an array");
    parts.iter().map(|part| part.as_str().unwrap_or_default().to_owned()).collect()
}

fn next(wire: &mut Wire) -> Vec<String> {
    words(&wire.receive().expect("a message comes"))
}

#[test]
fn what_is_published_on_any_node_is_heard_on_every_node_in_order() {
    let mut cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    let mut listeners: Vec<Wire> =
        ports.iter().map(|port| subscribed(*port, &["SUBSCRIBE", "news"])).collect();
    let mut patterns: Vec<Wire> =
        ports.iter().map(|port| subscribed(*port, &["PSUBSCRIBE", "n?ws"])).collect();
    let mut sharded: Vec<Wire> =
        ports.iter().map(|port| subscribed(*port, &["SSUBSCRIBE", "news"])).collect();
    let mut publisher = connect(ports[0]).expect("the node listens");
    for number in 0..MESSAGES {
        publisher.send(&["PUBLISH", "news", &number.to_string()]).expect("the node reads");
    }
    publisher.send(&["SPUBLISH", "news", "apart"]).expect("the node reads");
    for number in 0..MESSAGES {
        let number = number.to_string();
        for listener in &mut listeners {
            assert_eq!(next(listener), ["message", "news", &number]);
        }
        for listener in &mut patterns {
            assert_eq!(next(listener), ["pmessage", "n?ws", "news", &number]);
        }
    }
    for listener in &mut sharded {
        assert_eq!(next(listener), ["smessage", "news", "apart"]);
    }

    // Inside a transaction, whichever node leads its shard.
    publisher = connect(ports[0]).expect("the node listens");
    for line in [&["MULTI"][..], &["SET", "k", "v"], &["PUBLISH", "news", "in"], &["EXEC"]] {
        publisher.call_all(line).expect("the node answers");
    }
    for listener in &mut listeners {
        assert_eq!(next(listener), ["message", "news", "in"]);
    }

    // A node dies: the others go on, and it hears them again when it is back.
    cluster.nodes[2].end();
    ask(ports[1], &["PUBLISH", "news", "without"]).expect("the node answers");
    for listener in &mut listeners[..2] {
        assert_eq!(next(listener), ["message", "news", "without"]);
    }
    cluster.nodes[2].begin();
    let mut returned =
        wait_for("node 3 listens", RETURN_MAX, || connect(cluster.nodes[2].port()).ok());
    returned.send(&["SUBSCRIBE", "back"]).expect("the node reads");
    assert_eq!(next(&mut returned)[0], "subscribe");
    let receivers = |value: Value| if let Value::Integer(count) = value { count } else { 0 };
    let local = ask(cluster.nodes[2].port(), &["PUBLISH", "back", "own"]).expect("it answers");
    assert_eq!(receivers(local), 1);
    assert_eq!(next(&mut returned), ["message", "back", "own"]);
    // Until the others have a connection to it, what they publish is not for it.
    returned.stream().set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    let heard = wait_for("node 3 hears node 1", RETURN_MAX, || {
        ask(ports[0], &["PUBLISH", "back", "again"]).expect("the node answers");
        returned.receive().ok()
    });
    assert_eq!(words(&heard), ["message", "back", "again"]);
}

#[test]
fn events_of_keys_are_heard_on_every_node_whoever_leads_and_wherever_they_were_asked_for() {
    let cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    ask(ports[1], &["CONFIG", "SET", "notify-keyspace-events", "KEA"]).expect("it answers");
    for port in &ports {
        wait_for("the node knows the setting", RETURN_MAX, || {
            let known =
                ask(*port, &["CONFIG", "GET", "notify-keyspace-events"]).expect("it answers");
            (words(&known).last().map(String::as_str) == Some("AKE")).then_some(())
        });
    }
    let mut listeners: Vec<Wire> =
        ports.iter().map(|port| subscribed(*port, &["PSUBSCRIBE", "__key*__:*"])).collect();
    for key in ["a", "b", "c", "d"] {
        ask(ports[0], &["SET", key, "1", "PX", "30"]).expect("it answers");
        for listener in &mut listeners {
            for event in ["set", "expire", "expired"] {
                let (space, happened) =
                    (format!("__keyspace@0__:{key}"), format!("__keyevent@0__:{event}"));
                assert_eq!(next(listener), ["pmessage", "__key*__:*", &space, event]);
                assert_eq!(next(listener), ["pmessage", "__key*__:*", &happened, key]);
            }
        }
    }
    // Channels name the database: a key that moves leaves one and enters another.
    let mut wire = connect(ports[1]).expect("the node listens");
    for line in [&["SELECT", "3"][..], &["SET", "e", "1"], &["MOVE", "e", "4"]] {
        wire.call_all(line).expect("it answers");
    }
    for listener in &mut listeners {
        for (database, event) in [(3, "set"), (3, "move_from"), (4, "move_to")] {
            let space = format!("__keyspace@{database}__:e");
            let happened = format!("__keyevent@{database}__:{event}");
            assert_eq!(next(listener), ["pmessage", "__key*__:*", &space, event]);
            assert_eq!(next(listener), ["pmessage", "__key*__:*", &happened, "e"]);
        }
    }
}
