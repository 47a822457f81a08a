//! Client-side caching over real nodes: whichever node a client is connected to and whoever leads, a copy of a key that
//! changed is dropped.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use keystead_resp::Value;
use rustix::process::Signal;

use crate::cluster::{Cluster, Shape};
use crate::node::Tested as _;
use crate::wait::wait_for;
use crate::wire::{Wire, ask, connect};

/// Keys over which the tests go: a few for every shard.
const KEYS: usize = 32;
/// Longest wait until a change is told: a follower hears of it with the next heartbeat.
const TOLD_MAX: Duration = Duration::from_secs(10);
/// How long a look at what has come waits for more.
const LOOK: Duration = Duration::from_millis(5);

/// A client that answers itself from what it has read, as long as it is not told otherwise.
struct CachingClient {
    wire: Wire,
    copies: BTreeMap<String, String>,
    /// Times that it was told to drop everything.
    cleared: usize,
}

impl CachingClient {
    fn connect(port: u16, options: &[&str]) -> Self {
        let mut wire = connect(port).expect("the node listens");
        wire.call(["HELLO", "3"]).expect("the node answers");
        let words = [&["CLIENT", "TRACKING", "ON"][..], options].concat();
        assert_eq!(wire.call_all(&words).expect("the node answers").as_str(), Some("OK"));
        Self { wire, copies: BTreeMap::new(), cleared: 0 }
    }

    /// Reads a key, and keeps a copy.
    fn read(&mut self, key: &str) -> io::Result<()> {
        if self.copies.contains_key(key) {
            return Ok(());
        }
        self.wire.send(&["GET", key])?;
        let value = self.answer()?;
        if value.as_error().is_none() {
            self.copies.insert(key.to_owned(), value.as_str().unwrap_or_default().to_owned());
        }
        Ok(())
    }

    /// The answer to what was sent, taking in what comes before it.
    fn answer(&mut self) -> io::Result<Value> {
        loop {
            match self.wire.receive()? {
                Value::Push(parts) => self.take(&parts),
                value => return Ok(value),
            }
        }
    }

    /// Takes in what it is told, for a moment.
    fn listen(&mut self) {
        self.wire.stream().set_read_timeout(Some(LOOK)).expect("a socket");
        while let Ok(Value::Push(parts)) = self.wire.receive() {
            self.take(&parts);
        }
        self.wire.stream().set_read_timeout(Some(TOLD_MAX)).expect("a socket");
    }

    fn take(&mut self, parts: &[Value]) {
        assert_eq!(parts[0].as_str(), Some("invalidate"), "{parts:?}");
        match parts[1].as_elements() {
            Some(keys) => {
                for key in keys {
                    self.copies.remove(key.as_str().expect("keys of this test are text"));
                }
            }
            None => {
                self.copies.clear();
                self.cleared += 1;
            }
        }
    }

    fn wait_until_dropped(&mut self, key: &str) {
        wait_for(&format!("{key} is dropped"), TOLD_MAX, || {
            self.listen();
            (!self.copies.contains_key(key)).then_some(())
        });
    }
}

fn names() -> Vec<String> {
    (0..KEYS).map(|number| format!("key{number}")).collect()
}

#[test]
fn a_change_is_told_on_every_node_wherever_it_was_made() {
    let cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    let mut clients: Vec<_> = ports.iter().map(|port| CachingClient::connect(*port, &[])).collect();
    let mut prefixed: Vec<_> = ports
        .iter()
        .map(|port| CachingClient::connect(*port, &["BCAST", "PREFIX", "key"]))
        .collect();
    for (number, key) in names().iter().enumerate() {
        for client in clients.iter_mut().chain(&mut prefixed) {
            client.read(key).expect("the node answers");
        }
        let change: &[&str] =
            if number % 2 == 0 { &["SET", key, "1"] } else { &["SET", key, "1", "PX", "400"] };
        ask(ports[number % 3], change).expect("the node answers");
        for client in clients.iter_mut().chain(&mut prefixed) {
            client.wait_until_dropped(key);
            // What expires is told as well.
            client.read(key).expect("the node answers");
            let is_there = client.copies.get(key).is_some_and(|copy| copy == "1");
            if number % 2 == 1 && is_there {
                client.wait_until_dropped(key);
            }
        }
    }
    // A client that speaks RESP2 has another connection told.
    let mut told = connect(ports[2]).expect("the node listens");
    let id = told.call(["CLIENT", "ID"]).expect("it answers").as_integer().expect("a number");
    told.call(["SUBSCRIBE", "__redis__:invalidate"]).expect("it answers");
    let mut reader = connect(ports[2]).expect("the node listens");
    reader.call(["CLIENT", "TRACKING", "ON", "REDIRECT", &id.to_string()]).expect("it answers");
    reader.call(["GET", "key0"]).expect("it answers");
    ask(ports[0], &["SET", "key0", "2"]).expect("the node answers");
    let message = told.receive().expect("it is told");
    let parts = message.as_elements().expect("a message");
    assert_eq!(parts[1].as_str(), Some("__redis__:invalidate"));
    assert_eq!(parts[2].as_elements().map(|keys| keys[0].as_str()), Some(Some("key0")));
    // FLUSHALL has everything dropped.
    ask(ports[0], &["FLUSHALL"]).expect("the node answers");
    for client in clients.iter_mut().chain(&mut prefixed) {
        wait_for("everything is dropped", TOLD_MAX, || {
            client.listen();
            client.copies.is_empty().then_some(())
        });
    }
}

/// A client that changes a key reads nothing older from its own copy, whoever leads.
#[test]
fn a_clients_own_change_is_told_right_behind_its_reply() {
    let cluster = Cluster::start(&Shape::default());
    for port in cluster.ports() {
        let mut client = CachingClient::connect(port, &[]);
        for key in names() {
            client.read(&key).expect("the node answers");
            client.wire.send(&["SET", &key, "new"]).expect("the node reads");
            client.answer().expect("the node answers");
            client.wire.send(&["PING"]).expect("the node reads");
            client.answer().expect("the node answers");
            assert!(
                !client.copies.contains_key(&key),
                "{key} is stale behind the client's own write"
            );
        }
    }
}

/// INV-TRK1 under load and while a node dies: no copy stays that differs from what is there.
#[test]
fn no_stale_copy_stays_while_keys_change_and_leaders_die() {
    const ROUNDS: usize = 300;
    let mut cluster = Cluster::start(&Shape::default());
    let ports = cluster.ports();
    let keys = names();
    let mut writer = connect(ports[0]).expect("the node listens");
    let mut readers: Vec<_> =
        ports[..2].iter().map(|port| CachingClient::connect(*port, &[])).collect();
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            cluster.nodes[2].end();
        }
        let key = &keys[round * 7 % KEYS];
        // On its way while others read.
        writer.send(&["SET", key, &round.to_string()]).expect("the node reads");
        for reader in &mut readers {
            for key in [key, &keys[round % KEYS]] {
                reader.read(key).expect("the node answers");
            }
        }
        writer.receive().expect("the node answers");
    }
    let values: Vec<String> = keys
        .iter()
        .map(|key| {
            let value = ask(ports[0], &["GET", key]).expect("the node answers");
            value.as_str().unwrap_or_default().to_owned()
        })
        .collect();
    for reader in &mut readers {
        wait_for("no stale copy is left", TOLD_MAX, || {
            reader.listen();
            let is_true = |(key, value): (&String, &String)| {
                reader.copies.get(key).is_none_or(|copy| copy == value)
            };
            keys.iter().zip(&values).all(is_true).then_some(())
        });
    }
    cluster.nodes[2].begin();
    cluster.wait_until_level();
    cluster.assert_equal_digests();
}

/// A node that is cut off from the others cannot hear of changes: its clients are told to drop everything.
#[test]
fn who_is_cut_off_has_everything_dropped() {
    let cluster = Cluster::start(&Shape::default());
    let mut client = CachingClient::connect(cluster.nodes[0].port(), &[]);
    for key in names() {
        client.read(&key).expect("the node answers");
    }
    client.listen();
    let before = client.cleared;
    for node in &cluster.nodes[1..] {
        node.signal(Signal::STOP).expect("the process is this test's own");
    }
    let stopped = Instant::now();
    wait_for("everything is dropped", TOLD_MAX, || {
        client.listen();
        (client.cleared > before && client.copies.is_empty()).then_some(())
    });
    eprintln!(
        "everything was dropped {} ms after the link was lost",
        stopped.elapsed().as_millis()
    );
    for node in &cluster.nodes[1..] {
        node.signal(Signal::CONT).expect("the process is this test's own");
    }
    cluster.wait_until_level();
}
