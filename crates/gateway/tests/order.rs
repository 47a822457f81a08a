//! INV-G1: replies leave in the order of their commands and say what a sequential server would say,
//! whatever is pipelined, however it is cut, and in whatever order shards answer.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
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

/// The sequential server that the gateway must not be told apart from.
#[derive(Default)]
struct Model {
    values: BTreeMap<u8, String>,
}

impl Model {
    /// The bytes that a client sends for the step, and those it must receive.
    fn play(&mut self, step: &Step, shards: u16) -> (Vec<u8>, String) {
        let name = |key: u8| format!("key{key}");
        let bulk = |value: Option<&String>| match value {
            Some(value) => format!("${}\r\n{value}\r\n", value.len()),
            None => "$-1\r\n".to_owned(),
        };
        let shard = |key: u8| {
            let slot = keystead_types::Slot::of_key(name(key).as_bytes());
            u32::from(slot.number()) * u32::from(shards) / 16384
        };
        match *step {
            Step::Set(key, value) => {
                self.values.insert(key, value.to_string());
                (command(&["SET", &name(key), &value.to_string()]), "+OK\r\n".to_owned())
            }
            Step::Get(key) => (command(&["GET", &name(key)]), bulk(self.values.get(&key))),
            Step::Append(key, value) => {
                let text = self.values.entry(key).or_default();
                text.push_str(&value.to_string());
                let length = format!(":{}\r\n", text.len());
                (command(&["APPEND", &name(key), &value.to_string()]), length)
            }
            Step::Delete(key) => {
                let removed = u8::from(self.values.remove(&key).is_some());
                (command(&["DEL", &name(key)]), format!(":{removed}\r\n"))
            }
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
                let reply = if shard(one) == shard(two) {
                    format!("*2\r\n{}{}", bulk(self.values.get(&one)), bulk(self.values.get(&two)))
                } else {
                    "-CROSSSLOT Keys in request don't hash to the same slot\r\n".to_owned()
                };
                (command(&["MGET", &name(one), &name(two)]), reply)
            }
            Step::Transaction(key, value) => {
                self.values.insert(key, value.to_string());
                let mut bytes = command(&["MULTI"]);
                bytes.extend(command(&["SET", &name(key), &value.to_string()]));
                bytes.extend(command(&["GET", &name(key)]));
                bytes.extend(command(&["EXEC"]));
                let got = bulk(self.values.get(&key));
                (bytes, format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n{got}"))
            }
            Step::DbSize => (command(&["DBSIZE"]), format!(":{}\r\n", self.values.len())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_equal_those_of_a_sequential_server(
        steps in proptest::collection::vec(step(), 1..120),
        cuts in proptest::collection::vec(1usize..400, 1..12),
        shards in prop_oneof![Just(1u32), Just(3), Just(16)],
        shuffle in any::<u64>(),
        refuses_reads in any::<bool>(),
    ) {
        let server = Server::start(shards);
        server.node.shuffle.store(shuffle, Ordering::Relaxed);
        server.node.refuses_reads.store(refuses_reads, Ordering::Relaxed);
        let mut model = Model::default();
        let (mut sent, mut expected) = (Vec::new(), String::new());
        for step in &steps {
            let (bytes, reply) = model.play(step, u16::try_from(shards).unwrap());
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
