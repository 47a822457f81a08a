//! Clients that wait, over real nodes: served in the order in which they came, wherever they are and whoever leads.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::node::{Tested as _, wait_for_log};
use crate::wait::wait_for;
use crate::wire::{Wire, ask, ask_text, connect, field};

/// Longest time until something that needs a new leader has happened.
const FAILOVER_MAX: Duration = Duration::from_secs(30);
/// Elements that are pushed while the leader dies.
const ELEMENTS: usize = 400;

/// Three nodes and one shard, so that a queue has one leader that a test can name.
fn cluster() -> (Cluster, usize) {
    let cluster = Cluster::start(&Shape { shards: 1, ..Shape::default() });
    let leader = wait_for("the shard has a leader", FAILOVER_MAX, || cluster.leader_of(1));
    (cluster, leader)
}

/// A client that waits.
fn waiting(port: u16, words: &[&str]) -> Wire {
    let before = blocked(port);
    let mut wire = connect(port).expect("the node listens");
    wire.send(words).expect("the node reads");
    // In the state of the shard, not only on the way there: who comes next comes behind it.
    wait_for("the client waits", FAILOVER_MAX, || (blocked(port) > before).then_some(()));
    ask(port, &["SET", "{q}behind", "1"]).expect("the node answers");
    wire
}

fn blocked(port: u16) -> usize {
    let clients = ask_text(port, &["INFO", "clients"]).expect("the node answers");
    field(&clients, "blocked_clients").expect("a field").parse().expect("a number")
}

/// Pushes, through a node that may have to find a new leader first; true if it was acknowledged, false if nobody knows.
fn push(port: u16, element: &str) -> bool {
    wait_for("the push is decided", FAILOVER_MAX, || {
        let reply = ask(port, &["RPUSH", "{q}", element]).ok()?;
        match reply.as_error() {
            None => Some(true),
            Some(error) => error.starts_with("UNCERTAIN").then_some(false),
        }
    })
}

fn element(reply: &Value) -> Option<String> {
    reply.as_elements()?.get(1)?.as_str().map(str::to_owned)
}

fn next(wire: &mut Wire) -> String {
    let reply = wire.receive().expect("an answer comes");
    element(&reply).unwrap_or_else(|| panic!("not an element: {reply:?}"))
}

#[test]
fn who_came_first_is_served_first_on_whichever_node_and_across_a_failover() {
    let (mut cluster, leader) = cluster();
    let others: Vec<u16> =
        (0..3).filter(|at| *at != leader).map(|at| cluster.nodes[at].port()).collect();
    let mut clients: Vec<Wire> =
        (0..12).map(|at| waiting(others[at % 2], &["BLPOP", "{q}none", "{q}", "0"])).collect();
    for (number, client) in clients.iter_mut().enumerate().take(4) {
        assert!(push(others[number % 2], &number.to_string()));
        assert_eq!(next(client), number.to_string());
    }
    // What was acknowledged is with a majority, on disk.
    let counts = |words: &[&str]| ask(others[0], words).expect("the node answers");
    assert_eq!(counts(&["WAIT", "1", "0"]), Value::Integer(1));
    let on_disks = Value::Array(vec![Value::Integer(1), Value::Integer(1)]);
    assert_eq!(counts(&["WAITAOF", "1", "1", "0"]), on_disks);
    // Fractions of a second, and the word of another client, over the same road.
    let begun = Instant::now();
    let timed_out = ask(others[0], &["BRPOP", "{q}other", "0.2"]).expect("the node answers");
    assert!(timed_out.is_null() && begun.elapsed() >= Duration::from_millis(200), "{timed_out:?}");

    cluster.nodes[leader].end();
    for (number, client) in clients.iter_mut().enumerate().skip(4).take(4) {
        assert!(push(others[number % 2], &number.to_string()), "nobody fell after the first");
        assert_eq!(next(client), number.to_string());
    }
    // One transaction serves several.
    let mut wire = connect(others[0]).expect("the node listens");
    for line in [&["MULTI"][..], &["RPUSH", "{q}", "8", "9"], &["RPUSH", "{q}", "10"], &["EXEC"]] {
        wire.call_all(line).expect("the node answers");
    }
    for (number, client) in clients.iter_mut().enumerate().skip(8).take(3) {
        assert_eq!(next(client), number.to_string());
    }
    cluster.nodes[leader].begin();
    cluster.wait_until_level();
    cluster.assert_equal_digests();
    // A node that is stopped lets go of whom it speaks for.
    drop(clients.drain(..11));
    let at = (0..3).find(|at| cluster.nodes[*at].port() == others[1]).expect("it is one of them");
    assert!(cluster.nodes[at].terminate().success());
    let told = clients[0].receive().expect("an answer comes");
    assert!(told.as_error().is_some_and(|error| error.starts_with("UNBLOCKED")), "{told:?}");
    assert!(push(others[0], "nobody's"));
    let left = ask(others[0], &["LRANGE", "{q}", "0", "-1"]).expect("the node answers");
    assert_eq!(left.as_elements().map(<[Value]>::len), Some(1), "{left:?}");
}

/// What a consumer got, and how often nobody could tell it whether there was something for it.
#[derive(Default)]
struct Consumed {
    elements: Vec<String>,
    doubts: usize,
}

/// Takes elements until one says that there are no more.
fn consume(port: u16) -> Consumed {
    let mut consumed = Consumed::default();
    let mut wire = connect(port).expect("the node listens");
    let deadline = Instant::now() + FAILOVER_MAX * 2;
    while Instant::now() < deadline {
        let reply = wire.call(["BLPOP", "{q}", "1.5"]).expect("this node stays");
        match element(&reply) {
            Some(element) if element == "end" => return consumed,
            Some(element) => consumed.elements.push(element),
            None => {
                let is_doubt = reply.as_error().is_some_and(|error| error.starts_with("UNCERTAIN"));
                consumed.doubts += usize::from(is_doubt);
            }
        }
    }
    panic!("no end came; {} elements did", consumed.elements.len());
}

#[test]
fn a_leader_that_dies_under_waiters_loses_nothing_and_hands_out_nothing_twice() {
    let (mut cluster, leader) = cluster();
    let others: Vec<u16> =
        (0..3).filter(|at| *at != leader).map(|at| cluster.nodes[at].port()).collect();
    let (mut acknowledged, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    let (mut consumed, mut doubts) = (Vec::new(), 0);
    thread::scope(|scope| {
        let consumers = [0, 1, 0, 1, 0, 1].map(|at| {
            let port = others[at];
            scope.spawn(move || consume(port))
        });
        for number in 0..ELEMENTS {
            if number == ELEMENTS / 2 {
                cluster.nodes[leader].end();
            }
            let element = number.to_string();
            let is_acknowledged = push(others[number % 2], &element);
            if is_acknowledged { &mut acknowledged } else { &mut doubtful }.insert(element);
        }
        // One for each, and some to be lost: whoever takes one goes.
        for _ in 0..consumers.len() + 4 {
            push(others[0], "end");
        }
        for consumer in consumers {
            let one = consumer.join().expect("the consumer ends in order");
            consumed.extend(one.elements);
            doubts += one.doubts;
        }
    });
    let distinct: BTreeSet<String> = consumed.iter().cloned().collect();
    assert_eq!(distinct.len(), consumed.len(), "an element was handed out twice");
    let lost: Vec<&String> = acknowledged.difference(&distinct).collect();
    assert!(lost.len() <= doubts, "lost {lost:?}, with {doubts} answers in doubt");
    let strangers: Vec<&String> = distinct.difference(&acknowledged).collect();
    assert!(strangers.iter().all(|it| doubtful.contains(*it)), "never pushed: {strangers:?}");
    eprintln!(
        "{} elements acknowledged, {} in doubt, {} handed out once each, {} lost to {doubts} doubts",
        acknowledged.len(),
        doubtful.len(),
        distinct.len(),
        lost.len(),
    );
    cluster.nodes[leader].begin();
    cluster.wait_until_level();
    cluster.assert_equal_digests();
}

#[test]
fn who_waited_on_a_node_that_died_is_passed_over() {
    let (mut cluster, leader) = cluster();
    let (port, dead) = (cluster.nodes[leader].port(), (leader + 1) % 3);
    let gone: Vec<Wire> =
        (0..5).map(|_| waiting(cluster.nodes[dead].port(), &["BLPOP", "{q}", "0"])).collect();
    let mut here = waiting(port, &["BLPOP", "{q}", "0"]);
    cluster.nodes[dead].end();
    drop(gone);
    wait_for_log(&cluster.nodes[leader], "connection lost", FAILOVER_MAX);
    // The shard knows with its next entries; what was pushed before that may have gone to the dead.
    here.stream().set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let mut pushes = 0;
    let reply = wait_for("the one who lives is served", FAILOVER_MAX, || {
        pushes += 1;
        assert!(push(port, &pushes.to_string()));
        here.receive().ok()
    });
    assert!(element(&reply).is_some() && pushes <= 3, "{reply:?} after {pushes} pushes");
}
