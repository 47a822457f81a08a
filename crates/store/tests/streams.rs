//! Streams beside a naive model, through dumps and payloads, and beside payloads of nonsense.
//!
//! Holds INV-ST1, INV-ST2 and INV-ST3: whatever was added, removed, trimmed and delivered, ranges in both directions
//! say what the model says, and what RESTORE and the loader of snapshots accept is the same stream.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::BTreeMap;

use keystead_store::Store;
use proptest::prelude::*;
use support::{CONFIG, apply, dump, load};

/// A step on the stream `s` and its group `g`.
#[derive(Clone, Debug)]
enum Step {
    Add { field: String, value: String },
    Delete { at: usize },
    Trim { len: usize },
    TrimBelow { at: usize },
    Read { consumer: u8, count: usize },
    Claim { consumer: u8, at: usize },
    Acknowledge { at: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let field = prop_oneof![Just("f".to_owned()), Just("7".to_owned()), "[a-c]{1,3}"];
    let value = prop_oneof!["[a-z]{0,5}", "-?[1-9][0-9]{0,17}", "x{100,600}"];
    let step = prop_oneof![
        8 => (field, value).prop_map(|(field, value)| Step::Add { field, value }),
        2 => any::<usize>().prop_map(|at| Step::Delete { at }),
        1 => (0usize..60).prop_map(|len| Step::Trim { len }),
        1 => any::<usize>().prop_map(|at| Step::TrimBelow { at }),
        2 => (0u8..3, 1usize..9).prop_map(|(consumer, count)| Step::Read { consumer, count }),
        1 => (0u8..3, any::<usize>()).prop_map(|(consumer, at)| Step::Claim { consumer, at }),
        1 => any::<usize>().prop_map(|at| Step::Acknowledge { at }),
    ];
    proptest::collection::vec(step, 1..400)
}

/// What the stream should hold.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, (String, String)>,
    pending: BTreeMap<u64, u8>,
    last: u64,
    read: u64,
}

impl Model {
    /// An id that may be there.
    fn id(&self, at: usize) -> u64 {
        at as u64 % (self.last + 2)
    }

    /// Does to both what `step` says.
    fn step(&mut self, store: &mut Store, step: &Step) {
        let mut run = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            apply(store, 5, &words)
        };
        match step {
            Step::Add { field, value } => {
                self.last += 1;
                self.entries.insert(self.last, (field.clone(), value.clone()));
                run(&format!("XADD s {} {field} {value}", self.last));
            }
            Step::Delete { at } => {
                let is_there = self.entries.remove(&self.id(*at)).is_some();
                let reply = run(&format!("XDEL s {}", self.id(*at)));
                assert_eq!(reply, format!(":{}\r\n", u8::from(is_there)).as_bytes());
            }
            Step::Trim { len } => {
                while self.entries.len() > *len {
                    self.entries.pop_first();
                }
                run(&format!("XTRIM s MAXLEN {len}"));
            }
            Step::TrimBelow { at } => {
                self.entries = self.entries.split_off(&self.id(*at));
                run(&format!("XTRIM s MINID {}", self.id(*at)));
            }
            Step::Read { consumer, count } => {
                let new: Vec<u64> =
                    self.entries.range(self.read + 1..).map(|(id, _)| *id).take(*count).collect();
                self.read = new.last().copied().unwrap_or(self.read);
                self.pending.extend(new.iter().map(|id| (*id, *consumer)));
                run(&format!("XREADGROUP GROUP g {consumer} COUNT {count} STREAMS s >"));
            }
            Step::Claim { consumer, at } => {
                let id = self.id(*at);
                if !self.entries.contains_key(&id) {
                    self.pending.remove(&id);
                } else if let Some(owner) = self.pending.get_mut(&id) {
                    *owner = *consumer;
                }
                run(&format!("XCLAIM s g {consumer} 0 {id}"));
            }
            Step::Acknowledge { at } => {
                self.pending.remove(&self.id(*at));
                run(&format!("XACK s g {}", self.id(*at)));
            }
        }
    }

    fn range(&self, is_backward: bool) -> Vec<u8> {
        let mut out = format!("*{}\r\n", self.entries.len());
        let mut entries: Vec<_> = self.entries.iter().collect();
        if is_backward {
            entries.reverse();
        }
        for (id, (field, value)) in entries {
            let id = format!("{id}-0");
            out += &format!("*2\r\n${}\r\n{id}\r\n*2\r\n", id.len());
            out += &format!("${}\r\n{field}\r\n${}\r\n{value}\r\n", field.len(), value.len());
        }
        out.into_bytes()
    }

    /// Compares all that is seen of the key.
    fn check(&self, store: &mut Store, key: &str) {
        assert_eq!(apply(store, 5, &["XRANGE", key, "-", "+"]), self.range(false));
        assert_eq!(apply(store, 5, &["XREVRANGE", key, "+", "-"]), self.range(true));
        let len = format!(":{}\r\n", self.entries.len());
        assert_eq!(apply(store, 5, &["XLEN", key]), len.as_bytes());
        for consumer in 0u8..3 {
            let own = self.pending.values().filter(|owner| **owner == consumer).count();
            let name = consumer.to_string();
            let reply = apply(store, 5, &["XPENDING", key, "g", "-", "+", "1000", &name]);
            assert!(reply.starts_with(format!("*{own}\r\n").as_bytes()), "of {consumer}");
        }
        let all = apply(store, 5, &["XPENDING", key, "g", "-", "+", "1000"]);
        assert!(all.starts_with(format!("*{}\r\n", self.pending.len()).as_bytes()));
    }
}

fn stream_of(steps: &[Step]) -> (Store, Model) {
    let (mut store, mut model) = (Store::new(CONFIG), Model::default());
    apply(&mut store, 5, &["XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"]);
    for step in steps {
        model.step(&mut store, step);
    }
    (store, model)
}

/// What DUMP gives, without the reply around it.
fn payload(store: &mut Store, key: &str) -> Vec<u8> {
    let reply = apply(store, 5, &["DUMP", key]);
    let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    reply[start..reply.len() - 2].to_vec()
}

/// CRC-64 of Jones, bit by bit.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_stream_is_what_the_model_says_through_dumps_and_payloads(steps in steps()) {
        let (mut store, model) = stream_of(&steps);
        model.check(&mut store, "s");
        let used = store.stats().entry_bytes;
        let bytes = dump(&mut store);
        let mut loaded = load(&bytes, 1000).unwrap();
        prop_assert_eq!(loaded.digest(), store.digest());
        model.check(&mut loaded, "s");
        let payload = payload(&mut store, "s");
        let restore = [&b"RESTORE"[..], b"copy", b"0", &payload];
        prop_assert_eq!(apply(&mut store, 5, &restore), b"+OK\r\n");
        model.check(&mut store, "copy");
        // Counted as it changed, a stream takes no less than one that was put there whole.
        prop_assert!(store.stats().entry_bytes - used <= used + 64);
        apply(&mut store, 5, &["DEL", "s", "copy"]);
        prop_assert_eq!(store.stats().entry_bytes, 0);
    }

    #[test]
    fn a_damaged_payload_is_refused_or_a_sound_stream(
        steps in steps(),
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let (mut store, _) = stream_of(&steps);
        let mut bytes = payload(&mut store, "s");
        let body = bytes.len() - 8;
        for (at, byte) in damage {
            bytes[at % body] = byte;
        }
        let sum = crc64(&bytes[..body]);
        bytes[body..].copy_from_slice(&sum.to_le_bytes());
        let reply = apply(&mut store, 5, &[&b"RESTORE"[..], b"copy", b"0", &bytes]);
        if reply == b"+OK\r\n" {
            let mut count = |words: &[&str]| {
                let reply = String::from_utf8_lossy(&apply(&mut store, 5, words)).into_owned();
                reply.lines().next().unwrap_or_default()[1..].to_owned()
            };
            let len = count(&["XLEN", "copy"]);
            prop_assert_eq!(&count(&["XRANGE", "copy", "-", "+"]), &len);
            prop_assert_eq!(&count(&["XREVRANGE", "copy", "+", "-"]), &len);
            for line in ["XINFO STREAM copy FULL COUNT 0", "XINFO GROUPS copy", "XRANGE copy - +",
                "XREVRANGE copy + -", "XADD copy MAXLEN 3 * a b", "XREADGROUP GROUP g x STREAMS copy >",
                "XAUTOCLAIM copy g y 0 0", "XINFO CONSUMERS copy g", "XPENDING copy g - + 9", "DUMP copy",
                "XTRIM copy MINID 99", "COPY copy again"] {
                apply(&mut store, 5, &line.split(' ').collect::<Vec<_>>());
            }
            let bytes = dump(&mut store);
            prop_assert_eq!(load(&bytes, 1000).unwrap().digest(), store.digest());
        }
    }
}
