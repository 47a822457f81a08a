//! Baskets: histories made by hand, each with one thing wrong.

use keystead_history::{Basket, BasketViolation, Outcome};

fn acked<T>(at: u64, output: T) -> Outcome<T> {
    Outcome::Returned { at, output }
}

/// 1 and 2 put in and acknowledged, 3 of unknown outcome.
fn basket() -> Basket {
    let mut basket = Basket::default();
    basket.put(1, 0, acked(10, ()));
    basket.put(2, 5, acked(15, ()));
    basket.put(3, 5, Outcome::Unknown);
    basket
}

fn read(found: &[u64]) -> Result<(), BasketViolation> {
    let mut basket = basket();
    basket.read(20, 30, found);
    basket.judge()
}

#[test]
fn a_basket_has_what_was_put_in_once_in_any_order() {
    read(&[1, 2]).unwrap();
    read(&[3, 2, 1]).unwrap();
    assert_eq!(read(&[2]), Err(BasketViolation::Lost { thing: 1, missing: 1, unknown: 0 }));
    assert_eq!(read(&[1, 2, 1]), Err(BasketViolation::Twice { thing: 1 }));
    assert_eq!(read(&[1, 2, 4]), Err(BasketViolation::Stranger { thing: 4 }));
}

#[test]
fn what_is_taken_is_given_out_once() {
    let mut basket = basket();
    basket.take(20, acked(30, Some(2)));
    basket.read(40, 50, &[1]);
    basket.judge().unwrap();
    let mut doubled = basket.clone();
    doubled.take(40, acked(60, Some(2)));
    assert_eq!(doubled.judge(), Err(BasketViolation::TakenTwice { thing: 2 }));
    let mut invented = basket.clone();
    invented.take(40, acked(60, Some(9)));
    assert_eq!(invented.judge(), Err(BasketViolation::Stranger { thing: 9 }));
    basket.read(60, 70, &[1, 2]);
    assert_eq!(basket.judge(), Err(BasketViolation::Back { thing: 2 }));
}

#[test]
fn a_take_that_nobody_heard_of_explains_one_missing_thing_and_no_more() {
    let mut basket = basket();
    basket.take(20, Outcome::Unknown);
    basket.read(40, 50, &[1]);
    basket.judge().unwrap();
    let mut emptied = basket.clone();
    emptied.read(60, 70, &[]);
    assert_eq!(emptied.judge(), Err(BasketViolation::Lost { thing: 1, missing: 2, unknown: 1 }));
    // It was out: it does not come back.
    basket.read(60, 70, &[1, 2]);
    assert_eq!(basket.judge(), Err(BasketViolation::Back { thing: 2 }));
}

#[test]
fn whoever_finds_nothing_to_take_has_read_that_nothing_is_there() {
    let mut basket = basket();
    basket.take(20, acked(30, None));
    assert_eq!(basket.judge(), Err(BasketViolation::Lost { thing: 1, missing: 2, unknown: 0 }));
    let mut empty = Basket::default();
    empty.take(0, acked(10, None));
    empty.put(1, 5, acked(20, ()));
    empty.judge().unwrap();
}

#[test]
fn what_was_seen_counts_though_nobody_heard_of_its_put() {
    let mut basket = basket();
    basket.read(20, 30, &[1, 2, 3]);
    basket.read(40, 50, &[1, 2]);
    assert_eq!(basket.judge(), Err(BasketViolation::Lost { thing: 3, missing: 1, unknown: 0 }));
}

#[test]
fn a_take_under_way_may_be_seen_or_not() {
    let mut basket = basket();
    basket.take(20, acked(60, Some(1)));
    basket.read(30, 40, &[1, 2]);
    basket.read(30, 40, &[2]);
    basket.judge().unwrap();
}

#[test]
fn a_settled_basket_still_knows_what_was_seen_and_gone() {
    let mut basket = basket();
    basket.take(20, Outcome::Unknown);
    basket.read(20, 30, &[1, 3]);
    basket.judge().unwrap();
    basket.settle();
    let mut lost = basket.clone();
    lost.read(40, 50, &[1]);
    assert_eq!(lost.judge(), Err(BasketViolation::Lost { thing: 2, missing: 2, unknown: 1 }));
    let mut back = basket.clone();
    back.read(40, 50, &[1, 2, 3]);
    assert_eq!(back.judge(), Err(BasketViolation::Back { thing: 2 }));
    basket.read(40, 50, &[1, 3]);
    basket.judge().unwrap();
}
