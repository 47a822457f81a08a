//! Rows of the JSON family: those of RedisJSON, which is a part of Redis 8.

use super::{
    ACCESS_UPDATE_KEY, Command, DELETE_FROM_KEY, Group, KeySpec, LOOK_AT_KEY, SessionCommand,
    UPDATE_KEY, flags,
};
use crate::command::json::{
    array, debug, del, find, get, measure, merge, number, resp, scalar, set,
};

const PER_VALUE: &str = "O(N) where N is the number of values that the path looks at";
const PER_SIZE: &str =
    "O(N) where N is the number of values that the path looks at, and in those that it names";

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::Json, run).since("8.0.0").cost(PER_VALUE)
}

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::Json, run).since("8.0.0").cost(PER_VALUE)
}

pub(crate) const ROWS: &[Command] = &[
    write("json.arrappend", -4, array::append)
        .deny_oom()
        .keys_at(UPDATE_KEY)
        .doc("key path value [value ...]", "Appends values to arrays."),
    read("json.arrindex", -4, find::arrindex)
        .cost(PER_SIZE)
        .doc("key path value [start [stop]]", "Returns where in arrays a value stands first."),
    write("json.arrinsert", -5, array::arrinsert)
        .deny_oom()
        .cost(PER_SIZE)
        .doc("key path index value [value ...]", "Inserts values into arrays."),
    read("json.arrlen", -2, measure::arrlen)
        .keys_at(LOOK_AT_KEY)
        .doc("key [path]", "Returns the lengths of arrays."),
    write("json.arrpop", -2, array::pop)
        .keys_at(&[KeySpec::one(1, "RW access delete")])
        .cost(PER_SIZE)
        .doc("key [path [index]]", "Returns elements of arrays and removes them."),
    write("json.arrtrim", 5, array::trim)
        .keys_at(DELETE_FROM_KEY)
        .cost(PER_SIZE)
        .doc("key path start stop", "Removes all elements of arrays but those in a range."),
    write("json.clear", -2, del::clear)
        .keys_at(DELETE_FROM_KEY)
        .cost(PER_SIZE)
        .doc("key [path]", "Empties arrays and objects, and sets numbers to 0."),
    Command::container("json.debug", Group::Json, SessionCommand::JsonDebug, DEBUG)
        .in_categories(flags::JSON)
        .since("8.0.0")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands that look into documents."),
    write("json.del", -2, del::del)
        .keys_at(DELETE_FROM_KEY)
        .cost(PER_SIZE)
        .doc("key [path]", "Removes values."),
    write("json.forget", -2, del::del)
        .keys_at(DELETE_FROM_KEY)
        .cost(PER_SIZE)
        .doc("key [path]", "Removes values: JSON.DEL by another name."),
    read("json.get", -2, get::get).cost(PER_SIZE).doc(
        "key [INDENT indent] [NEWLINE newline] [SPACE space] [path [path ...]]",
        "Returns values as JSON text.",
    ),
    write("json.merge", 4, merge::merge)
        .deny_oom()
        .keys_at(ACCESS_UPDATE_KEY)
        .cost(PER_SIZE)
        .doc("key path value", "Merges a value into others: changes, adds and removes members."),
    read("json.mget", -3, get::mget)
        .keys_at(&[KeySpec::span(1, -2, "RO access")])
        .tips(&["request_policy:multi_shard"])
        .cost("O(N*M) where N is the number of keys and M the number of values looked at in each")
        .doc("key [key ...] path", "Returns values of several documents as JSON text."),
    write("json.mset", -4, set::mset)
        .deny_oom()
        .keys_at(&[KeySpec::every(3, 1, "RW update")])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .cost("O(N*M) where N is the number of keys and M the number of values looked at in each")
        .doc(
            "key path value [key path value ...]",
            "Sets values in several documents, all at once.",
        ),
    write("json.numincrby", 4, number::numincrby)
        .deny_oom()
        .keys_at(ACCESS_UPDATE_KEY)
        .doc("key path value", "Adds to numbers."),
    write("json.nummultby", 4, number::nummultby)
        .deny_oom()
        .keys_at(ACCESS_UPDATE_KEY)
        .doc("key path value", "Multiplies numbers."),
    write("json.numpowby", 4, number::numpowby)
        .deny_oom()
        .keys_at(ACCESS_UPDATE_KEY)
        .doc("key path value", "Raises numbers to a power."),
    read("json.objkeys", -2, measure::objkeys)
        .cost(PER_SIZE)
        .doc("key [path]", "Returns the names of the members of objects."),
    read("json.objlen", -2, measure::objlen)
        .keys_at(LOOK_AT_KEY)
        .doc("key [path]", "Returns the numbers of members of objects."),
    read("json.resp", -2, resp::resp)
        .cost(PER_SIZE)
        .doc("key [path]", "Returns values as the protocol's own."),
    write("json.set", -4, set::set)
        .deny_oom()
        .cost(PER_SIZE)
        .doc("key path value [NX | XX]", "Sets values in a document, or all of it."),
    write("json.strappend", -3, scalar::strappend)
        .deny_oom()
        .doc("key [path] value", "Appends text to strings."),
    read("json.strlen", -2, measure::strlen)
        .keys_at(LOOK_AT_KEY)
        .doc("key [path]", "Returns the lengths of strings."),
    write("json.toggle", 3, scalar::toggle)
        .keys_at(ACCESS_UPDATE_KEY)
        .doc("key path", "Turns booleans into their opposites."),
    read("json.type", -2, measure::type_of)
        .keys_at(LOOK_AT_KEY)
        .doc("key [path]", "Returns the types of values."),
];

const DEBUG: &[Command] = &[
    Command::session("json.debug|help", 2, Group::Json, SessionCommand::JsonDebugHelp)
        .with(flags::LOADING | flags::STALE)
        .since("8.0.0")
        .doc("", "Describes the subcommands."),
    read("json.debug|memory", -3, debug::memory)
        .keys_at(&[KeySpec::one(2, "RO")])
        .cost(PER_SIZE)
        .doc("key [path]", "Returns the bytes that values take."),
];
