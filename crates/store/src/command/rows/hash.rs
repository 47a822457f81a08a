//! Rows of the hash family; those of field expiry stand in `field_expiry.rs`.

use super::{
    ACCESS_UPDATE_KEY, Command, DELETE_FROM_KEY, Group, INSERT_KEY, LOOK_AT_KEY, UPDATE_KEY,
};
use crate::command::hash::{get, getall, incr, random, scan, set};

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::Hash, run).fast().since("2.0.0")
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::Hash, run).since("2.0.0")
}

const fn all(name: &'static str, run: super::ReadFn) -> Command {
    read(name, 2, run)
        .tips(&["nondeterministic_output_order"])
        .cost("O(N) where N is the number of fields")
}

pub(crate) const ROWS: &[Command] = &[
    write("hdel", -3, set::hdel)
        .keys_at(DELETE_FROM_KEY)
        .cost("O(N) where N is the number of fields named")
        .doc("key field [field ...]", "Removes fields."),
    read("hexists", 3, get::hexists)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key field", "Says whether a field exists."),
    read("hget", 3, get::hget).fast().doc("key field", "Returns the value of a field."),
    all("hgetall", getall::hgetall).doc("key", "Returns all fields and values."),
    write("hincrby", 4, incr::hincrby)
        .deny_oom()
        .keys_at(ACCESS_UPDATE_KEY)
        .doc("key field increment", "Adds an amount to the number in a field."),
    write("hincrbyfloat", 4, incr::hincrbyfloat)
        .deny_oom()
        .keys_at(ACCESS_UPDATE_KEY)
        .since("2.6.0")
        .doc("key field increment", "Adds an amount to the number with a fraction in a field."),
    all("hkeys", getall::hkeys).doc("key", "Returns the names of all fields."),
    read("hlen", 2, get::hlen)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key", "Returns the number of fields."),
    read("hmget", -3, get::hmget)
        .fast()
        .cost("O(N) where N is the number of fields named")
        .doc("key field [field ...]", "Returns the values of fields."),
    write("hmset", -4, set::hmset)
        .deny_oom()
        .keys_at(UPDATE_KEY)
        .cost("O(N) where N is the number of fields named")
        .doc("key field value [field value ...]", "Sets fields; the old form of HSET."),
    read("hrandfield", -2, random::hrandfield)
        .tips(&["nondeterministic_output"])
        .since("6.2.0")
        .cost("O(N) where N is the number of fields")
        .doc("key [count [WITHVALUES]]", "Returns fields chosen at random."),
    read("hscan", -3, scan::hscan)
        .tips(&["nondeterministic_output"])
        .since("2.8.0")
        .cost("O(1) for a step, O(N) for all, where N is the number of fields")
        .doc("key cursor [MATCH pattern] [COUNT count] [NOVALUES]", "Walks over fields in steps."),
    write("hset", -4, set::hset)
        .deny_oom()
        .keys_at(UPDATE_KEY)
        .cost("O(N) where N is the number of fields named")
        .doc("key field value [field value ...]", "Sets fields."),
    write("hsetnx", 4, set::hsetnx)
        .deny_oom()
        .keys_at(INSERT_KEY)
        .doc("key field value", "Sets a field that does not exist."),
    read("hstrlen", 3, get::hstrlen)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .since("3.2.0")
        .doc("key field", "Returns the length of the value of a field."),
    all("hvals", getall::hvals).doc("key", "Returns the values of all fields."),
];
