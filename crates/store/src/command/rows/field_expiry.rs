//! Rows of the commands on fields that expire: those of Redis 7.4, and three of 8.0.

use super::{Command, Group, KeySpec};
use crate::command::hash::{expire, getex, ttl};

const PER_FIELD: &str = "O(N) where N is the number of fields named";

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::Hash, run).fast().since("7.4.0").cost(PER_FIELD)
}

const fn read(name: &'static str, run: super::ReadFn) -> Command {
    Command::read(name, -5, Group::Hash, run).fast().since("7.4.0").cost(PER_FIELD)
}

const FIELDS: &str = "key FIELDS numfields field [field ...]";

pub(crate) const ROWS: &[Command] = &[
    write("hexpire", -6, expire::hexpire).deny_oom().doc(
        "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the seconds after which fields expire.",
    ),
    write("hexpireat", -6, expire::hexpireat).deny_oom().doc(
        "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the Unix second at which fields expire.",
    ),
    read("hexpiretime", ttl::hexpiretime)
        .doc(FIELDS, "Returns the Unix second at which fields expire."),
    write("hgetdel", -5, getex::hgetdel)
        .keys_at(&[KeySpec::one(1, "RW access delete")])
        .since("8.0.0")
        .doc(FIELDS, "Returns the values of fields and removes them."),
    write("hgetex", -5, getex::hgetex)
        .keys_at(&[
            KeySpec::one(1, "RW access update").noted("RW and UPDATE because it changes the TTL")
        ])
        .since("8.0.0")
        .doc(
            "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
            "Returns the values of fields and sets when they expire.",
        ),
    write("hpersist", -5, expire::hpersist).doc(FIELDS, "Removes the fields' time to expire."),
    write("hpexpire", -6, expire::hpexpire).deny_oom().doc(
        "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the milliseconds after which fields expire.",
    ),
    write("hpexpireat", -6, expire::hpexpireat).deny_oom().doc(
        "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        "Sets the Unix millisecond at which fields expire.",
    ),
    read("hpexpiretime", ttl::hpexpiretime)
        .doc(FIELDS, "Returns the Unix millisecond at which fields expire."),
    read("hpttl", ttl::hpttl)
        .tips(&["nondeterministic_output"])
        .doc(FIELDS, "Returns the milliseconds until fields expire."),
    write("hsetex", -6, getex::hsetex).deny_oom().since("8.0.0").doc(
        "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
         PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        "Sets fields and when they expire.",
    ),
    read("httl", ttl::httl)
        .tips(&["nondeterministic_output"])
        .doc(FIELDS, "Returns the seconds until fields expire."),
];
