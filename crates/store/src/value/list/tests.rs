//! A list beside the deque of the standard library.
//! INV-LIST1, INV-LIST2 and INV-LIST3 after every step, with elements on both sides of what a node takes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push(Side, u8, usize, usize),
    Drop(Side, usize),
    Set(usize, u8, usize),
    Insert(usize, Beside, u8, usize),
    RemoveEqual(u8, usize, Side, usize),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Left), Just(Side::Right)]
}

fn step() -> impl Strategy<Value = Step> {
    let len = || {
        prop_oneof![
            6 => 0usize..3,
            6 => 60usize..200,
            4 => 900usize..1100,
            1 => NODE_BYTES_MAX - 6..NODE_BYTES_MAX + 3,
            1 => Just(20_000usize),
        ]
    };
    let byte = || 0u8..4;
    let beside = prop_oneof![Just(Beside::Before), Just(Beside::After)];
    let limit = prop_oneof![1usize..4, Just(usize::MAX)];
    prop_oneof![
        8 => (side(), byte(), len(), 1usize..20).prop_map(|(s, b, n, times)| Step::Push(s, b, n, times)),
        3 => (side(), 0usize..40).prop_map(|(s, n)| Step::Drop(s, n)),
        4 => (any::<usize>(), byte(), len()).prop_map(|(at, b, n)| Step::Set(at, b, n)),
        6 => (any::<usize>(), beside, byte(), len()).prop_map(|(at, s, b, n)| Step::Insert(at, s, b, n)),
        2 => (byte(), len(), side(), limit).prop_map(|(b, n, s, l)| Step::RemoveEqual(b, n, s, l)),
    ]
}

/// Does the step to both.
fn run(step: Step, list: &mut List, model: &mut VecDeque<Vec<u8>>) {
    match step {
        Step::Push(side, byte, len, times) => {
            for _ in 0..times {
                list.push(side, &vec![byte; len]);
                match side {
                    Side::Left => model.push_front(vec![byte; len]),
                    Side::Right => model.push_back(vec![byte; len]),
                }
            }
        }
        Step::Drop(side, count) => {
            list.drop_at(side, count);
            let count = count.min(model.len());
            match side {
                Side::Left => drop(model.drain(..count)),
                Side::Right => model.truncate(model.len() - count),
            }
        }
        Step::Set(at, byte, len) => {
            let at = at % (model.len() + 1);
            let is_set = list.set(at, &vec![byte; len]);
            assert_eq!(is_set, at < model.len());
            if is_set {
                model[at] = vec![byte; len];
            }
        }
        Step::Insert(at, beside, byte, len) if !model.is_empty() => {
            let pivot = model[at % model.len()].clone();
            assert!(list.insert_beside(&pivot, beside, &vec![byte; len]));
            let at = model
                .iter()
                .position(|element| *element == pivot)
                .expect("it was taken from there");
            model.insert(at + usize::from(beside == Beside::After), vec![byte; len]);
        }
        Step::Insert(_, beside, byte, len) => {
            assert!(!list.insert_beside(&vec![byte; len], beside, b""));
        }
        Step::RemoveEqual(byte, len, side, limit) => {
            let element = vec![byte; len];
            let removed = list.remove_equal(&element, side, limit);
            let mut places: Vec<usize> =
                (0..model.len()).filter(|at| model[*at] == element).collect();
            if side == Side::Right {
                places.reverse();
            }
            places.truncate(limit);
            assert_eq!(removed, places.len());
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                !places.contains(&(at - 1))
            });
        }
    }
}

fn check(list: &List) {
    let nodes: Vec<&Node> = list.nodes.iter().collect();
    let mut len = 0;
    for node in &nodes {
        assert_eq!(node.items(Side::Left).count(), node.count(), "INV-LIST1");
        assert!(node.count() <= 1 || node.used() <= NODE_BYTES_MAX, "INV-LIST2: too long");
        assert!(node.count() > 0 || nodes.len() == 1, "INV-LIST2: empty");
        len += node.count();
    }
    assert_eq!(len, list.len());
    assert!(!nodes.windows(2).any(|pair| are_small(pair[0], pair[1])), "INV-LIST2: not merged");
    let node_bytes: usize = nodes.iter().map(|node| node.bytes()).sum();
    assert!(list.bytes() >= node_bytes, "INV-LIST3");
    let used: usize = nodes.iter().map(|node| node.used()).sum();
    assert_eq!(list.content_bytes(), used, "INV-LIST3");
    assert_eq!(list.bytes() > node_bytes, matches!(list.nodes, Chain::Many(_)), "INV-LIST3");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_list_equals_a_deque(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for step in steps {
            run(step, &mut list, &mut model);
            check(&list);
            prop_assert_eq!(list.len(), model.len());
        }
        let forward: Vec<Vec<u8>> = list.iter(Side::Left).map(<[u8]>::to_vec).collect();
        let mut backward: Vec<Vec<u8>> = list.iter(Side::Right).map(<[u8]>::to_vec).collect();
        backward.reverse();
        prop_assert_eq!(&forward, &backward);
        prop_assert_eq!(&forward, &Vec::from(model.clone()));
        for at in 0..=model.len() {
            prop_assert_eq!(list.get(at), model.get(at).map(Vec::as_slice));
        }
        let half = model.len() / 2;
        let rest: Vec<&[u8]> = list.iter_from(Side::Left, half).collect();
        prop_assert_eq!(rest, model.iter().skip(half).map(Vec::as_slice).collect::<Vec<_>>());
        let copy = list.duplicate(&Hasher::new(1));
        check(&copy);
        prop_assert!(copy.iter(Side::Left).eq(list.iter(Side::Left)));
    }
}

#[test]
fn a_list_that_was_long_takes_what_it_holds() {
    let mut list = List::new();
    for _ in 0..5_000 {
        list.push(Side::Right, &[7; 100]);
    }
    assert!(list.bytes() < 5_000 * 112, "{} bytes", list.bytes());
    list.drop_at(Side::Left, 4_990);
    assert!(matches!(list.nodes, Chain::One(_)));
    assert!(list.bytes() <= 10 * 102 * 4, "{} bytes", list.bytes());
    list.drop_at(Side::Right, 10);
    assert_eq!((list.len(), list.bytes()), (0, 0));
}

#[test]
fn a_queue_stays_in_its_allocation() {
    let mut list = List::new();
    for round in 0..10_000u32 {
        list.push(Side::Right, &round.to_le_bytes());
        if round >= 10 {
            list.drop_at(Side::Left, 1);
        }
    }
    assert_eq!(list.len(), 10);
    assert!(list.bytes() <= 10 * 6 * 4, "{} bytes", list.bytes());
    assert_eq!(list.end(Side::Left), Some(&9_990u32.to_le_bytes()[..]));
}
