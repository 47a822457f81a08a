//! Rows of the bitmap family.

use super::{ACCESS_UPDATE_KEY, Command, Group, KeySpec};
use crate::command::bitmap::{bit, count, field, op, pos};

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::Bitmap, run).deny_oom().keys_at(ACCESS_UPDATE_KEY)
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::Bitmap, run)
}

pub(crate) const ROWS: &[Command] = &[
    read("bitcount", -2, count::bitcount)
        .since("2.6.0")
        .cost("O(N) where N is the length of the range")
        .doc("key [start end [BYTE | BIT]]", "Counts the ones in a string."),
    write("bitfield", -2, field::bitfield)
        .keys_at(&[KeySpec::one(1, "RW access update variable_flags")
            .noted("This command allows both access and modification of the key")])
        .since("3.2.0")
        .cost("O(1) for each operation")
        .doc(
            "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | \
             INCRBY encoding offset increment> ...]",
            "Reads and writes integers of any width within a string.",
        ),
    read("bitfield_ro", -2, field::bitfield_ro)
        .fast()
        .since("6.0.0")
        .cost("O(1) for each operation")
        .doc(
            "key [GET encoding offset [GET encoding offset ...]]",
            "Reads integers of any width within a string.",
        ),
    write("bitop", -4, op::bitop)
        .keys_at(&[KeySpec::one(2, "OW update"), KeySpec::all_from(3, "RO access")])
        .since("2.6.0")
        .cost("O(N) where N is the length of the strings")
        .doc(
            "<AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE> destkey key [key ...]",
            "Combines strings bit by bit and stores the result.",
        ),
    read("bitpos", -3, pos::bitpos)
        .since("2.8.7")
        .cost("O(N) where N is the length of the range")
        .doc("key bit [start [end [BYTE | BIT]]]", "Returns the place of the first one or zero."),
    read("getbit", 3, bit::getbit).fast().since("2.2.0").doc("key offset", "Returns a bit."),
    write("setbit", 4, bit::setbit)
        .since("2.2.0")
        .doc("key offset value", "Sets a bit and returns the old one."),
];
