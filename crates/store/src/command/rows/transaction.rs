//! Rows of the family of transactions; the gateway queues, the store runs the body.

use super::{Command, Group, KeySpec, SESSION, SessionCommand, flags};

const QUICK: u32 = SESSION | flags::FAST | flags::ALLOW_BUSY;

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Transactions, kind)
}

pub(crate) const ROWS: &[Command] = &[
    row("discard", 1, SessionCommand::Discard)
        .with(QUICK)
        .since("2.0.0")
        .cost("O(N) where N is the number of queued commands")
        .doc("", "Drops the commands queued since MULTI."),
    row("exec", 1, SessionCommand::Exec)
        .with(SESSION | flags::SKIP_SLOWLOG)
        .since("1.2.0")
        .cost("Depends on the commands of the transaction")
        .doc("", "Runs the commands queued since MULTI as one."),
    row("multi", 1, SessionCommand::Multi)
        .with(QUICK)
        .since("1.2.0")
        .doc("", "Begins a transaction."),
    row("unwatch", 1, SessionCommand::Unwatch)
        .with(QUICK)
        .since("2.2.0")
        .doc("", "Forgets the watched keys."),
    row("watch", -2, SessionCommand::Watch)
        .with(QUICK)
        .keys_at(&[KeySpec::all_from(1, "RO")])
        .since("2.2.0")
        .cost("O(1) for each key")
        .doc("key [key ...]", "Makes the next EXEC run only if these keys do not change before."),
];
