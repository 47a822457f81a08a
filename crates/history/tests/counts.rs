//! Counters and lists: histories made by hand, each with one thing wrong.

use keystead_history::{Counter, CounterViolation, Ledger, LedgerViolation, Outcome};

fn acked<T>(at: u64, output: T) -> Outcome<T> {
    Outcome::Returned { at, output }
}

#[test]
fn a_counter_that_is_right_is_accepted() {
    let mut counter = Counter::default();
    counter.increment(0, acked(10, 1));
    counter.increment(5, acked(30, 3));
    counter.increment(5, Outcome::Unknown);
    counter.read(40, 50, 3);
    counter.judge().unwrap();
}

#[test]
fn a_number_given_twice_is_found() {
    let mut counter = Counter::default();
    counter.increment(0, acked(10, 1));
    counter.increment(5, acked(12, 1));
    assert_eq!(counter.judge(), Err(CounterViolation::AnsweredTwice { answer: 1 }));
}

#[test]
fn a_lost_increment_is_found_by_the_read_at_the_end() {
    let mut counter = Counter::default();
    counter.increment(0, acked(10, 1));
    counter.increment(20, acked(30, 2));
    counter.read(40, 50, 1);
    assert_eq!(counter.judge(), Err(CounterViolation::WentBack { before: 2, found: 1 }));
}

#[test]
fn an_increment_that_counted_twice_is_found() {
    let mut counter = Counter::default();
    counter.increment(0, acked(10, 1));
    counter.increment(20, Outcome::Unknown);
    counter.read(40, 50, 3);
    assert_eq!(counter.judge(), Err(CounterViolation::TooHigh { called: 2, found: 3 }));
}

#[test]
fn answers_that_go_back_are_found() {
    let mut counter = Counter::default();
    counter.increment(0, Outcome::Unknown);
    counter.increment(0, acked(10, 2));
    counter.increment(20, acked(30, 1));
    assert_eq!(counter.judge(), Err(CounterViolation::WentBack { before: 2, found: 1 }));
    let mut counter = Counter::default();
    counter.increment(0, Outcome::Unknown);
    counter.read(5, 6, 1);
    counter.increment(20, acked(30, 1));
    assert_eq!(counter.judge(), Err(CounterViolation::WentBack { before: 1, found: 1 }));
}

/// Entries 1 and 2 acknowledged one after the other, 3 of unknown outcome.
fn ledger(read: &[u64]) -> Result<(), LedgerViolation> {
    let mut ledger = Ledger::default();
    ledger.append(1, 0, acked(10, ()));
    ledger.append(2, 20, acked(30, ()));
    ledger.append(3, 40, Outcome::Unknown);
    ledger.read(50, 60, read.to_vec());
    ledger.judge()
}

#[test]
fn a_list_has_what_was_acknowledged_once_and_in_order() {
    ledger(&[1, 2]).unwrap();
    ledger(&[1, 2, 3]).unwrap();
    assert_eq!(ledger(&[1]), Err(LedgerViolation::Lost { entry: 2 }));
    assert_eq!(ledger(&[1, 2, 2]), Err(LedgerViolation::Twice { entry: 2 }));
    assert_eq!(ledger(&[1, 2, 3, 3]), Err(LedgerViolation::Twice { entry: 3 }));
    assert_eq!(ledger(&[1, 2, 4]), Err(LedgerViolation::Stranger { entry: 4 }));
    assert_eq!(ledger(&[2, 1]), Err(LedgerViolation::OutOfOrder { earlier: 1, later: 2 }));
    assert_eq!(ledger(&[3, 1, 2]), Err(LedgerViolation::OutOfOrder { earlier: 1, later: 3 }));
}

#[test]
fn reads_of_one_list_begin_alike_and_do_not_shrink() {
    let mut ledger = Ledger::default();
    ledger.append(1, 0, Outcome::Unknown);
    ledger.append(2, 0, Outcome::Unknown);
    ledger.read(10, 20, vec![1]);
    ledger.read(30, 40, vec![1, 2]);
    ledger.judge().unwrap();
    let mut differing = ledger.clone();
    differing.read(50, 60, vec![2, 1]);
    assert_eq!(differing.judge(), Err(LedgerViolation::Diverged { position: 0 }));
    ledger.read(50, 60, vec![1]);
    assert_eq!(ledger.judge(), Err(LedgerViolation::Diverged { position: 1 }));
}

#[test]
fn a_settled_list_still_knows_what_was_seen() {
    let mut ledger = Ledger::default();
    ledger.append(1, 0, Outcome::Unknown);
    ledger.append(2, 0, Outcome::Unknown);
    ledger.read(10, 20, vec![]);
    ledger.read(30, 40, vec![1]);
    ledger.read(35, 45, vec![]);
    ledger.settle();
    let mut gone = ledger.clone();
    gone.read(50, 60, vec![]);
    assert_eq!(gone.judge(), Err(LedgerViolation::Diverged { position: 0 }));
    ledger.read(50, 60, vec![1, 2]);
    ledger.judge().unwrap();
}
