//! Rows of the string family.

use super::{
    ACCESS_UPDATE_KEY, Command, Group, INSERT_KEY, KeySpec, LOOK_AT_KEY, REPLACE_KEY, UPDATE_KEY,
    flags,
};
use crate::command::string::{append, compare, get, getex, incr, incrbyfloat, lcs, set};

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::String, run).deny_oom()
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::String, run)
}

const fn count(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    write(name, arity, run).fast().keys_at(ACCESS_UPDATE_KEY)
}

const ABSENT_KEY: &[KeySpec] = &[KeySpec::one(1, "OW insert")];

pub(crate) const ROWS: &[Command] = &[
    write("append", 3, append::append)
        .fast()
        .keys_at(INSERT_KEY)
        .since("2.0.0")
        .cost("O(1) amortized")
        .doc("key value", "Appends to a string."),
    count("decr", 2, incr::decr).doc("key", "Takes one from a number."),
    count("decrby", 3, incr::decrby).doc("key decrement", "Takes an amount from a number."),
    Command::write("delex", -2, Group::String, compare::delex)
        .fast()
        .keys_at(&[KeySpec::one(1, "RW delete variable_flags")])
        .since("8.4.0")
        .cost("O(1), or O(N) for IFDEQ and IFDNE, where N is the length of the string")
        .doc(
            "key [IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]",
            "Removes a key if its string is, or is not, the one named.",
        ),
    Command::write("delifeq", 3, Group::String, compare::delifeq)
        .fast()
        .keys_at(&[KeySpec::one(1, "RW delete variable_flags")])
        .since("9.0.0")
        .cost("O(N) where N is the length of the string")
        .doc("key value", "Removes a key if its string is the one named."),
    read("digest", 2, compare::digest)
        .fast()
        .since("8.4.0")
        .cost("O(N) where N is the length of the string")
        .doc("key", "Returns the XXH3 hash of a string, as 16 hexadecimal digits."),
    read("get", 2, get::get).fast().doc("key", "Returns the string under a key."),
    Command::write("getdel", 2, Group::String, getex::getdel)
        .fast()
        .keys_at(&[KeySpec::one(1, "RW access delete")])
        .since("6.2.0")
        .doc("key", "Returns the string under a key and removes it."),
    Command::write("getex", -2, Group::String, getex::getex)
        .fast()
        .keys_at(&[
            KeySpec::one(1, "RW access update").noted("RW and UPDATE because it changes the TTL")
        ])
        .since("6.2.0")
        .doc(
            "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
             PXAT unix-time-milliseconds | PERSIST]",
            "Returns the string under a key and sets when it expires.",
        ),
    read("getrange", 4, get::getrange)
        .since("2.4.0")
        .cost("O(N) where N is the length of the reply")
        .doc("key start end", "Returns a part of a string."),
    count("getset", 3, set::getset)
        .doc("key value", "Sets the string under a key and returns the old one."),
    count("incr", 2, incr::incr).doc("key", "Adds one to a number."),
    count("incrby", 3, incr::incrby).doc("key increment", "Adds an amount to a number."),
    count("incrbyfloat", 3, incrbyfloat::incrbyfloat)
        .since("2.6.0")
        .doc("key increment", "Adds an amount to a number with a fraction."),
    read("lcs", -3, lcs::lcs)
        .keys_at(&[KeySpec::span(1, 1, "RO access")])
        .since("7.0.0")
        .cost("O(N*M) where N and M are the lengths of the strings")
        .doc(
            "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
            "Returns the longest common subsequence of two strings.",
        ),
    read("mget", -2, get::mget)
        .fast()
        .keys_at(&[KeySpec::all_from(1, "RO access")])
        .tips(&["request_policy:multi_shard"])
        .cost("O(N) where N is the number of keys")
        .doc("key [key ...]", "Returns the strings under keys."),
    write("mset", -3, set::mset)
        .keys_at(&[KeySpec::every(2, 1, "OW update")])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .since("1.0.1")
        .cost("O(N) where N is the number of keys")
        .doc("key value [key value ...]", "Sets the strings under keys, all at once."),
    write("msetex", -4, set::msetex)
        .with(flags::MOVABLEKEYS)
        .keys_at(&[KeySpec::counted_pairs(1, "OW update")])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .since("8.4.0")
        .cost("O(N) where N is the number of keys")
        .doc(
            "numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | \
             EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
            "Sets the strings under keys, all at once, with one time to expire.",
        ),
    write("msetnx", -3, set::msetnx)
        .keys_at(&[KeySpec::every(2, 1, "OW insert")])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .since("1.0.1")
        .cost("O(N) where N is the number of keys")
        .doc("key value [key value ...]", "Sets strings if none of the keys exists."),
    write("psetex", 4, set::psetex)
        .keys_at(REPLACE_KEY)
        .since("2.6.0")
        .doc("key milliseconds value", "Sets a string that expires."),
    write("set", -3, set::set)
        .keys_at(&[KeySpec::one(1, "RW access update variable_flags")
            .noted("RW and ACCESS due to the optional `GET` argument")])
        .doc(
            "key value [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | \
             IFDNE ifdne-digest] [GET] [EX seconds | PX milliseconds | \
             EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
            "Sets the string under a key, whatever was there before.",
        ),
    write("setex", 4, set::setex)
        .keys_at(REPLACE_KEY)
        .since("2.0.0")
        .doc("key seconds value", "Sets a string that expires."),
    write("setnx", 3, set::setnx)
        .fast()
        .keys_at(ABSENT_KEY)
        .doc("key value", "Sets a string if the key does not exist."),
    write("setrange", 4, append::setrange)
        .keys_at(UPDATE_KEY)
        .since("2.2.0")
        .cost("O(1), or O(M) where M is the length of the value if the string is moved")
        .doc("key offset value", "Overwrites a part of a string."),
    read("strlen", 2, get::strlen)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .since("2.2.0")
        .doc("key", "Returns the length of a string."),
    read("substr", 4, get::getrange)
        .cost("O(N) where N is the length of the reply")
        .doc("key start end", "Returns a part of a string; the old name of GETRANGE."),
];
