//! Rows of what is not carried over from Redis, each with the reason and what to use instead.
//!
//! They stand in the table so that clients, COMMAND and the reference page tell of them, and so that whoever sends one
//! reads more than "unknown command". Subcommands of CLUSTER and ACL stand with their containers.
//! Never: what is only not built yet; that is unknown until it is.

use super::{Command, Group, KeySpec, SessionCommand, flags};

const fn row(name: &'static str, arity: i32, why: &'static str) -> Command {
    Command::refused(name, arity, Group::Server, why).with(flags::NOSCRIPT)
}

/// One that Redis refuses while it loads a copy beside what it serves.
const fn alone(name: &'static str, arity: i32, why: &'static str) -> Command {
    row(name, arity, why).with(flags::NO_ASYNC_LOADING)
}

const FOLLOWS_BY_ITSELF: &str = "every shard has a replica on up to three nodes, placed and repaired by the cluster; to add a \
     node, start it with `keystead serve --join HOST:PEERPORT`";
const NOT_OVER_REDIS: &str = "nodes replicate among themselves and not over the Redis protocol; to add a node, start it with \
     `keystead serve --join HOST:PEERPORT`, and to copy keys to another server, use SCAN, DUMP and RESTORE";
const SAVED_ALREADY: &str = "every acknowledged write is in the log of a majority already, and snapshots that shorten the log \
     are taken by themselves; there is nothing to save";
const NO_FOREIGN_CODE: &str = "code that is loaded at run time could let replicas differ; what the server has is what `COMMAND \
     LIST` names";

pub(crate) const ROWS: &[Command] = &[
    alone("bgrewriteaof", 1, SAVED_ALREADY).doc("", "Rewrites the append-only file."),
    alone("bgsave", -1, SAVED_ALREADY).doc("[SCHEDULE]", "Writes the data set to a file, aside."),
    row(
        "failover",
        -1,
        "each shard elects its leader by itself, and a node that is stopped with SIGTERM hands its shards over first; \
         stop the node",
    )
    .with(flags::STALE)
    .since("6.2.0")
    .doc(
        "[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
        "Hands the part of the one that takes writes to a replica.",
    ),
    Command::refused(
        "migrate",
        -6,
        Group::Generic,
        "a node opens no connections to other servers; copy keys with DUMP and RESTORE, which carry over what every \
         Redis reads",
    )
    .without(flags::ADMIN)
    .with(flags::WRITE | flags::MOVABLEKEYS)
    .in_categories(flags::DANGEROUS)
    .keys_at(&[
        KeySpec::one(3, "RW access delete"),
        KeySpec::all_behind("KEYS", -2, "RW access delete incomplete"),
    ])
    .tips(&["nondeterministic_output"])
    .since("2.6.0")
    .cost("O(N) where N is the size of the values")
    .doc(
        "host port <key | \"\"> destination-db timeout [COPY] [REPLACE] \
         [AUTH password | AUTH2 username password] [KEYS key [key ...]]",
        "Moves keys to another server.",
    ),
    Command::container("module", Group::Server, SessionCommand::Module, MODULE)
        .since("4.0.0")
        .doc("subcommand", "A container for commands on modules."),
    alone("psync", -3, NOT_OVER_REDIS)
        .with(flags::NO_MULTI)
        .since("2.8.0")
        .doc("replicationid offset", "Begins or resumes a replica's stream."),
    row("replconf", -1, NOT_OVER_REDIS)
        .with(flags::LOADING | flags::STALE | flags::ALLOW_BUSY)
        .since("3.0.0")
        .doc("", "Tells a server about its replica."),
    alone("replicaof", 3, FOLLOWS_BY_ITSELF)
        .with(flags::STALE)
        .since("5.0.0")
        .doc("<host port | NO ONE>", "Makes a server follow another one, or no longer."),
    Command::refused(
        "restore-asking",
        -4,
        Group::Server,
        "slots do not move key by key here, so nothing is ever imported; use RESTORE",
    )
    .without(flags::ADMIN)
    .with(flags::WRITE | flags::DENYOOM | flags::ASKING)
    .in_categories(flags::KEYSPACE | flags::DANGEROUS)
    .keys_at(&[KeySpec::one(1, "OW update")])
    .since("3.0.0")
    .cost("O(N) where N is the size of the value")
    .doc(
        "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        "Restores a key into a slot that is being imported.",
    ),
    alone("save", 1, SAVED_ALREADY)
        .with(flags::NO_MULTI)
        .cost("O(N) where N is the number of keys")
        .doc("", "Writes the data set to a file."),
    alone("slaveof", 3, FOLLOWS_BY_ITSELF)
        .with(flags::STALE)
        .doc("<host port | NO ONE>", "The old name of REPLICAOF."),
    alone("sync", 1, NOT_OVER_REDIS)
        .with(flags::NO_MULTI)
        .doc("", "Begins a replica's stream; `keystead cluster sync` compares replicas."),
];

const MODULE: &[Command] = &[
    Command::session("module|help", 2, Group::Server, SessionCommand::ModuleHelp)
        .with(flags::LOADING | flags::STALE)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    Command::session("module|list", 2, Group::Server, SessionCommand::ModuleList)
        .with(flags::ADMIN | flags::NOSCRIPT)
        .tips(&["nondeterministic_output_order"])
        .since("4.0.0")
        .doc("", "Returns the loaded modules, of which there are none."),
    alone("module|load", -3, NO_FOREIGN_CODE)
        .since("4.0.0")
        .doc("path [arg [arg ...]]", "Loads a module."),
    alone("module|loadex", -3, NO_FOREIGN_CODE)
        .since("7.0.0")
        .doc("path [CONFIG name value [...]] [ARGS args [...]]", "Loads a module with settings."),
    alone("module|unload", 3, NO_FOREIGN_CODE).since("4.0.0").doc("name", "Unloads a module."),
];
