//! The rows of the command table, a file per family.
//! Owns: what Redis says of each command: arity, flags, keys, tips. Never: behaviour.
//! Checked against `COMMAND INFO` of redis-server by `tests/against_redis.rs`.

use super::{
    Command, GatherCommand, Group, Handler, KeySpec, OptionKey, ReadFn, SessionCommand,
    WaitCommand, WriteFn, flags,
};

pub(super) mod acl;
pub(super) mod bitmap;
pub(super) mod cluster;
pub(super) mod connection;
pub(super) mod field_expiry;
pub(super) mod geo;
pub(super) mod hash;
pub(super) mod hyperloglog;
pub(super) mod inspect;
pub(super) mod json;
pub(super) mod key;
pub(super) mod list;
pub(super) mod pubsub;
pub(super) mod refused;
pub(super) mod script;
pub(super) mod server;
pub(super) mod set;
pub(super) mod sorted_set;
pub(super) mod stream;
pub(super) mod string;
pub(super) mod transaction;

/// Flags of nearly all commands that concern the session.
const SESSION: u32 = flags::NOSCRIPT | flags::LOADING | flags::STALE;

/// One key that is read.
const READ_KEY: &[KeySpec] = &[KeySpec::one(1, "RO access")];
/// One key of which only something about it is read.
const LOOK_AT_KEY: &[KeySpec] = &[KeySpec::one(1, "RO")];
/// One key that is changed.
const UPDATE_KEY: &[KeySpec] = &[KeySpec::one(1, "RW update")];
/// One key that is read and changed.
const ACCESS_UPDATE_KEY: &[KeySpec] = &[KeySpec::one(1, "RW access update")];
/// One key into which something is put.
const INSERT_KEY: &[KeySpec] = &[KeySpec::one(1, "RW insert")];
/// One key whose content goes.
const DELETE_FROM_KEY: &[KeySpec] = &[KeySpec::one(1, "RW delete")];
/// One key of which something is read and goes.
const ACCESS_DELETE_KEY: &[KeySpec] = &[KeySpec::one(1, "RW access delete")];
/// One key that is replaced.
const REPLACE_KEY: &[KeySpec] = &[KeySpec::one(1, "OW update")];

impl Command {
    const fn row(name: &'static str, arity: i32, group: Group, handler: Handler) -> Self {
        Self {
            name,
            arity,
            flags: match handler {
                Handler::Read(_) => flags::READONLY,
                Handler::Write(_) => flags::WRITE,
                Handler::Gather(kind) if kind.is_write() => flags::WRITE,
                Handler::Wait(WaitCommand::XRead) => flags::READONLY | flags::BLOCKING,
                Handler::Wait(_) => flags::WRITE | flags::BLOCKING,
                Handler::Gather(_) => flags::READONLY,
                Handler::Session(_) | Handler::Refused(_) => 0,
            },
            extra_categories: match group {
                Group::Bitmap => flags::BITMAP,
                Group::Connection => flags::CONNECTION,
                Group::Generic => flags::KEYSPACE,
                Group::Geo => flags::GEO,
                Group::Hash => flags::HASH,
                Group::HyperLogLog => flags::HYPERLOGLOG,
                Group::Json => flags::JSON,
                Group::List => flags::LIST,
                Group::PubSub => flags::PUBSUB,
                Group::Scripting => flags::SCRIPTING,
                Group::Set => flags::SET,
                Group::SortedSet => flags::SORTED_SET,
                Group::Stream => flags::STREAM,
                Group::String => flags::STRING,
                Group::Transactions => flags::TRANSACTION,
                Group::Cluster | Group::Server => 0,
            },
            group,
            keys: &[],
            tips: &[],
            since: "1.0.0",
            complexity: "O(1)",
            syntax: "",
            summary: "",
            subcommands: &[],
            handler,
        }
    }

    const fn read(name: &'static str, arity: i32, group: Group, run: ReadFn) -> Self {
        Self::row(name, arity, group, Handler::Read(run)).keys_at(READ_KEY)
    }

    const fn write(name: &'static str, arity: i32, group: Group, run: WriteFn) -> Self {
        Self::row(name, arity, group, Handler::Write(run)).keys_at(UPDATE_KEY)
    }

    /// A command that may wait.
    const fn wait(name: &'static str, arity: i32, group: Group, kind: WaitCommand) -> Self {
        Self::row(name, arity, group, Handler::Wait(kind)).with(flags::NOSCRIPT)
    }

    const fn gather(name: &'static str, arity: i32, group: Group, kind: GatherCommand) -> Self {
        Self::row(name, arity, group, Handler::Gather(kind))
    }

    const fn session(name: &'static str, arity: i32, group: Group, kind: SessionCommand) -> Self {
        Self::row(name, arity, group, Handler::Session(kind))
    }

    /// A command that is not carried over; `why` ends the sentence that it is answered with.
    const fn refused(name: &'static str, arity: i32, group: Group, why: &'static str) -> Self {
        Self::row(name, arity, group, Handler::Refused(why)).with(flags::ADMIN)
    }

    /// A container: it runs nothing itself, so Redis puts it into no category but `@slow`.
    const fn container(
        name: &'static str,
        group: Group,
        kind: SessionCommand,
        subcommands: &'static [Self],
    ) -> Self {
        let mut row = Self::row(name, -2, group, Handler::Session(kind));
        row.extra_categories = 0;
        row.subcommands = subcommands;
        row
    }

    const fn keys_at(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    const fn arity(mut self, arity: i32) -> Self {
        self.arity = arity;
        self
    }

    const fn with(mut self, bits: u32) -> Self {
        self.flags |= bits;
        self
    }

    const fn without(mut self, bits: u32) -> Self {
        self.flags &= !bits;
        self
    }

    const fn fast(self) -> Self {
        self.with(flags::FAST)
    }

    const fn deny_oom(self) -> Self {
        self.with(flags::DENYOOM)
    }

    const fn in_categories(mut self, bits: u32) -> Self {
        self.extra_categories |= bits;
        self
    }

    const fn only_in_categories(mut self, bits: u32) -> Self {
        self.extra_categories = bits;
        self
    }

    const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    const fn since(mut self, since: &'static str) -> Self {
        self.since = since;
        self
    }

    const fn cost(mut self, complexity: &'static str) -> Self {
        self.complexity = complexity;
        self
    }

    const fn doc(mut self, syntax: &'static str, summary: &'static str) -> Self {
        self.syntax = syntax;
        self.summary = summary;
        self
    }
}
