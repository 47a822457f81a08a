//! Rows of the list family.

use super::{
    ACCESS_DELETE_KEY, Command, DELETE_FROM_KEY, Group, INSERT_KEY, KeySpec, LOOK_AT_KEY,
    WaitCommand, flags,
};
use crate::command::list::{edit, ends, pop, pos, range, transfer};

const FROM_AND_TO: &[KeySpec] =
    &[KeySpec::one(1, "RW access delete"), KeySpec::one(2, "RW insert")];
const PER_ELEMENT: &str = "O(N) where N is the number of elements named";

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::List, run)
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::List, run)
}

const fn push(name: &'static str, run: super::WriteFn) -> Command {
    write(name, -3, run).deny_oom().fast().keys_at(INSERT_KEY).cost(PER_ELEMENT)
}

const fn take(name: &'static str, run: super::WriteFn) -> Command {
    write(name, -2, run)
        .fast()
        .keys_at(ACCESS_DELETE_KEY)
        .cost("O(N) where N is the number of elements returned")
}

const fn wait(name: &'static str, arity: i32, kind: WaitCommand) -> Command {
    Command::wait(name, arity, Group::List, kind)
}

const PER_KEY: &str = "O(N) where N is the number of keys named";

pub(crate) const ROWS: &[Command] = &[
    wait("blmove", 6, WaitCommand::BLMove).deny_oom().keys_at(FROM_AND_TO).since("6.2.0").doc(
        "source destination LEFT | RIGHT LEFT | RIGHT timeout",
        "Moves an element from an end of a list to an end of another, waiting until there is one.",
    ),
    wait("blmpop", -5, WaitCommand::BLMPop)
        .without(flags::NOSCRIPT)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::counted(2, "RW access delete")])
        .since("7.0.0")
        .cost("O(N+M) where N is the number of keys and M the number of elements returned")
        .doc(
            "timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]",
            "Removes elements at an end of the first list that has any, waiting until one has.",
        ),
    wait("blpop", -3, WaitCommand::BLPop)
        .keys_at(&[KeySpec::span(1, -2, "RW access delete")])
        .since("2.0.0")
        .cost(PER_KEY)
        .doc(
            "key [key ...] timeout",
            "Removes the head of the first list that has one, waiting until one has.",
        ),
    wait("brpop", -3, WaitCommand::BRPop)
        .keys_at(&[KeySpec::span(1, -2, "RW access delete")])
        .since("2.0.0")
        .cost(PER_KEY)
        .doc(
            "key [key ...] timeout",
            "Removes the tail of the first list that has one, waiting until one has.",
        ),
    wait("brpoplpush", 4, WaitCommand::BRPopLPush)
        .deny_oom()
        .keys_at(FROM_AND_TO)
        .since("2.2.0")
        .doc(
            "source destination timeout",
            "Moves the tail of a list to the head of another, waiting until there is one; the old form of BLMOVE.",
        ),
    read("lindex", 3, range::lindex)
        .cost("O(N) where N is the number of elements from the nearer end; O(1) at the ends")
        .doc("key index", "Returns an element by its index."),
    write("linsert", 5, edit::linsert)
        .deny_oom()
        .keys_at(INSERT_KEY)
        .since("2.2.0")
        .cost("O(N) where N is the number of elements in front of the pivot")
        .doc("key BEFORE | AFTER pivot element", "Inserts an element beside another."),
    read("llen", 2, range::llen)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key", "Returns the number of elements."),
    write("lmove", 5, transfer::lmove).deny_oom().keys_at(FROM_AND_TO).since("6.2.0").doc(
        "source destination LEFT | RIGHT LEFT | RIGHT",
        "Moves an element from an end of a list to an end of another and returns it.",
    ),
    write("lmpop", -4, pop::lmpop)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::counted(1, "RW access delete")])
        .since("7.0.0")
        .cost("O(N+M) where N is the number of keys and M the number of elements returned")
        .doc(
            "numkeys key [key ...] LEFT | RIGHT [COUNT count]",
            "Removes elements at an end of the first list that has any, and returns them.",
        ),
    take("lpop", pop::lpop)
        .doc("key [count]", "Removes elements at the head of a list and returns them."),
    read("lpos", -3, pos::lpos)
        .since("6.0.6")
        .cost("O(N) where N is the number of elements compared")
        .doc(
            "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
            "Returns the indexes of elements that equal one.",
        ),
    push("lpush", ends::lpush)
        .doc("key element [element ...]", "Puts elements in front of the head of a list."),
    push("lpushx", ends::lpushx)
        .since("2.2.0")
        .doc("key element [element ...]", "Puts elements in front of the head of a list that exists."),
    read("lrange", 4, range::lrange)
        .cost("O(S+N) where S is the distance of the start from the nearer end, N the number of elements")
        .doc("key start stop", "Returns a range of elements."),
    write("lrem", 4, edit::lrem)
        .keys_at(DELETE_FROM_KEY)
        .cost("O(N) where N is the number of elements of the list")
        .doc("key count element", "Removes elements that equal one."),
    write("lset", 4, edit::lset)
        .deny_oom()
        .cost("O(N) where N is the number of elements from the nearer end; O(1) at the ends")
        .doc("key index element", "Replaces an element by its index."),
    write("ltrim", 4, edit::ltrim)
        .keys_at(DELETE_FROM_KEY)
        .cost("O(N) where N is the number of elements removed")
        .doc("key start stop", "Removes all elements but a range."),
    take("rpop", pop::rpop)
        .doc("key [count]", "Removes elements at the tail of a list and returns them."),
    write("rpoplpush", 3, transfer::rpoplpush).deny_oom().keys_at(FROM_AND_TO).since("1.2.0").doc(
        "source destination",
        "Moves the tail of a list to the head of another and returns it; the old form of LMOVE.",
    ),
    push("rpush", ends::rpush)
        .doc("key element [element ...]", "Puts elements behind the tail of a list."),
    push("rpushx", ends::rpushx)
        .since("2.2.0")
        .doc("key element [element ...]", "Puts elements behind the tail of a list that exists."),
];
