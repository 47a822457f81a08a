//! Snapshots of earlier formats, and what a snapshot may say of databases.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use keystead_store::{LoadError, Store, WatchId};
use keystead_types::DatabaseId;
use support::{CONFIG, apply, context, dump, load, transact};

/// A section: its kind and its payload.
type Section = (u8, Vec<u8>);

const MAGIC: &[u8] = b"KEYSTEAD";

fn sections(bytes: &[u8]) -> Vec<Section> {
    let mut rest = bytes.strip_prefix(MAGIC).unwrap();
    let mut sections = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[1..5].try_into().unwrap()) as usize;
        sections.push((rest[0], rest[5..5 + len].to_vec()));
        rest = &rest[5 + len + 4..];
    }
    sections
}

fn joined(sections: &[Section]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (kind, payload) in sections {
        let mut section = vec![*kind];
        section.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        section.extend_from_slice(payload);
        section.extend_from_slice(&crc32c::crc32c(&section).to_le_bytes());
        bytes.extend_from_slice(&section);
    }
    bytes
}

/// The snapshot as version 3 wrote it: nobody waits.
fn in_version_3(bytes: &[u8]) -> Vec<u8> {
    let mut sections = sections(bytes);
    for (kind, payload) in &mut sections {
        match kind {
            b'H' => *payload = 3u16.to_le_bytes().to_vec(),
            // Keys and watches are counted.
            b'E' => payload.truncate(16),
            _ => {}
        }
    }
    joined(&sections)
}

/// The snapshot as version 2 wrote it: no databases either. Watches have one key each.
fn in_version_2(bytes: &[u8]) -> Vec<u8> {
    let mut sections = sections(bytes);
    for (kind, payload) in &mut sections {
        match kind {
            b'H' => *payload = 2u16.to_le_bytes().to_vec(),
            b'K' => drop(payload.drain(..2)),
            // Behind id, time, mark and count.
            b'W' => drop(payload.drain(18..20)),
            b'E' => payload.truncate(16),
            _ => {}
        }
    }
    joined(&sections)
}

fn filled() -> Store {
    let mut store = Store::new(CONFIG);
    for number in 0..300 {
        apply(&mut store, 1, &["SET", &format!("k{number}"), "value"]);
        apply(&mut store, 1, &["HSET", "hash", &number.to_string(), &"v".repeat(1000)]);
    }
    apply(&mut store, 1, &["PEXPIRE", "k1", "1000"]);
    store.watch(&context(1, 1), WatchId(3), [&b"hash"[..]]);
    store
}

#[test]
fn a_snapshot_of_the_time_before_databases_is_read_into_the_first() {
    let mut store = filled();
    let bytes = dump(&mut store);
    let old = in_version_2(&bytes);
    assert!(old.len() < bytes.len());
    for piece in [1, 1000] {
        let mut loaded = load(&old, piece).unwrap();
        assert_eq!(loaded.digest(), store.digest());
        assert_eq!((loaded.selected(), loaded.key_count()), (DatabaseId::FIRST, 301));
        apply(&mut loaded, 2, &["HSET", "hash", "1", "changed"]);
        assert_eq!(
            transact(&mut loaded, 2, &[&["PING"]], &[3]),
            b"*-1\r\n",
            "the watch came along"
        );
    }
}

#[test]
fn a_snapshot_of_the_time_before_clients_waited_is_read() {
    let mut store = filled();
    apply(&mut store, 1, &["SELECT", "3"]);
    apply(&mut store, 1, &["SET", "k", "elsewhere"]);
    let old = in_version_3(&dump(&mut store));
    assert_eq!(load(&old, 1000).unwrap().digest(), store.digest());
    // The version that is written says how many wait.
    let mut sections = sections(&dump(&mut store));
    sections.last_mut().unwrap().1.truncate(16);
    assert!(matches!(load(&joined(&sections), 1000), Err(LoadError::Malformed { .. })));
}

#[test]
fn what_is_in_which_database_and_what_is_watched_there_comes_back() {
    let mut store = filled();
    apply(&mut store, 1, &["SWAPDB", "0", "7"]);
    apply(&mut store, 1, &["SELECT", "7"]);
    store.watch(&context(1, 1), WatchId(4), [&b"k1"[..], b"k2"]);
    apply(&mut store, 1, &["SELECT", "1023"]);
    apply(&mut store, 1, &["SET", "k1", "last"]);
    let mut loaded = load(&dump(&mut store), 77).unwrap();
    assert_eq!(loaded.digest(), store.digest());
    assert_eq!(
        loaded.database_stats().collect::<Vec<_>>(),
        store.database_stats().collect::<Vec<_>>()
    );
    assert_eq!(apply(&mut loaded, 1, &["GET", "k1"]), b"$-1\r\n", "a store begins in the first");
    apply(&mut loaded, 1, &["DEL", "k1"]);
    assert_eq!(
        transact(&mut loaded, 2, &[&["SELECT", "7"], &["PTTL", "k1"]], &[4]),
        b"*2\r\n+OK\r\n:999\r\n"
    );
    assert_eq!(
        transact(&mut loaded, 2, &[&["PING"]], &[3]),
        b"*-1\r\n",
        "SWAPDB took the hash away"
    );
}

#[test]
fn equal_keys_in_other_databases_have_another_digest() {
    let in_database = |number: &str| {
        let mut store = Store::new(CONFIG);
        apply(&mut store, 1, &["SELECT", number]);
        apply(&mut store, 1, &["SET", "k", "v"]);
        store.digest()
    };
    assert_ne!(in_database("0"), in_database("1"));
    assert_ne!(in_database("1"), in_database("256"));
    assert_eq!(in_database("3"), in_database("3"));
}

#[test]
fn a_database_that_cannot_be_and_a_collection_in_two_of_them_are_refused() {
    let whole = sections(&dump(&mut filled()));
    let malformed = |change: &dyn Fn(&mut Vec<Section>)| {
        let mut sections = whole.clone();
        change(&mut sections);
        match load(&joined(&sections), 1000).err() {
            Some(LoadError::Malformed { what, .. }) => what,
            other => panic!("loaded, or failed otherwise: {other:?}"),
        }
    };
    let first_keys = whole.iter().position(|(kind, _)| *kind == b'K').unwrap();
    let beyond = malformed(&|sections| sections[first_keys].1[1] = 4);
    assert_eq!(beyond, "no such database");
    let hash = whole.windows(2).position(|pair| {
        pair.iter().all(|(kind, _)| *kind == b'K') && pair[0].1[..4] == pair[1].1[..4]
    });
    let cut = malformed(&|sections| sections[hash.unwrap() + 1].1[0] = 1);
    assert_eq!(cut, "a collection has fewer parts than it says");
    let watched = malformed(&|sections| {
        let watch = sections.iter_mut().find(|(kind, _)| *kind == b'W').unwrap();
        watch.1[19] = 4;
    });
    assert_eq!(watched, "watch cut short");
}
