//! The whole road of a command on a node alone.
//! Owns: those pieces. Never: sockets, threads, a disk (see `lone`).

use std::hint::black_box;

use super::{Jumps, gets, sets};
use crate::lone::Lone;

const KEYS: u64 = 2_000;
/// Requests prepared in advance, so that keys differ from call to call.
const PREPARED: usize = 64;

pub(super) fn get() -> Box<dyn FnMut()> {
    exchange(gets, 1)
}

pub(super) fn get_16() -> Box<dyn FnMut()> {
    exchange(gets, 16)
}

pub(super) fn set() -> Box<dyn FnMut()> {
    exchange(sets, 1)
}

pub(super) fn set_16() -> Box<dyn FnMut()> {
    exchange(sets, 16)
}

fn exchange(make: fn(&mut Jumps, usize) -> Vec<u8>, count: usize) -> Box<dyn FnMut()> {
    let (mut lone, mut jumps, mut replies) = (Lone::new(), Jumps::new(KEYS), Vec::new());
    for number in 0..KEYS {
        let key = super::key(number);
        let set = super::requests([&[b"SET", key.as_bytes(), &super::VALUE][..]]);
        replies.clear();
        lone.exchange(&set, &mut replies);
        assert_eq!(replies, b"+OK\r\n", "the node refuses a write: {}", replies.escape_ascii());
    }
    let prepared: Vec<Vec<u8>> = (0..PREPARED).map(|_| make(&mut jumps, count)).collect();
    let mut turn = 0;
    Box::new(move || {
        replies.clear();
        lone.exchange(&prepared[turn % PREPARED], &mut replies);
        turn += 1;
        let is_well = replies.first().is_some_and(|first| matches!(first, b'+' | b'$'));
        assert!(is_well, "the node refuses: {}", replies.escape_ascii());
        black_box(&replies);
    })
}
