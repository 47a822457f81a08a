//! Sets beside a naive one, and what chance makes of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::chance::Chance;

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u8>),
    Remove(Vec<u8>),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (-40i64..40).prop_map(|n| n.to_string().into_bytes()),
        2 => prop_oneof![Just(40_000i64), Just(-3_000_000_000), Just(i64::MIN), Just(i64::MAX)]
            .prop_map(|n| n.to_string().into_bytes()),
        1 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => prop_oneof![Just(b"007".to_vec()), Just(b"-0".to_vec()), Just(vec![b'x'; 64]), Just(vec![b'x'; 65])],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => member().prop_map(Step::Add), 2 => member().prop_map(Step::Remove)]
}

fn members(set: &Set) -> Vec<Vec<u8>> {
    set.iter().map(Member::to_vec).collect()
}

/// The set that a snapshot of this one gives.
fn reloaded(hasher: &Hasher, set: &Set) -> Set {
    let mut copy = Set::begin(hasher, set.form(), set.part_count()).unwrap();
    set.each_part(&mut |part| copy.add_part(hasher, part).unwrap());
    copy
}

fn numbers(hasher: &Hasher, count: i64) -> Set {
    let mut set = Set::new();
    for number in 0..count {
        assert!(set.add(hasher, Member::Int(number)));
    }
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// INV-SET1 and INV-SET2, with members on both sides of the bounds; INV-SET3 for a copy and one that was loaded.
    #[test]
    fn a_set_equals_a_naive_one(steps in proptest::collection::vec(step(), 1..300), seed: u64) {
        let hasher = Hasher::new(5);
        let (mut set, mut model) = (Set::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Add(member) => {
                    let is_new = set.add(&hasher, Member::Bytes(&member));
                    prop_assert_eq!(is_new, model.insert(member));
                }
                Step::Remove(member) => {
                    let was_there = set.remove(&hasher, Member::Bytes(&member));
                    prop_assert_eq!(was_there, model.remove(&member));
                }
            }
            prop_assert_eq!(set.len(), model.len());
        }
        let mut seen = members(&set);
        if set.encoding() == "intset" {
            let is_sorted = set.iter().is_sorted_by_key(|member| match member {
                Member::Int(number) => number,
                Member::Bytes(bytes) => panic!("{bytes:?} among numbers"),
            });
            prop_assert!(is_sorted);
        }
        seen.sort();
        prop_assert_eq!(seen, model.iter().cloned().collect::<Vec<_>>());
        for member in &model {
            prop_assert!(set.contains(&hasher, Member::Bytes(member)));
        }
        for copy in [set.duplicate(&hasher), reloaded(&hasher, &set)] {
            prop_assert_eq!((copy.form(), members(&copy)), (set.form(), members(&set)));
            let (mut a, mut b) = (Chance::new(seed, 0), Chance::new(seed, 0));
            prop_assert_eq!(copy.choose(&hasher, &mut || a.next()), set.choose(&hasher, &mut || b.next()));
        }
    }

    #[test]
    fn any_bytes_are_an_intset_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Set::from_intset(&Hasher::new(1), &bytes);
    }
}

#[test]
fn numbers_become_a_table_past_their_bound_and_stay_one() {
    let hasher = Hasher::new(5);
    let mut set = numbers(&hasher, INTS_MAX as i64);
    assert_eq!(set.form(), 2);
    set.add(&hasher, Member::Int(-1));
    assert_eq!(set.form(), TABLE);
    assert_eq!(set.len(), INTS_MAX + 1);
    for number in 0..INTS_MAX as i64 {
        assert!(set.remove(&hasher, Member::Int(number)));
    }
    assert_eq!((set.form(), members(&set)), (TABLE, vec![b"-1".to_vec()]));
}

#[test]
fn a_few_words_are_packed_until_one_is_long() {
    let hasher = Hasher::new(5);
    let mut set = numbers(&hasher, 3);
    set.add(&hasher, Member::Bytes(b"b"));
    assert_eq!((set.form(), members(&set).concat()), (PACKED, b"012b".to_vec()));
    assert!(set.bytes() < 32, "{} bytes", set.bytes());
    assert!(!set.add(&hasher, Member::Int(2)));
    set.add(&hasher, Member::Bytes(&[b'x'; PACKED_BYTES_MAX + 1]));
    assert_eq!(set.form(), TABLE);
}

#[test]
fn an_intset_of_redis_is_read_and_written() {
    let hasher = Hasher::new(5);
    let mut set = numbers(&hasher, 2);
    assert_eq!(set.to_intset().unwrap(), b"\x02\0\0\0\x02\0\0\0\0\0\x01\0");
    set.add(&hasher, Member::Int(100_000));
    let bytes = set.to_intset().unwrap();
    assert_eq!(members(&Set::from_intset(&hasher, &bytes).unwrap()), members(&set));
    for broken in [
        &b"\x02\0\0\0\x02\0\0\0\x01\0\0\0"[..],
        b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0",
        b"\x02\0\0\0\x01\0\0\0\x01\0\x02\0",
        b"\x03\0\0\0\x01\0\0\0\x01\0\x02",
        b"\x02\0\0\0\x01\0\0\0\x01",
    ] {
        assert!(Set::from_intset(&hasher, broken).is_none(), "{broken:?}");
    }
}

/// INV-SET3: the same member for a table that grew and for one made at once; and no member is favoured.
#[test]
fn chance_is_fair_and_does_not_see_capacities() {
    const DRAWS: usize = 200_000;
    let hasher = Hasher::new(9);
    let set = numbers(&hasher, 1000);
    let copy = set.duplicate(&hasher);
    let mut chance = Chance::new(3, 0);
    let mut counts: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    for _ in 0..DRAWS {
        let mut again = chance.clone();
        let chosen = set.choose(&hasher, &mut || chance.next()).unwrap();
        assert_eq!(Some(chosen), copy.choose(&hasher, &mut || again.next()));
        *counts.entry(chosen.to_vec()).or_default() += 1.0;
    }
    let expected = DRAWS as f64 / 1000.0;
    let chi_square: f64 = counts.values().map(|n| (n - expected).powi(2) / expected).sum();
    assert_eq!(counts.len(), 1000, "every member is drawn");
    // 999 degrees of freedom: mean 999, deviation 45.
    assert!(chi_square < 1200.0, "chi-square {chi_square}");
}
