//! Rows of the HyperLogLog family.

use super::{Command, Group, INSERT_KEY, KeySpec, flags};
use crate::command::hyperloglog::{count, debug, self_test};

const LOGS: Group = Group::HyperLogLog;

pub(crate) const ROWS: &[Command] = &[
    Command::write("pfadd", -2, LOGS, count::pfadd)
        .fast()
        .deny_oom()
        .keys_at(INSERT_KEY)
        .since("2.8.9")
        .cost("O(1) for each element, with the copy of a sketch of at most 12 KiB")
        .doc("key [element [element ...]]", "Adds elements to a sketch."),
    Command::read("pfcount", -2, LOGS, count::pfcount)
        .keys_at(&[KeySpec::all_from(1, "RW access").noted(
            "RW because it may change the internal representation of the key, and propagate to replicas",
        )])
        .since("2.8.9")
        .cost("O(N) where N is the number of keys, with 16384 registers each")
        .doc("key [key ...]", "Estimates how many different elements sketches have seen."),
    Command::write("pfmerge", -2, LOGS, count::pfmerge)
        .deny_oom()
        .keys_at(&[KeySpec::one(1, "RW access insert"), KeySpec::all_from(2, "RO access")])
        .since("2.8.9")
        .cost("O(N) where N is the number of keys, with 16384 registers each")
        .doc("destkey [sourcekey [sourcekey ...]]", "Merges sketches into one."),
    Command::write("pfdebug", 3, LOGS, debug::pfdebug)
        .deny_oom()
        .with(flags::ADMIN)
        .keys_at(&[KeySpec::one(2, "RW access")])
        .since("2.8.9")
        .doc("subcommand key", "Looks into a sketch."),
    Command::read("pfselftest", 1, LOGS, self_test::pfselftest)
        .without(flags::READONLY)
        .with(flags::ADMIN)
        .keys_at(&[])
        .since("2.8.9")
        .cost("O(1): it tests with sketches of its own")
        .doc("", "Tests whether sketches are what they should be."),
];
