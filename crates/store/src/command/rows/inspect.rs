//! Rows of what is asked about a running server: SLOWLOG, LATENCY, MONITOR, LOLWUT; the gateway runs them.

use super::{Command, Group, SESSION, SessionCommand, flags};

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Server, kind)
}

const fn admin(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(SESSION | flags::ADMIN)
}

const fn latency(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    admin(name, arity, kind).tips(LATENCY_TIPS).since("2.8.13")
}

const fn slow_log(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(flags::ADMIN | flags::LOADING | flags::STALE).since("2.2.12")
}

const fn help(name: &'static str, kind: SessionCommand) -> Command {
    row(name, 2, kind).with(flags::LOADING | flags::STALE).doc("", "Describes the subcommands.")
}

const LATENCY_TIPS: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(crate) const ROWS: &[Command] = &[
    Command::container("latency", Group::Server, SessionCommand::Latency, LATENCY)
        .since("2.8.13")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands on what was too slow, and when."),
    row("lolwut", -1, SessionCommand::Lolwut)
        .with(flags::READONLY | flags::FAST)
        .since("5.0.0")
        .doc("[VERSION version] [stones [courses]]", "Draws a wall above the version."),
    admin("monitor", 1, SessionCommand::Monitor)
        .doc("", "Shows every command that clients send to this node."),
    Command::container("slowlog", Group::Server, SessionCommand::SlowLog, SLOW_LOG)
        .since("2.2.12")
        .cost("Depends on subcommand.")
        .doc("subcommand", "A container for commands on the slow log."),
];

const LATENCY: &[Command] = &[
    latency("latency|doctor", 2, SessionCommand::LatencyDoctor)
        .doc("", "Says in words what was too slow and what to do about it."),
    latency("latency|graph", 3, SessionCommand::LatencyGraph)
        .doc("event", "Draws the history of an event."),
    help("latency|help", SessionCommand::LatencyHelp).since("2.8.13"),
    latency("latency|histogram", -2, SessionCommand::LatencyHistogram)
        .since("7.0.0")
        .cost("O(N) where N is the number of commands with latency information being retrieved.")
        .doc("[command [command ...]]", "Returns how often commands took how long."),
    latency("latency|history", 3, SessionCommand::LatencyHistory)
        .doc("event", "Returns the slowest moments of an event, a second each."),
    latency("latency|latest", 2, SessionCommand::LatencyLatest)
        .doc("", "Returns the latest and the slowest moment of every event."),
    admin("latency|reset", -2, SessionCommand::LatencyReset)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .since("2.8.13")
        .doc("[event [event ...]]", "Forgets events."),
];

const SLOW_LOG: &[Command] = &[
    slow_log("slowlog|get", -2, SessionCommand::SlowLogGet)
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .cost("O(N) where N is the number of entries returned")
        .doc("[count]", "Returns the latest commands that took longer than the threshold."),
    help("slowlog|help", SessionCommand::SlowLogHelp).since("6.2.0"),
    slow_log("slowlog|len", 2, SessionCommand::SlowLogLen)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .doc("", "Returns the number of entries."),
    slow_log("slowlog|reset", 2, SessionCommand::SlowLogReset)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .cost("O(N) where N is the number of entries in the slowlog")
        .doc("", "Drops all entries."),
];
