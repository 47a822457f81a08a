//! Rows of the family of scripts.

use super::{Command, GatherCommand, Group, KeySpec, SessionCommand, flags};
use crate::command::script::eval;

const EVAL: u32 = flags::NOSCRIPT
    | flags::STALE
    | flags::SKIP_MONITOR
    | flags::NO_MANDATORY_KEYS
    | flags::MOVABLEKEYS;
const ASSUMED: &str =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
const ASSUMED_READ: &str =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";
const RUNS: &str = "Depends on the script that is executed.";
const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const KILLS: &[&str] = &["request_policy:all_shards", "response_policy:one_succeeded"];
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const fn session(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Scripting, kind)
}

const fn gather(name: &'static str, arity: i32, kind: GatherCommand) -> Command {
    let mut row = Command::gather(name, arity, Group::Scripting, kind);
    // Neither reads nor writes keys.
    row.flags = 0;
    row.with(flags::NOSCRIPT)
}

/// A command on all libraries of functions.
const fn libraries(name: &'static str, arity: i32, kind: GatherCommand, bits: u32) -> Command {
    let mut row = gather(name, arity, kind).with(bits).since("7.0.0");
    if bits & flags::WRITE != 0 {
        row.tips = ALL_SHARDS;
    }
    row
}

const fn write(name: &'static str, run: crate::command::WriteFn) -> Command {
    let mut row = Command::write(name, -3, Group::Scripting, run);
    // What a script does is known when it runs.
    row.flags = 0;
    row.with(EVAL)
}

pub(crate) const ROWS: &[Command] = &[
    write("eval", eval::eval)
        .keys_at(&[KeySpec::counted(2, "RW access update").noted(ASSUMED)])
        .since("2.6.0")
        .cost(RUNS)
        .doc("script numkeys [key ...] [arg ...]", "Runs a script."),
    Command::read("eval_ro", -3, Group::Scripting, eval::eval_ro)
        .with(EVAL)
        .keys_at(&[KeySpec::counted(2, "RO access").noted(ASSUMED_READ)])
        .since("7.0.0")
        .cost(RUNS)
        .doc("script numkeys [key ...] [arg ...]", "Runs a script that only reads."),
    write("evalsha", eval::evalsha)
        .keys_at(&[KeySpec::counted(2, "RW access update")])
        .since("2.6.0")
        .cost(RUNS)
        .doc("sha1 numkeys [key ...] [arg ...]", "Runs a script that the server knows."),
    Command::read("evalsha_ro", -3, Group::Scripting, eval::evalsha_ro)
        .with(EVAL)
        .keys_at(&[KeySpec::counted(2, "RO access")])
        .since("7.0.0")
        .cost(RUNS)
        .doc("sha1 numkeys [key ...] [arg ...]", "Runs a known script that only reads."),
    write("fcall", eval::fcall)
        .keys_at(&[KeySpec::counted(2, "RW access update").noted(ASSUMED)])
        .since("7.0.0")
        .cost("Depends on the function that is executed.")
        .doc("function numkeys [key ...] [arg ...]", "Runs a function."),
    Command::read("fcall_ro", -3, Group::Scripting, eval::fcall_ro)
        .with(EVAL)
        .keys_at(&[KeySpec::counted(2, "RO access").noted(ASSUMED_READ)])
        .since("7.0.0")
        .cost("Depends on the function that is executed.")
        .doc("function numkeys [key ...] [arg ...]", "Runs a function that only reads."),
    Command::container("function", Group::Scripting, SessionCommand::Function, FUNCTION)
        .since("7.0.0")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands about libraries of functions."),
    Command::container("script", Group::Scripting, SessionCommand::Script, SCRIPT)
        .since("2.6.0")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands about known scripts."),
];

const FUNCTION: &[Command] = &[
    libraries("function|delete", 3, GatherCommand::FunctionDelete, flags::WRITE)
        .doc("library-name", "Removes a library and its functions."),
    libraries("function|dump", 2, GatherCommand::FunctionDump, 0)
        .cost("O(N) where N is the number of functions")
        .doc("", "Gives all libraries as bytes that FUNCTION RESTORE takes."),
    libraries("function|flush", -2, GatherCommand::FunctionFlush, flags::WRITE)
        .cost("O(N) where N is the number of functions deleted")
        .doc("[ASYNC | SYNC]", "Removes all libraries."),
    session("function|help", 2, SessionCommand::FunctionHelp)
        .with(flags::LOADING | flags::STALE)
        .since("7.0.0")
        .doc("", "Lists the subcommands."),
    session("function|kill", 2, SessionCommand::FunctionKill)
        .with(flags::NOSCRIPT | flags::ALLOW_BUSY)
        .tips(KILLS)
        .since("7.0.0")
        .doc("", "No function runs for long: there is nothing to end."),
    libraries("function|list", -2, GatherCommand::FunctionList, 0)
        .tips(&["nondeterministic_output_order"])
        .cost("O(N) where N is the number of functions")
        .doc("[LIBRARYNAME pattern] [WITHCODE]", "Tells of all libraries and their functions."),
    libraries("function|load", -3, GatherCommand::FunctionLoad, flags::WRITE | flags::DENYOOM)
        .cost("O(1) (considering compilation time is redundant)")
        .doc("[REPLACE] code", "Adds a library of functions."),
    libraries(
        "function|restore",
        -3,
        GatherCommand::FunctionRestore,
        flags::WRITE | flags::DENYOOM,
    )
    .cost("O(N) where N is the number of functions on the payload")
    .doc("payload [FLUSH | APPEND | REPLACE]", "Adds the libraries that FUNCTION DUMP gave."),
    libraries("function|stats", 2, GatherCommand::FunctionStats, flags::ALLOW_BUSY)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .doc("", "Counts libraries and functions."),
];

const SCRIPT: &[Command] = &[
    session("script|debug", 3, SessionCommand::ScriptDebug)
        .with(flags::NOSCRIPT)
        .since("3.2.0")
        .doc("YES | SYNC | NO", "Debugging is not offered: NO is accepted."),
    gather("script|exists", -3, GatherCommand::ScriptExists)
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
        .since("2.6.0")
        .cost("O(N) with N being the number of scripts to check")
        .doc("sha1 [sha1 ...]", "Says which scripts are known."),
    gather("script|flush", -2, GatherCommand::ScriptFlush)
        .tips(ALL_NODES)
        .since("2.6.0")
        .cost("O(N) with N being the number of scripts in cache")
        .doc("[ASYNC | SYNC]", "Forgets all scripts."),
    session("script|help", 2, SessionCommand::ScriptHelp)
        .with(flags::LOADING | flags::STALE)
        .since("5.0.0")
        .doc("", "Lists the subcommands."),
    session("script|kill", 2, SessionCommand::ScriptKill)
        .with(flags::NOSCRIPT | flags::ALLOW_BUSY)
        .tips(KILLS)
        .since("2.6.0")
        .doc("", "No script runs for long: there is nothing to end."),
    gather("script|load", 3, GatherCommand::ScriptLoad)
        .with(flags::STALE)
        .tips(ALL_NODES)
        .since("2.6.0")
        .cost("O(N) with N being the length in bytes of the script body.")
        .doc("script", "Makes a script known by its SHA-1."),
];
