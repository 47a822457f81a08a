//! Hot keys stay, whatever is noted costs no memory and changes nothing that replicas must agree on.

use super::*;
use crate::store::StoreConfig;

const START: UnixMillis = UnixMillis(1_000_000 * EPOCH_MS);

fn at(minutes: u64) -> UnixMillis {
    UnixMillis(START.0 + minutes * EPOCH_MS)
}

fn name(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn number(key: &[u8]) -> usize {
    std::str::from_utf8(&key[4..]).ok().and_then(|text| text.parse().ok()).expect("a key of `name`")
}

/// A store of that many keys; every third one expires, the later ones sooner.
fn filled(policy: Policy, keys: usize) -> Store {
    let mut store = Store::new(StoreConfig { hash_seed: 5, has_every_slot: true });
    store.note_uses(policy, START);
    for key in 0..keys {
        let expiry = (key % 3 == 0).then(|| UnixMillis(at(10_000).0 - key as u64));
        store.keyspace.set_string(&name(key), &[7; 50], expiry);
    }
    store
}

fn read(store: &Store, key: usize, now: UnixMillis) {
    let entry = store.keyspace.get(now, &name(key)).expect("it is there");
    store.keyspace.uses.note_read(entry, now);
}

fn victims(store: &Store, policy: Policy, now: UnixMillis, bytes: u64) -> Vec<usize> {
    let choice =
        Choice { database: DatabaseId::FIRST, policy, samples: 5, bytes, keys_max: 10_000 };
    let mut keys = Vec::new();
    let freed = store.victims(now, &choice, |key| keys.push(number(key)));
    let mut distinct = keys.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), keys.len(), "a key was chosen twice");
    assert!(keys.is_empty() || freed >= bytes.min(1), "{freed} of {bytes} bytes");
    keys
}

#[test]
fn keys_that_are_read_stay() {
    for policy in [Policy::AllKeysLru, Policy::AllKeysLfu] {
        let mut store = filled(policy, 5_000);
        let bytes = store.held_bytes() / 5;
        for round in 0..200u64 {
            let now = UnixMillis(at(10).0 + round * 7);
            store.note_uses(policy, now);
            (0..500).for_each(|key| read(&store, key, now));
        }
        let gone = victims(&store, policy, at(11), bytes);
        let hot = gone.iter().filter(|key| **key < 500).count();
        assert!(gone.len() > 700, "{policy:?}: {}", gone.len());
        assert!(hot < gone.len() / 100, "{policy:?}: {hot} of {} were hot", gone.len());
    }
}

#[test]
fn volatile_policies_let_go_of_what_expires_alone() {
    for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom] {
        let store = filled(policy, 3_000);
        let gone = victims(&store, policy, at(1), store.held_bytes() / 10);
        assert!(gone.len() > 200 && gone.iter().all(|key| key % 3 == 0), "{policy:?}");
    }
    let store = filled(Policy::VolatileTtl, 3_000);
    let gone = victims(&store, Policy::VolatileTtl, at(1), 1_000);
    assert_eq!(gone[..4], [2997, 2994, 2991, 2988]);
    let mut store = Store::new(StoreConfig { hash_seed: 5, has_every_slot: true });
    store.keyspace.set_string(b"key:1", b"v", None);
    for (policy, _) in Policy::ALL {
        let gone = victims(&store, policy, START, 1);
        assert_eq!(gone.is_empty(), policy.is_volatile() || policy == Policy::NoEviction);
    }
}

#[test]
fn the_counter_grows_as_that_of_redis() {
    let policy = Policy::AllKeysLfu;
    let store = filled(policy, 300);
    let mean = || {
        let uses = store.keyspace.uses;
        let shown = |key| {
            let entry = store.keyspace.get(START, &name(key)).expect("it is there");
            u64::from(uses.frequency(entry).expect("uses are counted"))
        };
        (0..300).map(shown).sum::<u64>() / 300
    };
    assert_eq!(mean(), 5);
    let mut now = START.0;
    let mut hit = |times: u64| {
        for _ in 0..times {
            now += 1;
            (0..300).for_each(|key| read(&store, key, UnixMillis(now)));
        }
    };
    // redis.conf says of factor 10: 10 after 100 hits, 18 after 1000.
    hit(100);
    assert!((8..=12).contains(&mean()), "{} after 100 hits", mean());
    hit(900);
    assert!((15..=21).contains(&mean()), "{} after 1000 hits", mean());
    // By one each minute.
    let before = mean();
    store.age_keys(at(6), AgeCursor::default(), AGED_MS);
    let fallen = before - mean();
    assert!((5..=7).contains(&fallen), "{fallen} in six minutes");
}

#[test]
fn idle_time_grows_until_it_is_long_ago() {
    let policy = Policy::AllKeysLru;
    let mut store = filled(policy, 100);
    let idle = |store: &Store, now| {
        let entry = store.keyspace.get(now, &name(1)).expect("it is there");
        store.keyspace.uses.idle_s(entry, now)
    };
    assert_eq!(idle(&store, START), Some(0));
    assert_eq!(idle(&store, at(7)), Some(420));
    let mut cursor = AgeCursor::default();
    for minute in 8..100 {
        assert!(store.wants_note(policy, at(minute)));
        store.note_uses(policy, at(minute));
        cursor = store.age_keys(at(minute), cursor, EPOCH_MS);
        assert_eq!(idle(&store, at(minute)), Some(60 * minute.min(u64::from(EPOCHS_TOLD))));
    }
    read(&store, 1, at(99));
    assert_eq!(idle(&store, at(99)), Some(0));
    store.note_uses(Policy::AllKeysLfu, at(99));
    assert_eq!(idle(&store, at(99)), None);
}

#[test]
fn what_is_noted_is_no_part_of_the_state() {
    let (one, mut other) = (filled(Policy::AllKeysLru, 200), filled(Policy::NoEviction, 200));
    (0..200).for_each(|key| read(&one, key, at(3)));
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.stats().entry_bytes, other.stats().entry_bytes);
    let ctx = ApplyContext { index: keystead_types::LogIndex(1), now: START, seed: 1 };
    other.want(crate::effect::Wanted { classes: u16::MAX, ..Default::default() });
    other.evict(&ctx, DatabaseId::FIRST, [name(1).as_slice(), b"nothing"]);
    assert_eq!((other.key_count(), other.stats().evicted, other.evictions()), (199, 1, 1));
    let [crate::effect::Effect::Event { class, name, .. }] = &other.take_effects()[..] else {
        panic!("one event is told")
    };
    assert_eq!((*class, *name), (EventClass::Evicted, "evicted"));
}

/// A cache whose keys go within seconds keeps those that are used: minutes would tell nothing of them.
#[test]
fn a_cache_that_turns_over_within_seconds_keeps_what_is_used() {
    const HOT: usize = 200;
    let policy = Policy::AllKeysLru;
    let mut store = filled(policy, 2_000);
    let (mut fresh, mut lost) = (10_000, 0);
    for round in 0..600u64 {
        let now = UnixMillis(START.0 + round * 50);
        if store.wants_note(policy, now) {
            store.note_uses(policy, now);
        }
        for key in 0..HOT {
            match store.keyspace.get(now, &name(key)) {
                Some(entry) => store.keyspace.uses.note_read(entry, now),
                None => {
                    lost += 1;
                    store.keyspace.set_string(&name(key), &[7; 50], None);
                }
            }
        }
        for _ in 0..100 {
            fresh += 1;
            store.keyspace.set_string(&name(fresh), &[7; 50], None);
        }
        let bytes = store.held_bytes() / 20;
        let names: Vec<Vec<u8>> =
            victims(&store, policy, now, bytes).into_iter().map(name).collect();
        let context = ApplyContext { index: keystead_types::LogIndex(1), now, seed: round };
        store.evict(&context, DatabaseId::FIRST, names.iter().map(Vec::as_slice));
    }
    assert!(lost < 600, "{lost} times one of {HOT} keys in use had gone");
}
