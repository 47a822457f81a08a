//! Linearizability of one key: histories made by hand, and random ones against all orders tried out.
//! INV-LIN1.

use keystead_history::cell::{Cell, Input, Output};
use keystead_history::{Model, Operation, Outcome, Unproven, check};
use proptest::prelude::*;

type Op = Operation<Input, Output>;

fn done(input: Input, called: u64, at: u64, output: Output) -> Op {
    Operation { input, called, outcome: Outcome::Returned { at, output } }
}

fn set(value: u64, called: u64, at: u64) -> Op {
    done(Input::Set(value), called, at, Output::Done)
}

fn get(called: u64, at: u64, value: u64) -> Op {
    done(Input::Get, called, at, Output::Value((value > 0).then_some(value)))
}

fn lost(input: Input, called: u64) -> Op {
    Operation { input, called, outcome: Outcome::Unknown }
}

#[track_caller]
fn refused(history: &[Op], position: usize) {
    match check(&Cell, history) {
        Err(Unproven::Violation { position: found, .. }) => assert_eq!(found, position),
        other => panic!("{other:?} instead of a violation at {position}"),
    }
}

#[track_caller]
fn ends(history: &[Op]) -> Vec<u64> {
    let ends = check(&Cell, history).expect("an order explains it");
    ends.iter().map(|state| state.unwrap_or(0)).collect()
}

#[test]
fn an_acknowledged_write_that_is_lost_is_found() {
    refused(&[set(1, 0, 10), get(20, 30, 0)], 1);
    refused(&[set(1, 0, 10), set(2, 20, 30), get(40, 50, 1)], 2);
}

#[test]
fn reads_may_not_go_back_even_under_a_write_that_is_open() {
    let write = set(1, 0, 100);
    assert_eq!(ends(&[write, get(10, 20, 0), get(30, 40, 1), get(50, 60, 1)]), [1]);
    refused(&[write, get(10, 20, 1), get(30, 40, 0)], 2);
}

#[test]
fn a_value_that_nobody_wrote_or_that_was_refused_is_found() {
    refused(&[set(1, 0, 10), get(20, 30, 9)], 1);
}

#[test]
fn a_value_read_before_it_was_sent_is_found() {
    refused(&[get(0, 10, 1), set(1, 20, 30)], 0);
}

#[test]
fn two_writes_at_once_may_come_in_either_order_but_only_in_one() {
    let writes = [set(1, 0, 50), set(2, 0, 50)];
    assert_eq!(ends(&writes), [1, 2]);
    assert_eq!(ends(&[writes[0], writes[1], get(60, 70, 1), get(80, 90, 1)]), [1]);
    refused(&[writes[0], writes[1], get(60, 70, 1), get(80, 90, 2)], 3);
}

#[test]
fn a_write_of_unknown_outcome_may_show_late_or_never_but_not_twice() {
    let unknown = lost(Input::Set(2), 20);
    assert_eq!(ends(&[set(1, 0, 10), unknown]), [1, 2]);
    assert_eq!(ends(&[set(1, 0, 10), unknown, get(500, 510, 1), get(600, 610, 2)]), [2]);
    refused(&[set(1, 0, 10), unknown, get(30, 40, 2), set(3, 50, 60), get(70, 80, 2)], 4);
    refused(&[set(1, 0, 10), unknown, get(30, 40, 2), get(50, 60, 1)], 3);
    // It cannot have happened before it was sent.
    refused(&[lost(Input::Set(2), 20), get(0, 10, 2)], 1);
}

#[test]
fn an_increment_that_counts_twice_or_not_at_all_is_found() {
    let count = |called, at, value| done(Input::Increment, called, at, Output::Count(value));
    assert_eq!(ends(&[count(0, 10, 1), count(20, 30, 2)]), [2]);
    refused(&[count(0, 10, 1), count(20, 30, 1)], 1);
    refused(&[count(0, 10, 1), count(20, 30, 3)], 1);
    assert_eq!(ends(&[count(0, 10, 1), lost(Input::Increment, 0), count(20, 30, 3)]), [3]);
}

#[test]
fn of_two_conditional_writes_on_one_value_only_one_may_be_done() {
    let swap =
        |value, was| done(Input::SetIfEqual { expected: 1, value }, 20, 30, Output::Was(was));
    assert_eq!(ends(&[set(1, 0, 10), swap(2, true), swap(3, false)]), [2]);
    refused(&[set(1, 0, 10), swap(2, true), swap(3, true)], 2);
    refused(&[set(1, 0, 10), swap(2, false), swap(3, false)], 1);
}

#[test]
fn a_delete_says_whether_there_was_anything() {
    let delete = |called, at, was| done(Input::Delete, called, at, Output::Was(was));
    assert_eq!(ends(&[set(1, 0, 10), delete(20, 30, true), delete(40, 50, false)]), [0]);
    refused(&[set(1, 0, 10), delete(20, 30, true), delete(40, 50, true)], 2);
}

/// Thousands of operations of several clients, with unknown outcomes among them, are judged at once.
#[test]
fn memory_follows_what_is_open_and_not_the_length() {
    let mut history = Vec::new();
    for round in 0..1_000u64 {
        let (time, value) = (round * 100, round * 4 + 1);
        history.push(set(value, time, time + 40));
        history.push(set(value + 1, time + 5, time + 45));
        history.push(get(time + 50, time + 90, value));
        history.push(get(time + 55, time + 95, value));
        if round % 50 == 0 {
            history.push(lost(Input::Set(value + 2), time + 60));
        }
    }
    assert_eq!(ends(&history).len(), 21);
    let last = history.len();
    history.push(get(600_000, 600_001, 5));
    refused(&history, last);
}

#[test]
fn too_much_that_is_unknown_is_undecided_and_not_accepted() {
    let history: Vec<Op> = (0..200).map(|at| lost(Input::Set(at + 1), at)).collect();
    let error = check(&Cell, &history).unwrap_err();
    assert!(matches!(error, Unproven::TooManyOpen { .. }) && !error.is_violation());
}

/// Writers of one key who all wait out the same failover: each subset of them may have come first.
#[test]
fn many_writers_at_once_are_judged_or_given_up_in_bounded_time() {
    let of = |writers: u64| -> Vec<Op> {
        (0..writers).map(|at| set(at + 1, at, 1_000 + at)).chain([get(2_000, 2_001, 3)]).collect()
    };
    assert_eq!(ends(&of(10)), [3]);
    let error = check(&Cell, &of(60)).unwrap_err();
    assert!(matches!(error, Unproven::TooManyConfigurations { .. }), "{error}");
}

/// All orders, tried out one after the other.
fn exists_order(history: &[Op], state: Option<u64>, taken: u32) -> bool {
    let is_open = |at: usize| taken >> at & 1 == 0;
    let must: Vec<usize> = (0..history.len())
        .filter(|at| is_open(*at) && history[*at].outcome != Outcome::Unknown)
        .collect();
    if must.is_empty() {
        return true;
    }
    (0..history.len()).filter(|at| is_open(*at)).any(|at| {
        // Nothing that is still to come may have returned before this was called.
        let is_first = must.iter().all(|other| match history[*other].outcome {
            Outcome::Returned { at: returned, .. } => returned >= history[at].called,
            Outcome::Unknown => true,
        });
        let output = match &history[at].outcome {
            Outcome::Returned { output, .. } => Some(output),
            Outcome::Unknown => None,
        };
        is_first
            && Cell
                .step(&state, &history[at].input, output)
                .is_some_and(|next| exists_order(history, next, taken | 1 << at))
    })
}

fn operation() -> impl Strategy<Value = Op> {
    let value = || 1..4u64;
    let seen = || prop::option::of(1..4u64);
    let answered = prop_oneof![
        seen().prop_map(|value| (Input::Get, Output::Value(value))),
        seen().prop_map(|value| (Input::Get, Output::Value(value))),
        value().prop_map(|value| (Input::Set(value), Output::Done)),
        (value(), value(), any::<bool>()).prop_map(|(expected, value, was)| (
            Input::SetIfEqual { expected, value },
            Output::Was(was)
        )),
        value().prop_map(|count| (Input::Increment, Output::Count(count))),
        any::<bool>().prop_map(|was| (Input::Delete, Output::Was(was))),
    ];
    (answered, 0..20u64, 0..12u64, 0..4u32).prop_map(|((input, output), called, takes, fate)| {
        if fate == 0 {
            return lost(input, called);
        }
        done(input, called, called + takes, output)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_search_agrees_with_all_orders(history in prop::collection::vec(operation(), 0..7)) {
        let is_linearizable = exists_order(&history, None, 0);
        prop_assert_eq!(check(&Cell, &history).is_ok(), is_linearizable);
    }

    #[test]
    fn what_the_key_may_hold_is_what_a_later_read_may_find(history in prop::collection::vec(operation(), 0..6)) {
        if let Ok(ends) = check(&Cell, &history) {
            for value in [None, Some(1), Some(2), Some(3), Some(4)] {
                let mut longer = history.clone();
                longer.push(done(Input::Get, 100, 101, Output::Value(value)));
                prop_assert_eq!(ends.may_be(&value), exists_order(&longer, None, 0));
            }
        }
    }
}
