//! The store against a naive model: what is visible, what a dump holds, what a replay gives.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::BTreeMap;

use keystead_store::{DumpStep, LoadError, ScanCursor, ScanOptions, Store, WatchId, command};
use keystead_types::UnixMillis;
use proptest::prelude::*;
use support::{CONFIG, apply, apply_with_outcome, context, dump, load, transact};

#[derive(Clone, Debug)]
enum Step {
    Set(u8, usize, Option<u64>),
    Append(u8, usize),
    Delete(u8),
    Expire(u8, u64),
    Persist(u8),
    SetField(u8, u8, usize),
    DeleteField(u8, u8),
    ExpireField(u8, u8, u64),
    Rename(u8, u8),
    Copy(u8, u8),
    Flush,
    Wait(u64),
    RemoveDue(usize),
    Watch(u64, u8),
    Unwatch(u64),
    BeginDump,
    DumpSome(usize),
    AbortDump,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0u8..12;
    let field = 0u8..20;
    let len = prop_oneof![4 => 0usize..40, 1 => 60usize..70, 1 => 900usize..1200];
    let span = 1u64..60;
    prop_oneof![
        6 => (key.clone(), len.clone(), proptest::option::of(span.clone())).prop_map(|(k, n, t)| Step::Set(k, n, t)),
        3 => (key.clone(), len.clone()).prop_map(|(k, n)| Step::Append(k, n)),
        3 => key.clone().prop_map(Step::Delete),
        3 => (key.clone(), span.clone()).prop_map(|(k, t)| Step::Expire(k, t)),
        1 => key.clone().prop_map(Step::Persist),
        8 => (key.clone(), field.clone(), len).prop_map(|(k, f, n)| Step::SetField(k, f, n)),
        3 => (key.clone(), field.clone()).prop_map(|(k, f)| Step::DeleteField(k, f)),
        4 => (key.clone(), field, span.clone()).prop_map(|(k, f, t)| Step::ExpireField(k, f, t)),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::Copy(a, b)),
        1 => Just(Step::Flush),
        4 => span.prop_map(Step::Wait),
        2 => (0usize..4).prop_map(Step::RemoveDue),
        2 => (0u64..4, key).prop_map(|(id, k)| Step::Watch(id, k)),
        1 => (0u64..4).prop_map(Step::Unwatch),
        2 => Just(Step::BeginDump),
        4 => (1usize..400).prop_map(Step::DumpSome),
        1 => Just(Step::AbortDump),
    ]
}

/// Some keys share a slot, so that copying a slot out is not copying a key out.
fn key(number: u8) -> String {
    format!("{{{}}}{number}", number % 5)
}

fn value(round: usize, len: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(round % 26).unwrap());
    letter.to_string().repeat(len)
}

fn line(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Text(String),
    Fields(BTreeMap<String, (String, Option<u64>)>),
}

/// Keys as a client sees them; what has expired is taken out before every step.
#[derive(Default)]
struct Model(BTreeMap<String, (Held, Option<u64>)>);

impl Model {
    fn expire(&mut self, now: u64) {
        let is_live = |at: &Option<u64>| at.is_none_or(|at| at > now);
        for (held, _) in self.0.values_mut() {
            if let Held::Fields(fields) = held {
                fields.retain(|_, (_, at)| is_live(at));
            }
        }
        self.0.retain(|_, (held, at)| {
            is_live(at) && !matches!(held, Held::Fields(fields) if fields.is_empty())
        });
    }

    fn fields(&mut self, key: &str) -> Option<&mut BTreeMap<String, (String, Option<u64>)>> {
        match self.0.get_mut(key) {
            Some((Held::Fields(fields), _)) => Some(fields),
            _ => None,
        }
    }

    /// Does what the command of this step does; returns the command.
    fn step(&mut self, step: &Step, round: usize, now: u64) -> Option<Vec<String>> {
        self.step_on_string(step, round, now)
            .or_else(|| self.step_on_fields_or_keys(step, round, now))
    }

    fn step_on_string(&mut self, step: &Step, round: usize, now: u64) -> Option<Vec<String>> {
        match *step {
            Step::Set(k, len, ttl) => {
                let (key, value) = (key(k), value(round, len));
                self.0.insert(key.clone(), (Held::Text(value.clone()), ttl.map(|t| now + t)));
                match ttl {
                    Some(ttl) => line(&["SET", &key, &value, "PX", &ttl.to_string()]),
                    None => line(&["SET", &key, &value]),
                }
            }
            Step::Append(k, len) => {
                let (key, value) = (key(k), value(round, len));
                let entry = self.0.entry(key.clone());
                let (held, _) = entry.or_insert((Held::Text(String::new()), None));
                if let Held::Text(text) = held {
                    text.push_str(&value);
                }
                line(&["APPEND", &key, &value])
            }
            Step::Delete(k) => {
                self.0.remove(&key(k));
                line(&["DEL", &key(k)])
            }
            Step::Expire(k, ttl) => {
                if let Some((_, at)) = self.0.get_mut(&key(k)) {
                    *at = Some(now + ttl);
                }
                line(&["PEXPIRE", &key(k), &ttl.to_string()])
            }
            Step::Persist(k) => {
                if let Some((_, at)) = self.0.get_mut(&key(k)) {
                    *at = None;
                }
                line(&["PERSIST", &key(k)])
            }
            _ => None,
        }
    }

    fn step_on_fields_or_keys(
        &mut self,
        step: &Step,
        round: usize,
        now: u64,
    ) -> Option<Vec<String>> {
        match *step {
            Step::SetField(k, f, len) => {
                let (key, value) = (key(k), value(round, len));
                let entry = self.0.entry(key.clone());
                entry.or_insert((Held::Fields(BTreeMap::new()), None));
                if let Some(fields) = self.fields(&key) {
                    fields.insert(f.to_string(), (value.clone(), None));
                }
                line(&["HSET", &key, &f.to_string(), &value])
            }
            Step::DeleteField(k, f) => {
                let field = f.to_string();
                if let Some(fields) = self.fields(&key(k)) {
                    fields.remove(&field);
                }
                line(&["HDEL", &key(k), &field])
            }
            Step::ExpireField(k, f, ttl) => {
                let field = f.to_string();
                if let Some((_, at)) = self.fields(&key(k)).and_then(|fs| fs.get_mut(&field)) {
                    *at = Some(now + ttl);
                }
                line(&["HPEXPIRE", &key(k), &ttl.to_string(), "FIELDS", "1", &field])
            }
            Step::Rename(a, b) => {
                if let Some(entry) = self.0.remove(&key(a)) {
                    self.0.insert(key(b), entry);
                }
                line(&["RENAME", &key(a), &key(b)])
            }
            Step::Copy(a, b) => {
                if let Some(entry) = self.0.get(&key(a)).cloned() {
                    self.0.insert(key(b), entry);
                }
                line(&["COPY", &key(a), &key(b), "REPLACE"])
            }
            Step::Flush => {
                self.0.clear();
                line(&["FLUSHALL"])
            }
            _ => None,
        }
    }
}

/// What a client sees in the store, read back key by key.
fn visible(store: &mut Store, now: u64) -> BTreeMap<String, (Held, Option<u64>)> {
    let mut keys = Vec::new();
    store.keys(UnixMillis(now), b"*", |key| keys.push(String::from_utf8(key.to_vec()).unwrap()));
    let words = |reply: Vec<u8>| {
        let text = String::from_utf8(reply).unwrap();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.into_iter().filter(|line| !line.starts_with(['$', '*'])).collect::<Vec<_>>()
    };
    let mut seen = BTreeMap::new();
    for key in keys {
        let at = apply(store, now, &["PEXPIRETIME", &key]);
        let at: i64 = std::str::from_utf8(&at[1..at.len() - 2]).unwrap().parse().unwrap();
        let kind = apply(store, now, &["TYPE", &key]);
        let held = if kind == b"+string\r\n" {
            Held::Text(words(apply(store, now, &["GET", &key])).concat())
        } else {
            let names = words(apply(store, now, &["HKEYS", &key]));
            let fields = names.into_iter().map(|name| {
                let value = words(apply(store, now, &["HGET", &key, &name])).concat();
                let at = apply(store, now, &["HPEXPIRETIME", &key, "FIELDS", "1", &name]);
                let at = String::from_utf8(at).unwrap();
                let at = at.lines().nth(1).and_then(|line| line[1..].parse().ok());
                (name, (value, at))
            });
            Held::Fields(fields.collect())
        };
        seen.insert(key, (held, u64::try_from(at).ok()));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// INV-K1 and INV-K3: SCAN, which walks the tables, meets what the model holds, and nothing without a value.
    /// INV-K2 and INV-X1: counts of what expires, and nothing left to wait for in the end.
    /// INV-D1 and INV-D2: a dump that ran while keys changed holds the state of its beginning.
    #[test]
    fn the_store_equals_its_model_and_dumps_hold_what_was_when_they_began(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::default();
        let (mut store, mut replica) = (Store::new(CONFIG), Store::new(CONFIG));
        let mut running: Option<(keystead_store::Digest, Vec<u8>)> = None;
        let mut now = 1000;
        for (round, step) in steps.iter().enumerate() {
            model.expire(now);
            if let Some(command) = model.step(step, round, now) {
                let reply = apply(&mut store, now, &command);
                let again = apply(&mut replica, now, &command);
                prop_assert_eq!(reply, again);
            }
            match *step {
                Step::Wait(ms) => now += ms,
                Step::RemoveDue(limit) => {
                    let removed = store.expire_due(&context(1, now), limit);
                    prop_assert!(removed <= limit);
                    prop_assert_eq!(replica.expire_due(&context(1, now), limit), removed);
                }
                Step::Watch(id, k) => {
                    for store in [&mut store, &mut replica] {
                        store.watch(&context(1, now), WatchId(id), [key(k).as_bytes()]);
                    }
                }
                Step::Unwatch(id) => {
                    store.unwatch(WatchId(id));
                    replica.unwatch(WatchId(id));
                }
                Step::BeginDump => {
                    store.begin_dump();
                    running = Some((store.digest(), Vec::new()));
                }
                Step::DumpSome(target) => {
                    if let Some((digest, bytes)) = &mut running
                        && store.dump_step(bytes, target) == DumpStep::Done
                    {
                        let loaded = load(bytes, 100).unwrap();
                        prop_assert_eq!(loaded.digest(), *digest);
                        running = None;
                    }
                }
                Step::AbortDump => {
                    store.abort_dump();
                    running = None;
                }
                _ => {}
            }
        }
        model.expire(now);
        prop_assert_eq!(visible(&mut store, now), model.0);
        prop_assert_eq!(store.digest(), replica.digest());
        if let Some((digest, mut bytes)) = running {
            while store.dump_step(&mut bytes, 64) == DumpStep::More {}
            prop_assert_eq!(load(&bytes, 1).unwrap().digest(), digest);
        }
        let loaded = load(&dump(&mut store), 7).unwrap();
        let (a, b) = (loaded.stats(), store.stats());
        prop_assert_eq!(
            (a.keys, a.keys_with_expiry, a.hashes_with_field_expiry, a.watches),
            (b.keys, b.keys_with_expiry, b.hashes_with_field_expiry, b.watches)
        );
        // Once all that expires has been removed, nothing is left to wait for but watches.
        store.expire_due(&context(1, now + 1_000_000_000), usize::MAX);
        prop_assert_eq!(store.next_expiry(), None);
        prop_assert_eq!(store.stats().keys_with_expiry, 0);
    }

    #[test]
    fn damage_to_a_snapshot_is_an_error(at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
        let mut store = Store::new(CONFIG);
        for number in 0..40u8 {
            apply(&mut store, 1, &["SET", &key(number), "value", "PX", "1000"]);
            apply(&mut store, 1, &["HSET", "hash", &number.to_string(), &"v".repeat(number.into())]);
        }
        store.watch(&context(1, 1), WatchId(3), [&b"hash"[..]]);
        let bytes = dump(&mut store);
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(load(&damaged, 64).is_err());
        let end = cut.index(bytes.len());
        let is_incomplete = matches!(load(&bytes[..end], 64), Err(LoadError::Incomplete { .. }));
        prop_assert!(is_incomplete);
    }

    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(load(&bytes, 3).is_err());
    }

    #[test]
    fn no_command_line_panics_and_every_state_is_dumped(lines in proptest::collection::vec(command_line(), 1..40)) {
        let mut store = Store::new(CONFIG);
        for (round, line) in lines.iter().enumerate() {
            let (outcome, reply) = apply_with_outcome(&mut store, 1000 + round as u64, line);
            prop_assert_eq!(outcome.is_error, reply.first() == Some(&b'-'));
            let is_ours = command::find(line[0].as_bytes()).is_some();
            prop_assert!(is_ours && !reply.is_empty());
        }
        let digest = store.digest();
        prop_assert_eq!(load(&dump(&mut store), 1000).unwrap().digest(), digest);
    }
}

/// Arguments that some command takes somewhere.
const WORDS: &[&str] = &[
    "a",
    "b",
    "{a}1",
    "{a}2",
    "",
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "inf",
    "*",
    "[",
    "NX",
    "XX",
    "GT",
    "LT",
    "EX",
    "PX",
    "EXAT",
    "KEEPTTL",
    "GET",
    "FIELDS",
    "FNX",
    "FXX",
    "FVS",
    "PERSIST",
    "REPLACE",
    "ABSTTL",
    "COUNT",
    "MATCH",
    "WITHVALUES",
    "SET",
    "INCRBY",
    "OVERFLOW",
    "SAT",
    "FAIL",
    "u8",
    "i64",
    "#1",
    "AND",
    "NOT",
    "BYTE",
    "BIT",
    "LEN",
    "IDX",
    "ENCODING",
    "WITHSCORES",
    "BYSCORE",
    "BYLEX",
    "REV",
    "LIMIT",
    "MIN",
    "MAX",
    "(1",
    "[a",
    "+",
    "-",
    "WEIGHTS",
    "AGGREGATE",
    "INCR",
    "CH",
    "m",
    "km",
    "FROMMEMBER",
    "FROMLONLAT",
    "BYRADIUS",
    "BYBOX",
    "ANY",
    "STORE",
    "STOREDIST",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "RANK",
    "MAXLEN",
];

/// A command of the table with arguments that are often nearly right.
fn command_line() -> impl Strategy<Value = Vec<String>> {
    let names: Vec<&str> = command::TABLE.iter().map(|row| row.name).collect();
    let args = proptest::collection::vec(proptest::sample::select(WORDS), 0..7);
    (proptest::sample::select(names), args)
        .prop_map(|(name, args)| std::iter::once(name).chain(args).map(str::to_owned).collect())
}

/// INV-S1.
#[test]
fn scan_meets_every_key_that_stays_while_others_come_and_go() {
    let mut store = Store::new(CONFIG);
    for number in 0..1000 {
        apply(&mut store, 1, &["SET", &format!("stays:{number}"), "v"]);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = Some(ScanCursor::default());
    let mut round = 0;
    while let Some(from) = cursor {
        let options = ScanOptions { pattern: Some(b"stays:*"), count: 17, kind: None };
        cursor = store.scan(UnixMillis(1), from, &options, |key| {
            seen.insert(key.to_vec());
        });
        for extra in 0..20 {
            apply(&mut store, 1, &["SET", &format!("{{stays}}:{round}:{extra}"), "v"]);
        }
        apply(&mut store, 1, &["DEL", &format!("{{stays}}:{}:3", round / 2)]);
        round += 1;
    }
    assert_eq!(seen.len(), 1000);
}

/// INV-W1 among the rest.
#[test]
fn exec_aborts_only_if_a_watched_key_changed() {
    let mut store = Store::new(CONFIG);
    let null = b"*-1\r\n";
    let set: &[&[&str]] = &[&["SET", "a", "2"]];
    apply(&mut store, 1, &["SET", "a", "1", "PX", "10"]);
    store.watch(&context(1, 1), WatchId(1), [&b"a"[..]]);
    assert_eq!(transact(&mut store, 2, set, &[1]), b"*1\r\n+OK\r\n", "nothing changed");
    assert_eq!(transact(&mut store, 2, set, &[1]), null, "the watch ended with EXEC");
    store.watch(&context(1, 2), WatchId(2), [&b"a"[..], b"b"]);
    apply(&mut store, 3, &["GET", "a"]);
    apply(&mut store, 3, &["DEL", "nosuch"]);
    apply(&mut store, 3, &["SET", "c", "1"]);
    assert_eq!(transact(&mut store, 3, set, &[2]), b"*1\r\n+OK\r\n", "reads and other keys");
    store.watch(&context(1, 3), WatchId(3), [&b"b"[..]]);
    apply(&mut store, 3, &["SET", "b", "1"]);
    assert_eq!(transact(&mut store, 3, set, &[3]), null, "an absent key came");
    apply(&mut store, 4, &["PEXPIRE", "b", "10"]);
    store.watch(&context(1, 4), WatchId(4), [&b"b"[..]]);
    assert_eq!(transact(&mut store, 14, set, &[4]), null, "the key expired, removed or not");
    store.watch(&context(1, 14), WatchId(5), [&b"b"[..]]);
    store.expire_due(&context(1, 14), 10);
    assert_eq!(transact(&mut store, 14, set, &[5]), b"*1\r\n+OK\r\n", "it had expired before");
    store.watch(&context(1, 15), WatchId(6), [&b"a"[..]]);
    apply(&mut store, 15, &["FLUSHALL"]);
    assert_eq!(transact(&mut store, 15, set, &[6]), null, "FLUSHALL removed it");
    store.watch(&context(1, 15), WatchId(7), [&b"nosuch"[..]]);
    apply(&mut store, 15, &["FLUSHALL"]);
    assert_eq!(
        transact(&mut store, 15, set, &[7]),
        b"*1\r\n+OK\r\n",
        "there was nothing to remove"
    );
}
