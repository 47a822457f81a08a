//! Rows of the stream family.

use super::{
    Command, DELETE_FROM_KEY, Group, KeySpec, LOOK_AT_KEY, ReadFn, SessionCommand, UPDATE_KEY,
    WaitCommand, WriteFn, flags,
};
use crate::command::stream::{ack, add, claim, delete, group, info, pending, range};

const fn write(name: &'static str, arity: i32, run: WriteFn) -> Command {
    Command::write(name, arity, Group::Stream, run).since("5.0.0")
}

const fn read(name: &'static str, arity: i32, run: ReadFn) -> Command {
    Command::read(name, arity, Group::Stream, run).since("5.0.0")
}

const NONDETERMINISTIC: &[&str] = &["nondeterministic_output"];

pub(crate) const ROWS: &[Command] = &[
    write("xack", -4, ack::xack)
        .fast()
        .cost("O(1) for each ID")
        .doc("key group id [id ...]", "Acknowledges entries that were delivered to a group."),
    write("xackdel", -6, ack::xackdel)
        .fast()
        .keys_at(DELETE_FROM_KEY)
        .since("8.2.0")
        .cost("O(log(N)) for each ID, where N is the number of pending entries")
        .doc(
            "key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
            "Acknowledges entries for a group and removes them.",
        ),
    write("xadd", -5, add::xadd)
        .fast()
        .keys_at(ADD_KEY)
        .deny_oom()
        .tips(NONDETERMINISTIC)
        .cost("O(1), and O(N) where N is the number of entries that are trimmed")
        .doc(
            "key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [field value ...]",
            "Adds an entry to a stream.",
        ),
    write("xautoclaim", -6, claim::xautoclaim)
        .fast()
        .keys_at(DELETE_FROM_KEY)
        .tips(NONDETERMINISTIC)
        .since("6.2.0")
        .cost("O(1) if COUNT is small")
        .doc(
            "key group consumer min-idle-time start [COUNT count] [JUSTID]",
            "Takes over what others have left pending, in steps.",
        ),
    write("xclaim", -6, claim::xclaim)
        .fast()
        .keys_at(UPDATE_KEY)
        .tips(NONDETERMINISTIC)
        .cost("O(log(N)) for each ID, where N is the number of pending entries")
        .doc(
            "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
            "Takes over entries that are pending for others.",
        ),
    write("xdel", -3, delete::xdel)
        .fast()
        .keys_at(DELETE_FROM_KEY)
        .cost("O(1) for each ID")
        .doc("key id [id ...]", "Removes entries."),
    write("xdelex", -5, delete::xdelex)
        .fast()
        .keys_at(DELETE_FROM_KEY)
        .since("8.2.0")
        .cost("O(1) for each ID")
        .doc(
            "key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
            "Removes entries, and says what became of each.",
        ),
    Command::container("xgroup", Group::Stream, SessionCommand::XGroup, XGROUP)
        .since("5.0.0")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands on consumer groups."),
    Command::container("xinfo", Group::Stream, SessionCommand::XInfo, XINFO)
        .since("5.0.0")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands that look into streams."),
    read("xlen", 2, range::xlen)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key", "Returns the number of entries."),
    read("xpending", -3, pending::xpending)
        .tips(NONDETERMINISTIC)
        .cost("O(N) where N is the number of entries returned, or of consumers")
        .doc(
            "key group [[IDLE min-idle-time] start end count [consumer]]",
            "Returns what was delivered to a group and is not acknowledged.",
        ),
    read("xrange", -4, range::xrange)
        .cost("O(N) where N is the number of entries returned")
        .doc("key start end [COUNT count]", "Returns entries by ID, the lowest first."),
    Command::wait("xread", -4, Group::Stream, WaitCommand::XRead)
        .since("5.0.0")
        .without(flags::NOSCRIPT)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::half_behind("STREAMS", 1, "RO access")])
        .cost("O(N) where N is the number of entries returned")
        .doc(
            "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
            "Returns the entries of several streams behind given IDs.",
        ),
    Command::wait("xreadgroup", -7, Group::Stream, WaitCommand::XReadGroup)
        .since("5.0.0")
        .without(flags::NOSCRIPT)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::half_behind("STREAMS", 4, "RO access")])
        .cost("O(N) where N is the number of entries returned")
        .doc(
            "GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
            "Delivers entries of several streams to a consumer of a group.",
        ),
    read("xrevrange", -4, range::xrevrange)
        .cost("O(N) where N is the number of entries returned")
        .doc("key end start [COUNT count]", "Returns entries by ID, the highest first."),
    write("xsetid", -3, delete::xsetid)
        .fast()
        .deny_oom()
        .keys_at(UPDATE_KEY)
        .doc(
            "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
            "Sets the last ID of a stream.",
        ),
    write("xtrim", -4, add::xtrim)
        .keys_at(DELETE_FROM_KEY)
        .tips(NONDETERMINISTIC)
        .cost("O(N) where N is the number of entries removed")
        .doc(
            "key MAXLEN | MINID [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]",
            "Removes the oldest entries.",
        ),
];

/// The key of XADD.
const TRIM_NOTE: &str = "UPDATE instead of INSERT because of the optional trimming feature";
const ADD_KEY: &[KeySpec] = &[KeySpec::one(1, "RW update").noted(TRIM_NOTE)];

/// The key of a subcommand into which something is put.
const SUB_INSERT_KEY: &[KeySpec] = &[KeySpec::one(2, "RW insert")];
/// The key of a subcommand that only reads.
const SUB_READ_KEY: &[KeySpec] = &[KeySpec::one(2, "RO access")];

const fn group(name: &'static str, arity: i32, run: WriteFn) -> Command {
    write(name, arity, run).keys_at(SUB_INSERT_KEY)
}

const XGROUP: &[Command] = &[
    group("xgroup|create", -5, group::create)
        .deny_oom()
        .doc("key group id | $ [MKSTREAM] [ENTRIESREAD entries-read]", "Creates a consumer group."),
    group("xgroup|createconsumer", 5, group::create_consumer)
        .deny_oom()
        .since("6.2.0")
        .doc("key group consumer", "Creates a consumer in a group."),
    group("xgroup|delconsumer", 5, group::delete_consumer)
        .keys_at(&[KeySpec::one(2, "RW delete")])
        .doc("key group consumer", "Removes a consumer from a group."),
    group("xgroup|destroy", 4, group::destroy)
        .keys_at(&[KeySpec::one(2, "RW delete")])
        .cost("O(N) where N is the number of pending entries")
        .doc("key group", "Removes a consumer group."),
    Command::session("xgroup|help", 2, Group::Stream, SessionCommand::XGroupHelp)
        .with(flags::LOADING | flags::STALE)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    group("xgroup|setid", -5, group::set_id).keys_at(&[KeySpec::one(2, "RW update")]).doc(
        "key group id | $ [ENTRIESREAD entries-read]",
        "Sets the last ID that was delivered to a group.",
    ),
];

const fn look(name: &'static str, arity: i32, run: ReadFn) -> Command {
    read(name, arity, run).keys_at(SUB_READ_KEY)
}

const XINFO: &[Command] = &[
    look("xinfo|consumers", 4, info::consumers)
        .tips(NONDETERMINISTIC)
        .doc("key group", "Returns the consumers of a group."),
    look("xinfo|groups", 3, info::groups).doc("key", "Returns the groups of a stream."),
    Command::session("xinfo|help", 2, Group::Stream, SessionCommand::XInfoHelp)
        .with(flags::LOADING | flags::STALE)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    look("xinfo|stream", -3, info::stream)
        .cost("O(N) where N is the number of blocks of a hundred entries, and of entries returned")
        .doc("key [FULL [COUNT count]]", "Returns what a stream says of itself."),
];
