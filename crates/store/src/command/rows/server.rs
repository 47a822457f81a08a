//! Rows of the family that concerns the server; the gateway runs them, or every shard its part.

use super::{Command, GatherCommand, Group, KeySpec, SESSION, SessionCommand, flags};
use crate::command::key;

const ANY_TIME: u32 = flags::LOADING | flags::STALE;

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Server, kind)
}

const fn command(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(ANY_TIME).in_categories(flags::CONNECTION).since("2.8.13")
}

const fn config(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(SESSION | flags::ADMIN).since("2.0.0")
}

const fn flush(name: &'static str, kind: GatherCommand) -> Command {
    Command::gather(name, -1, Group::Server, kind)
        .in_categories(flags::KEYSPACE | flags::DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .cost("O(N) where N is the number of keys")
}

pub(crate) const ROWS: &[Command] = &[
    Command::container("command", Group::Server, SessionCommand::Command, COMMAND)
        .with(ANY_TIME)
        .arity(-1)
        .in_categories(flags::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .since("2.8.13")
        .cost("O(N) where N is the number of commands")
        .doc("", "Describes all commands."),
    Command::container("config", Group::Server, SessionCommand::Config, CONFIG)
        .since("2.0.0")
        .doc("subcommand", "A container for commands on settings."),
    Command::gather("dbsize", 1, Group::Server, GatherCommand::DbSize)
        .fast()
        .in_categories(flags::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .doc("", "Returns the number of keys."),
    row("debug", -2, SessionCommand::Debug)
        .with(SESSION | flags::ADMIN)
        .doc("subcommand", "A container for commands that tests use."),
    flush("flushall", GatherCommand::FlushAll).doc("[ASYNC | SYNC]", "Removes every key."),
    flush("flushdb", GatherCommand::FlushDb)
        .doc("[ASYNC | SYNC]", "Removes every key of the selected database."),
    row("info", -1, SessionCommand::Info)
        .with(ANY_TIME)
        .in_categories(flags::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .doc("[section [section ...]]", "Describes the server's state and figures."),
    row("lastsave", 1, SessionCommand::LastSave)
        .with(ANY_TIME | flags::FAST)
        .in_categories(flags::ADMIN_CATEGORY | flags::DANGEROUS)
        .tips(&["nondeterministic_output"])
        .doc("", "Returns when the last snapshot was complete, in Unix seconds."),
    Command::container("memory", Group::Server, SessionCommand::Memory, MEMORY)
        .since("4.0.0")
        .doc("subcommand", "A container for commands on the use of memory."),
    row("role", 1, SessionCommand::Role)
        .with(SESSION | flags::FAST)
        .in_categories(flags::ADMIN_CATEGORY | flags::DANGEROUS)
        .since("2.8.12")
        .doc("", "Returns the server's part in replication."),
    row("shutdown", -1, SessionCommand::Shutdown)
        .with(SESSION | flags::ADMIN | flags::NO_MULTI | flags::ALLOW_BUSY)
        .doc("[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", "Stops the server."),
    Command::gather("swapdb", 3, Group::Server, GatherCommand::SwapDb)
        .fast()
        .with(flags::NAMES_DATABASE)
        .in_categories(flags::KEYSPACE | flags::DANGEROUS)
        .since("4.0.0")
        .cost("O(N) where N is the number of watched keys of both databases")
        .doc("index1 index2", "Exchanges the keys of two databases."),
    row("time", 1, SessionCommand::Time)
        .with(ANY_TIME | flags::FAST)
        .tips(&["nondeterministic_output"])
        .since("2.6.0")
        .doc("", "Returns the server's time in seconds and microseconds."),
];

const COMMAND: &[Command] = &[
    command("command|count", 2, SessionCommand::CommandCount)
        .doc("", "Returns the number of commands."),
    command("command|docs", -2, SessionCommand::CommandDocs)
        .tips(&["nondeterministic_output_order"])
        .since("7.0.0")
        .cost("O(N) where N is the number of commands asked for")
        .doc("[command-name [command-name ...]]", "Documents commands."),
    command("command|getkeys", -4, SessionCommand::CommandGetKeys)
        .cost("O(N) where N is the number of arguments")
        .doc("command [arg [arg ...]]", "Returns the keys of a command line."),
    command("command|getkeysandflags", -4, SessionCommand::CommandGetKeysAndFlags)
        .since("7.0.0")
        .cost("O(N) where N is the number of arguments")
        .doc(
            "command [arg [arg ...]]",
            "Returns the keys of a command line and how they are used.",
        ),
    command("command|help", 2, SessionCommand::CommandHelp)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    command("command|info", -2, SessionCommand::CommandInfo)
        .tips(&["nondeterministic_output_order"])
        .cost("O(N) where N is the number of commands asked for")
        .doc("[command-name [command-name ...]]", "Describes commands to clients."),
    command("command|list", -2, SessionCommand::CommandList)
        .tips(&["nondeterministic_output_order"])
        .since("7.0.0")
        .cost("O(N) where N is the number of commands")
        .doc(
            "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
            "Returns the names of commands.",
        ),
];

const MEMORY: &[Command] = &[
    row("memory|doctor", 2, SessionCommand::MemoryDoctor)
        .tips(MEMORY_TIPS)
        .since("4.0.0")
        .doc("", "Says what is unusual about the use of memory."),
    row("memory|help", 2, SessionCommand::MemoryHelp)
        .with(ANY_TIME)
        .since("4.0.0")
        .doc("", "Describes the subcommands."),
    row("memory|malloc-stats", 2, SessionCommand::MemoryMallocStats)
        .tips(MEMORY_TIPS)
        .since("4.0.0")
        .doc("", "Says where the allocator's own figures are found."),
    row("memory|purge", 2, SessionCommand::MemoryPurge)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .since("4.0.0")
        .doc("", "Does nothing: pages without any key go back to the system by themselves."),
    row("memory|stats", 2, SessionCommand::MemoryStats)
        .tips(MEMORY_TIPS)
        .since("4.0.0")
        .doc("", "Returns what memory is used for."),
    Command::read("memory|usage", -3, Group::Server, key::memory::usage)
        .keys_at(&[KeySpec::one(2, "RO")])
        .since("4.0.0")
        .doc("key [SAMPLES count]", "Returns the bytes of memory that a key and its value take."),
];

const MEMORY_TIPS: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const CONFIG: &[Command] = &[
    config("config|get", -3, SessionCommand::ConfigGet)
        .cost("O(N) where N is the number of settings")
        .doc("parameter [parameter ...]", "Returns settings."),
    row("config|help", 2, SessionCommand::ConfigHelp)
        .with(ANY_TIME)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    config("config|resetstat", 2, SessionCommand::ConfigResetStat)
        .doc("", "Sets the counters of INFO to zero."),
    config("config|rewrite", 2, SessionCommand::ConfigRewrite)
        .since("2.8.0")
        .doc("", "Writes the settings to the configuration file."),
    config("config|set", -4, SessionCommand::ConfigSet)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .doc("parameter value [parameter value ...]", "Changes settings."),
];
