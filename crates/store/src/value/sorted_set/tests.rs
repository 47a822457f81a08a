//! A sorted set against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Direction, Form, SortedSet};
use crate::table::Hasher;
use crate::value::Kind;

type Model = BTreeMap<Vec<u8>, f64>;

#[derive(Clone, Debug)]
enum Step {
    Set(u16, i8),
    SetFew(u8, i8),
    SetLong(u16),
    Remove(u16),
    RemoveRanks(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u16..3000, any::<i8>()).prop_map(|(n, s)| Step::Set(n, s)),
        3 => (0u8..20, any::<i8>()).prop_map(|(n, s)| Step::SetFew(n, s)),
        1 => (0u16..20).prop_map(Step::SetLong),
        4 => (0u16..3000).prop_map(Step::Remove),
        1 => (0usize..400, 0usize..60).prop_map(|(a, n)| Step::RemoveRanks(a, n)),
    ]
}

fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(name, score)| (name.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

/// INV-Z1, INV-Z2, INV-Z3, INV-Z4 and INV-Z5.
fn check(set: &SortedSet, hasher: &Hasher, model: &Model) {
    if let Form::Large(large) = &set.0 {
        large.members.check(hasher);
        large.order.check(&large.members);
    }
    let expected = sorted(model);
    assert_eq!(set.len(), expected.len());
    assert!(set.bytes() < 4000 + expected.len() * 400, "{} bytes", set.bytes());
    let up: Vec<_> = set.iter().map(|(name, score)| (name.to_vec(), score)).collect();
    assert_eq!(up, expected);
    let down = set.walk(0..usize::MAX, Direction::Down);
    let mut down: Vec<_> = down.map(|(name, score)| (name.to_vec(), score)).collect();
    down.reverse();
    assert_eq!(down, expected);
    for (rank, (name, score)) in expected.iter().enumerate().step_by(7) {
        assert_eq!(set.rank(hasher, name), Some((rank, *score)));
        assert_eq!(set.score(hasher, name), Some(*score));
    }
    for bound in [-100.0, 0.0, 3.5] {
        let below = expected.iter().filter(|(_, score)| *score < bound).count();
        assert_eq!(set.rank_by_score(|score| score < bound), below);
    }
}

fn run(steps: &[Step], scores: impl Fn(i8) -> f64) {
    let hasher = Hasher::new(5);
    let (mut set, mut model) = (SortedSet::new(), Model::new());
    for step in steps {
        let (name, score) = match *step {
            Step::Set(n, s) => (format!("member:{n}").into_bytes(), scores(s)),
            Step::SetFew(n, s) => (vec![n], scores(s)),
            Step::SetLong(n) => (format!("{n:070}").into_bytes(), 0.5),
            Step::Remove(n) => {
                let name = format!("member:{n}").into_bytes();
                assert_eq!(set.remove(&hasher, &name), model.remove(&name).is_some());
                continue;
            }
            Step::RemoveRanks(from, count) => {
                let going: Vec<_> = sorted(&model).into_iter().skip(from).take(count).collect();
                assert_eq!(set.remove_ranks(&hasher, from..from + count), going.len());
                model.retain(|name, _| !going.iter().any(|(gone, _)| gone == name));
                continue;
            }
        };
        assert_eq!(set.set(&hasher, &name, score), model.insert(name, score).is_none());
    }
    check(&set, &hasher, &model);
    let copy = set.duplicate(&hasher);
    check(&copy, &hasher, &model);
    assert_eq!(copy.form(), set.form());
    let mut loaded = SortedSet::begin(&hasher, set.form(), set.part_count()).expect("a form");
    set.each_part(&mut |part| loaded.add_part(&hasher, part).expect("a part of a set"));
    check(&loaded, &hasher, &model);
    assert_eq!(loaded.encoding(), set.encoding());
    while !model.is_empty() {
        let name = sorted(&model)[model.len() / 2].0.clone();
        model.remove(&name);
        assert!(set.remove(&hasher, &name));
        if model.len().is_multiple_of(50) {
            check(&set, &hasher, &model);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_sorted_set_equals_a_map(steps in proptest::collection::vec(step(), 1..1200)) {
        run(&steps, f64::from);
    }

    #[test]
    fn a_sorted_set_of_equal_scores_equals_a_map(steps in proptest::collection::vec(step(), 1..800)) {
        run(&steps, |score| f64::from(score % 2) + 70_000.25);
    }
}

#[test]
fn members_that_come_in_order_fill_their_leaves() {
    let hasher = Hasher::new(5);
    for is_rising in [true, false] {
        let (mut set, mut model) = (SortedSet::new(), Model::new());
        for number in 0..20_000u32 {
            let score = f64::from(number) * if is_rising { 1.0 } else { -1.0 };
            let name = format!("member:{number:08}").into_bytes();
            set.set(&hasher, &name, score);
            model.insert(name, score);
        }
        check(&set, &hasher, &model);
        let bytes_each = set.bytes() / set.len();
        assert!(bytes_each <= if is_rising { 85 } else { 98 }, "{bytes_each} bytes a member");
        for kept in [10_000, 500, 3] {
            set.remove_ranks(&hasher, 0..set.len() - kept);
            model = sorted(&model).split_off(model.len() - kept).into_iter().collect();
            check(&set, &hasher, &model);
        }
    }
}

#[test]
fn parts_that_make_no_sense_are_refused() {
    let hasher = Hasher::new(5);
    let part = |score: f64, name: &[u8]| [&score.to_le_bytes()[..], name].concat();
    let mut packed = SortedSet::begin(&hasher, 0, 3).expect("packed");
    assert!(packed.add_part(&hasher, &part(f64::NAN, b"a")).is_err());
    assert!(packed.add_part(&hasher, &[0; 7]).is_err());
    assert!(packed.add_part(&hasher, &part(1.0, &[b'x'; 65])).is_err());
    assert!(packed.add_part(&hasher, &part(1.0, b"a")).is_ok());
    assert!(packed.add_part(&hasher, &part(2.0, b"a")).is_err());
    assert!(SortedSet::begin(&hasher, 0, 129).is_none());
    assert!(SortedSet::begin(&hasher, 2, 1).is_none());
}

/// What ZSCAN promises: INV-S1 for members.
#[test]
fn a_cursor_meets_every_member_that_stays_while_others_come_and_go() {
    let hasher = Hasher::new(5);
    let mut set = SortedSet::new();
    for number in 0..1000u32 {
        set.set(&hasher, format!("stays:{number}").as_bytes(), f64::from(number));
    }
    let (mut seen, mut cursor, mut round) = (std::collections::BTreeSet::new(), Some(0), 0u32);
    while let Some(from) = cursor {
        let mut members = set.iter_from(from).expect("a large set");
        seen.extend(members.by_ref().take(10).map(|(_, name, _)| name.to_vec()));
        cursor = members.next().map(|(place, ..)| place);
        drop(members);
        for extra in 0..20 {
            set.set(&hasher, format!("comes:{round}:{extra}").as_bytes(), 1.5);
            set.remove(&hasher, format!("comes:{}:{extra}", round / 2).as_bytes());
            set.set(&hasher, format!("stays:{}", round * 7 % 1000).as_bytes(), f64::from(round));
        }
        round += 1;
    }
    let stayed = (0..1000).all(|number| seen.contains(format!("stays:{number}").as_bytes()));
    assert!(stayed, "a member that stayed was not met");
}
