//! INV-G1: replies leave in the order of their commands and say what a sequential server would say,
//! whatever is pipelined, however it is cut, and in whatever order shards answer.
//! INV-G2 and INV-G3: a read that overtook a write of its connection, or a command executed while others were
//! in flight, would show values that the sequential server does not have.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use keystead_node::Refusal;
use proptest::prelude::*;
use support::local_door::Verdict;
use support::{Server, command};

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u8),
    Get(u8),
    Append(u8, u8),
    Delete(u8),
    Ping,
    Nonsense,
    WrongArity,
    Both(u8, u8),
    Transaction(u8, u8),
    DbSize,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u8..12;
    prop_oneof![
        6 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
        6 => key.clone().prop_map(Step::Get),
        3 => (key.clone(), 0u8..10).prop_map(|(key, value)| Step::Append(key, value)),
        2 => key.clone().prop_map(Step::Delete),
        1 => Just(Step::Ping),
        1 => Just(Step::Nonsense),
        1 => Just(Step::WrongArity),
        2 => (key.clone(), key.clone()).prop_map(|(one, two)| Step::Both(one, two)),
        1 => (key, any::<u8>()).prop_map(|(key, value)| Step::Transaction(key, value)),
        1 => Just(Step::DbSize),
    ]
}

const REFUSAL: &str =
    "-OVERLOADED the shard's queue is full; nothing was changed; back off and try again\r\n";

/// The sequential server that the gateway must not be told apart from.
struct Model {
    values: BTreeMap<u8, String>,
    shards: u32,
    /// A shard that refuses every run.
    refusing: Option<u32>,
    /// True if reads are runs, too, because they cannot be served from memory.
    reads_are_runs: bool,
}

impl Model {
    fn shard(&self, key: u8) -> u32 {
        let slot = keystead_types::Slot::of_key(name(key).as_bytes());
        u32::from(slot.number()) * self.shards / 16384
    }

    fn refuses_write(&self, key: u8) -> bool {
        self.refusing == Some(self.shard(key))
    }

    fn refuses_read(&self, key: u8) -> bool {
        self.reads_are_runs && self.refuses_write(key)
    }

    fn bulk(&self, key: u8) -> String {
        match self.values.get(&key) {
            Some(value) => format!("${}\r\n{value}\r\n", value.len()),
            None => "$-1\r\n".to_owned(),
        }
    }

    /// The bytes that a client sends for the step, and those it must receive.
    fn play(&mut self, step: &Step) -> (Vec<u8>, String) {
        match *step {
            Step::Set(key, value) => {
                (command(&["SET", &name(key), &value.to_string()]), self.set(key, value))
            }
            Step::Get(key) => (command(&["GET", &name(key)]), self.get(key)),
            Step::Append(key, value) => {
                (command(&["APPEND", &name(key), &value.to_string()]), self.append(key, value))
            }
            Step::Delete(key) => (command(&["DEL", &name(key)]), self.delete(key)),
            Step::Ping => (b"PING\r\n".to_vec(), "+PONG\r\n".to_owned()),
            Step::Nonsense => (
                command(&["NONSENSE", "x"]),
                "-ERR unknown command 'NONSENSE', with args beginning with: 'x' \r\n".to_owned(),
            ),
            Step::WrongArity => (
                command(&["GET"]),
                "-ERR wrong number of arguments for 'get' command\r\n".to_owned(),
            ),
            Step::Both(one, two) => {
                (command(&["MGET", &name(one), &name(two)]), self.both(one, two))
            }
            Step::Transaction(key, value) => {
                let mut bytes = command(&["MULTI"]);
                bytes.extend(command(&["SET", &name(key), &value.to_string()]));
                bytes.extend(command(&["GET", &name(key)]));
                bytes.extend(command(&["EXEC"]));
                let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n";
                let is_refused = self.refuses_write(key);
                let set = self.set(key, value);
                let replies = format!("*2\r\n{set}{}", self.bulk(key));
                (bytes, format!("{queued}{}", if is_refused { REFUSAL } else { &replies }))
            }
            Step::DbSize => (command(&["DBSIZE"]), self.size()),
        }
    }

    fn set(&mut self, key: u8, value: u8) -> String {
        if self.refuses_write(key) {
            return REFUSAL.to_owned();
        }
        self.values.insert(key, value.to_string());
        "+OK\r\n".to_owned()
    }

    fn get(&self, key: u8) -> String {
        if self.refuses_read(key) { REFUSAL.to_owned() } else { self.bulk(key) }
    }

    fn append(&mut self, key: u8, value: u8) -> String {
        if self.refuses_write(key) {
            return REFUSAL.to_owned();
        }
        let text = self.values.entry(key).or_default();
        text.push_str(&value.to_string());
        format!(":{}\r\n", text.len())
    }

    fn delete(&mut self, key: u8) -> String {
        if self.refuses_write(key) {
            return REFUSAL.to_owned();
        }
        format!(":{}\r\n", u8::from(self.values.remove(&key).is_some()))
    }

    fn both(&self, one: u8, two: u8) -> String {
        if self.shard(one) != self.shard(two) {
            return "-CROSSSLOT Keys in request don't hash to the same slot\r\n".to_owned();
        }
        if self.refuses_read(one) {
            return REFUSAL.to_owned();
        }
        format!("*2\r\n{}{}", self.bulk(one), self.bulk(two))
    }

    fn size(&self) -> String {
        let is_refused = self.reads_are_runs && self.refusing.is_some();
        if is_refused { REFUSAL.to_owned() } else { format!(":{}\r\n", self.values.len()) }
    }
}

fn name(key: u8) -> String {
    format!("key{key}")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn replies_equal_those_of_a_sequential_server(
        steps in proptest::collection::vec(step(), 1..120),
        cuts in proptest::collection::vec(1usize..400, 1..12),
        shards in prop_oneof![Just(1u32), Just(3), Just(16)],
        shuffle in any::<u64>(),
        reads_are_runs in any::<bool>(),
        refusing in proptest::option::of(0u32..16),
    ) {
        let refusing = refusing.map(|shard| shard % shards);
        let server = Server::start(shards);
        server.node.shuffle.store(shuffle, Ordering::Relaxed);
        server.node.refuses_reads.store(reads_are_runs, Ordering::Relaxed);
        server.node.set_judge(move |shard, _| {
            let is_refused = refusing == Some(shard.0 - 1);
            if is_refused { Verdict::Refuse(Refusal::Overloaded) } else { Verdict::Execute }
        });
        let mut model = Model { values: BTreeMap::new(), shards, refusing, reads_are_runs };
        let (mut sent, mut expected) = (Vec::new(), String::new());
        for step in &steps {
            let (bytes, reply) = model.play(step);
            sent.extend(bytes);
            expected.push_str(&reply);
        }
        let mut client = server.connect();
        let mut rest = sent.as_slice();
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            client.send(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        prop_assert_eq!(String::from_utf8(client.rest()).unwrap(), expected);
    }
}
