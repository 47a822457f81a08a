//! Rows of the set family.

use super::{
    Command, DELETE_FROM_KEY, Group, INSERT_KEY, KeySpec, LOOK_AT_KEY, ReadFn, WriteFn, flags,
};
use crate::command::set::{change, combine, get, pop, random, scan};

const fn write(name: &'static str, arity: i32, run: WriteFn) -> Command {
    Command::write(name, arity, Group::Set, run)
}

const fn read(name: &'static str, arity: i32, run: ReadFn) -> Command {
    Command::read(name, arity, Group::Set, run)
}

/// Sets that are combined.
const OPERANDS: &[KeySpec] = &[KeySpec::all_from(1, "RO access")];
/// Where the result goes, and sets that are combined.
const STORE_KEYS: &[KeySpec] = &[KeySpec::one(1, "OW update"), KeySpec::all_from(2, "RO access")];

const fn combine(name: &'static str, run: ReadFn) -> Command {
    read(name, -2, run)
        .keys_at(OPERANDS)
        .tips(&["nondeterministic_output_order"])
        .cost("O(N) where N is the number of members of all sets")
}

const fn combine_and_store(name: &'static str, run: WriteFn) -> Command {
    write(name, -3, run)
        .deny_oom()
        .keys_at(STORE_KEYS)
        .cost("O(N) where N is the number of members of all sets")
}

pub(crate) const ROWS: &[Command] = &[
    write("sadd", -3, change::sadd)
        .fast()
        .deny_oom()
        .keys_at(INSERT_KEY)
        .cost("O(N) where N is the number of members named")
        .doc("key member [member ...]", "Adds members to a set."),
    read("scard", 2, get::scard)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key", "Returns the number of members."),
    combine("sdiff", combine::sdiff)
        .doc("key [key ...]", "Returns the members of the first set that no other set holds."),
    combine_and_store("sdiffstore", combine::sdiffstore).doc(
        "destination key [key ...]",
        "Stores the members of the first set that no other set holds.",
    ),
    combine("sinter", combine::sinter)
        .cost("O(N*M) where N is the size of the smallest set and M is the number of sets")
        .doc("key [key ...]", "Returns the members that all of the sets hold."),
    read("sintercard", -3, combine::sintercard)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::counted(1, "RO access")])
        .since("7.0.0")
        .cost("O(N*M) where N is the size of the smallest set and M is the number of sets")
        .doc(
            "numkeys key [key ...] [LIMIT limit]",
            "Returns how many members all of the sets hold.",
        ),
    combine_and_store("sinterstore", combine::sinterstore)
        .keys_at(&[KeySpec::one(1, "RW update"), KeySpec::all_from(2, "RO access")])
        .cost("O(N*M) where N is the size of the smallest set and M is the number of sets")
        .doc("destination key [key ...]", "Stores the members that all of the sets hold."),
    read("sismember", 3, get::sismember)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key member", "Says whether a member is in a set."),
    read("smembers", 2, get::smembers)
        .tips(&["nondeterministic_output_order"])
        .cost("O(N) where N is the number of members")
        .doc("key", "Returns all members."),
    read("smismember", -3, get::smismember)
        .fast()
        .since("6.2.0")
        .cost("O(N) where N is the number of members named")
        .doc("key member [member ...]", "Says of each member whether it is in a set."),
    write("smove", 4, change::smove)
        .fast()
        .keys_at(&[KeySpec::one(1, "RW access delete"), KeySpec::one(2, "RW insert")])
        .doc("source destination member", "Moves a member from one set to another."),
    write("spop", -2, pop::spop)
        .fast()
        .keys_at(&[KeySpec::one(1, "RW access delete")])
        .tips(&["nondeterministic_output"])
        .cost("O(N) where N is the number of members to remove")
        .doc("key [count]", "Removes members chosen at random and returns them."),
    read("srandmember", -2, random::srandmember)
        .tips(&["nondeterministic_output"])
        .cost("O(N) where N is the number of members to return")
        .doc("key [count]", "Returns members chosen at random."),
    write("srem", -3, change::srem)
        .fast()
        .keys_at(DELETE_FROM_KEY)
        .cost("O(N) where N is the number of members named")
        .doc("key member [member ...]", "Removes members from a set."),
    read("sscan", -3, scan::sscan)
        .tips(&["nondeterministic_output"])
        .since("2.8.0")
        .cost("O(1) for a step, O(N) for all, where N is the number of members")
        .doc("key cursor [MATCH pattern] [COUNT count]", "Walks over the members in steps."),
    combine("sunion", combine::sunion)
        .doc("key [key ...]", "Returns the members that any of the sets holds."),
    combine_and_store("sunionstore", combine::sunionstore)
        .doc("destination key [key ...]", "Stores the members that any of the sets holds."),
];
