//! Rows of the family that concerns keys whatever they hold.

use super::{
    Command, GatherCommand, Group, KeySpec, LOOK_AT_KEY, OptionKey, REPLACE_KEY, SessionCommand,
    flags,
};
use crate::command::key;

const PER_KEY: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const REMOVE_KEYS: &[KeySpec] = &[KeySpec::all_from(1, "RM delete")];
const LOOK_AT_KEYS: &[KeySpec] = &[KeySpec::all_from(1, "RO")];
const OBJECT_KEY: &[KeySpec] = &[KeySpec::one(2, "RO")];
const SORT_COST: &str =
    "O(N+M*log(N)) where N is the number of members and M the number of those returned";
const SORTED_CATEGORIES: u32 = flags::SET | flags::SORTED_SET | flags::LIST | flags::DANGEROUS;
const SORT_STORE: OptionKey = OptionKey {
    word: "STORE",
    from: 2,
    valued: &[("LIMIT", 2), ("GET", 1), ("BY", 1), ("STORE", 1)],
    is_shown: false,
};
const SORT_PATTERN_KEYS: KeySpec = KeySpec::unknown("RO access").noted(
        "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the \
         key we sort",
);
const SORT_RO_KEYS: &[KeySpec] = &[KeySpec::one(1, "RO access"), SORT_PATTERN_KEYS];
const SORT_KEYS: &[KeySpec] = &[
    KeySpec::one(1, "RO access"),
    SORT_PATTERN_KEYS,
    KeySpec::option(&SORT_STORE, "OW update").noted(
        "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument \
         array",
    ),
];
const NOW_MATTERS: &[&str] = &["nondeterministic_output"];

const fn write(name: &'static str, arity: i32, run: super::WriteFn) -> Command {
    Command::write(name, arity, Group::Generic, run)
}

const fn read(name: &'static str, arity: i32, run: super::ReadFn) -> Command {
    Command::read(name, arity, Group::Generic, run)
}

const fn object(name: &'static str, run: super::ReadFn) -> Command {
    read(name, 3, run).keys_at(OBJECT_KEY).tips(&["nondeterministic_output"]).since("2.2.3")
}

pub(crate) const ROWS: &[Command] = &[
    write("copy", -3, key::transfer::copy)
        .deny_oom()
        .keys_at(&[KeySpec::one(1, "RO access"), KeySpec::one(2, "OW update")])
        .since("6.2.0")
        .cost("O(N) where N is the number of fields of a hash, O(1) for a string")
        .with(flags::NAMES_DATABASE)
        .doc("source destination [DB destination-db] [REPLACE]", "Copies a key."),
    write("del", -2, key::del::del)
        .keys_at(REMOVE_KEYS)
        .tips(PER_KEY)
        .cost("O(N) where N is the number of keys, and of fields for a hash")
        .doc("key [key ...]", "Removes keys."),
    read("dump", 2, key::dump::dump)
        .tips(&["nondeterministic_output"])
        .since("2.6.0")
        .cost("O(N) where N is the number of fields of a hash, or the length of a string")
        .doc("key", "Returns a value in a form that RESTORE takes."),
    read("exists", -2, key::exists::exists)
        .fast()
        .keys_at(LOOK_AT_KEYS)
        .tips(PER_KEY)
        .cost("O(N) where N is the number of keys")
        .doc("key [key ...]", "Counts which of the keys exist."),
    write("expire", -3, key::expire::expire)
        .fast()
        .doc("key seconds [NX | XX | GT | LT]", "Sets the seconds after which a key expires."),
    write("expireat", -3, key::expire::expire_at).fast().since("1.2.0").doc(
        "key unix-time-seconds [NX | XX | GT | LT]",
        "Sets the Unix second at which a key expires.",
    ),
    read("expiretime", 2, key::ttl::expire_time)
        .fast()
        .since("7.0.0")
        .doc("key", "Returns the Unix second at which a key expires."),
    Command::gather("keys", 2, Group::Generic, GatherCommand::Keys)
        .in_categories(flags::DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .cost("O(N) where N is the number of keys")
        .doc("pattern", "Returns every key that matches a glob pattern."),
    write("move", 3, key::transfer::move_between)
        .fast()
        .with(flags::NAMES_DATABASE)
        .keys_at(&[KeySpec::one(1, "RW access update")])
        .doc("key db", "Moves a key to another database, unless it is taken there."),
    Command::container("object", Group::Generic, SessionCommand::Object, OBJECT)
        .since("2.2.3")
        .doc("subcommand", "A container for commands on how values are kept."),
    write("persist", 2, key::expire::persist)
        .fast()
        .since("2.2.0")
        .doc("key", "Removes a key's time to expire."),
    write("pexpire", -3, key::expire::pexpire).fast().since("2.6.0").doc(
        "key milliseconds [NX | XX | GT | LT]",
        "Sets the milliseconds after which a key expires.",
    ),
    write("pexpireat", -3, key::expire::pexpire_at).fast().since("2.6.0").doc(
        "key unix-time-milliseconds [NX | XX | GT | LT]",
        "Sets the Unix millisecond at which a key expires.",
    ),
    read("pexpiretime", 2, key::ttl::pexpire_time)
        .fast()
        .since("7.0.0")
        .doc("key", "Returns the Unix millisecond at which a key expires."),
    read("pttl", 2, key::ttl::pttl)
        .fast()
        .tips(NOW_MATTERS)
        .since("2.6.0")
        .doc("key", "Returns the milliseconds until a key expires."),
    Command::gather("randomkey", 1, Group::Generic, GatherCommand::RandomKey)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .doc("", "Returns a key chosen at random."),
    write("rename", 3, key::rename::rename)
        .keys_at(&[KeySpec::one(1, "RW access delete"), KeySpec::one(2, "OW update")])
        .doc("key newkey", "Renames a key; what the new name held is removed."),
    write("renamenx", 3, key::rename::rename_nx)
        .fast()
        .keys_at(&[KeySpec::one(1, "RW access delete"), KeySpec::one(2, "OW insert")])
        .doc("key newkey", "Renames a key unless the new name is taken."),
    write("restore", -4, key::restore::restore)
        .deny_oom()
        .in_categories(flags::DANGEROUS)
        .keys_at(REPLACE_KEY)
        .since("2.6.0")
        .cost("O(N) where N is the number of fields of a hash, or the length of a string")
        .doc(
            "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
            "Sets a key from what DUMP returned.",
        ),
    Command::gather("scan", -2, Group::Generic, GatherCommand::Scan)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .since("2.8.0")
        .cost("O(1) for a step, O(N) for all, where N is the number of keys")
        .doc("cursor [MATCH pattern] [COUNT count] [TYPE type]", "Walks over the keys in steps."),
    write("sort", -2, key::sort::sort)
        .deny_oom()
        .with(flags::MOVABLEKEYS)
        .only_in_categories(SORTED_CATEGORIES)
        .keys_at(SORT_KEYS)
        .cost(SORT_COST)
        .doc(
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] \
             [STORE destination]",
            "Returns or stores the members of a list, a set or a sorted set in order.",
        ),
    read("sort_ro", -2, key::sort::sort_ro)
        .with(flags::MOVABLEKEYS)
        .only_in_categories(SORTED_CATEGORIES)
        .keys_at(SORT_RO_KEYS)
        .since("7.0.0")
        .cost(SORT_COST)
        .doc(
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
            "Returns the members of a list, a set or a sorted set in order.",
        ),
    read("touch", -2, key::exists::touch)
        .fast()
        .keys_at(LOOK_AT_KEYS)
        .tips(PER_KEY)
        .since("3.2.1")
        .cost("O(N) where N is the number of keys")
        .doc("key [key ...]", "Counts which of the keys exist, as used just now."),
    read("ttl", 2, key::ttl::ttl)
        .fast()
        .tips(NOW_MATTERS)
        .doc("key", "Returns the seconds until a key expires."),
    read("type", 2, key::exists::type_of)
        .fast()
        .keys_at(LOOK_AT_KEY)
        .doc("key", "Returns what a key holds."),
    write("unlink", -2, key::del::del)
        .fast()
        .keys_at(REMOVE_KEYS)
        .tips(PER_KEY)
        .since("4.0.0")
        .cost("O(N) where N is the number of keys, and of fields for a hash")
        .doc("key [key ...]", "Removes keys."),
    Command::session("wait", 3, Group::Generic, SessionCommand::Wait)
        .with(flags::NOSCRIPT)
        .only_in_categories(flags::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .since("3.0.0")
        .doc("numreplicas timeout", "Returns the number of replicas that have the last write."),
    Command::session("waitaof", 4, Group::Generic, SessionCommand::WaitAof)
        .with(flags::NOSCRIPT)
        .only_in_categories(flags::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .since("7.2.0")
        .doc(
            "numlocal numreplicas timeout",
            "Returns on how many disks the last write is: the leader's, and those of replicas.",
        ),
];

const OBJECT: &[Command] = &[
    object("object|encoding", key::object::encoding)
        .doc("key", "Returns how a value is kept in memory."),
    object("object|freq", key::object::frequency)
        .since("4.0.0")
        .doc("key", "Refuses: frequencies of use are not tracked."),
    Command::session("object|help", 2, Group::Generic, SessionCommand::ObjectHelp)
        .with(flags::LOADING | flags::STALE)
        .since("6.2.0")
        .doc("", "Describes the subcommands."),
    object("object|idletime", key::object::idle_time)
        .doc("key", "Returns 0: times of use are not tracked."),
    object("object|refcount", key::object::reference_count).doc("key", "Returns 1."),
];
