//! The store against a naive model: what is visible, what a dump holds, what a replay gives.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

#[path = "model/naive.rs"]
mod naive;
mod support;

use keystead_store::{
    DumpStep, Effect, LoadError, ScanCursor, ScanOptions, Store, Wanted, WatchId, command,
};
use keystead_types::{DatabaseId, UnixMillis};
use naive::{Model, Step, key, step, visible};
use proptest::prelude::*;
use support::{CONFIG, apply, apply_with_outcome, context, dump, load, transact};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// INV-K1 and INV-K3: SCAN, which walks the tables, meets what the model holds, and nothing without a value.
    /// INV-K2 and INV-X1: counts of what expires, and nothing left to wait for in the end.
    /// INV-K4: databases do not see each other but through MOVE, COPY, SWAPDB and FLUSHALL.
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
        for (database, keys) in (0u16..).zip(model.databases()) {
            store.select(DatabaseId(database));
            prop_assert_eq!(visible(&mut store, now), keys);
        }
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
    fn no_command_line_panics_or_changes_other_keys_than_its_own_and_every_state_is_dumped(lines in proptest::collection::vec(command_line(), 1..40)) {
        let mut store = Store::new(CONFIG);
        store.want(Wanted { has_touches: true, ..Wanted::default() });
        for (round, line) in lines.iter().enumerate() {
            let (outcome, reply) = apply_with_outcome(&mut store, 1000 + round as u64, line);
            prop_assert_eq!(touched_beside_its_keys(&mut store, line), None);
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
    "DB",
    "BY",
    "ALPHA",
    "DESC",
];

/// A command of the table with arguments that are often nearly right.
fn command_line() -> impl Strategy<Value = Vec<String>> {
    let names: Vec<&str> = command::TABLE.iter().map(|row| row.name).collect();
    let args = proptest::collection::vec(proptest::sample::select(WORDS), 0..7);
    (proptest::sample::select(names), args)
        .prop_map(|(name, args)| std::iter::once(name).chain(args).map(str::to_owned).collect())
}

/// INV-CMD1. A key that the line changed and that its row does not find among its arguments: nobody would have brought the
/// command to that key's shard.
fn touched_beside_its_keys(store: &mut Store, line: &[String]) -> Option<String> {
    let touched = store.take_effects();
    let found = support::with_args(line, |args| {
        let row = command::resolve(args).ok()?;
        Some(row.keys(args).map(<[u8]>::to_vec).collect::<Vec<_>>())
    })?;
    touched.into_iter().find_map(|effect| match effect {
        Effect::Touched(key) if !found.iter().any(|known| **known == *key) => {
            Some(format!("{} by {line:?}", key.escape_ascii()))
        }
        _ => None,
    })
}

/// Options that take the word of another option for their argument, or come twice.
#[test]
fn the_key_of_an_option_is_found_wherever_it_stands() {
    let mut store = Store::new(CONFIG);
    store.want(Wanted { has_touches: true, ..Wanted::default() });
    for line in [
        "RPUSH l 2 1",
        "SORT l STORE a STORE b",
        "SORT l STORE store BY nosort",
        "SORT l STORE by BY store",
        "SORT l BY store STORE get GET store",
        "SORT l GET STORE STORE limit LIMIT 0 1",
        "GEOADD g 13 38 m",
        "GEORADIUS g 13 38 9 km STORE a STORE b",
        "GEORADIUS g 13 38 9 km STORE STORE",
        "GEORADIUS g 13 38 9 km STORE a STOREDIST STORE",
        "GEORADIUSBYMEMBER g m 9 km STOREDIST count COUNT 1",
        "GEORADIUSBYMEMBER g m 9 km COUNT 1 STORE storedist",
    ] {
        let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (outcome, reply) = apply_with_outcome(&mut store, 1, &line);
        assert!(!outcome.is_error && outcome.changes > 0, "{line:?}: {}", reply.escape_ascii());
        assert_eq!(touched_beside_its_keys(&mut store, &line), None);
    }
}

/// A command of a few kilobytes must not make a reply, or a list, of gigabytes.
#[test]
fn what_sort_makes_of_many_patterns_is_bounded() {
    let mut store = Store::new(CONFIG);
    let numbers = (0..5000).map(|number: u32| number.to_string());
    let push: Vec<String> = ["RPUSH", "l"].map(str::to_owned).into_iter().chain(numbers).collect();
    apply(&mut store, 1, &push);
    for (gets, is_refused) in [(4000, true), (3, false)] {
        for store_into in [&[][..], &["STORE", "m"]] {
            let mut line = vec!["SORT", "l"];
            line.extend(std::iter::repeat_n(["GET", "#"], gets).flatten());
            line.extend(store_into);
            let (outcome, _) = apply_with_outcome(&mut store, 1, &line);
            assert_eq!(outcome.is_error, is_refused, "{gets} GET");
        }
    }
    assert_eq!(apply(&mut store, 1, &["LLEN", "m"]), b":15000\r\n");
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
        cursor = store.scan((DatabaseId::FIRST, from), UnixMillis(1), &options, |key| {
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
