//! Rows of the family that concerns a connection; the gateway runs them.

use super::{Command, Group, SESSION, SessionCommand, flags};

const OPEN: u32 = SESSION | flags::FAST | flags::NO_AUTH | flags::ALLOW_BUSY;
const READY: u32 = flags::LOADING | flags::STALE | flags::FAST;

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Connection, kind)
}

const fn client(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    row(name, arity, kind).with(SESSION)
}

pub(crate) const ROWS: &[Command] = &[
    row("auth", -2, SessionCommand::Auth)
        .with(OPEN)
        .cost("O(N) where N is the number of passwords of the user")
        .doc("[username] password", "Authenticates the connection."),
    Command::container("client", Group::Connection, SessionCommand::Client, CLIENT)
        .since("2.4.0")
        .doc("subcommand", "A container for commands on connections."),
    row("echo", 2, SessionCommand::Echo).with(READY).doc("message", "Returns the message."),
    row("hello", -1, SessionCommand::Hello).with(OPEN).since("6.0.0").doc(
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Chooses the protocol, authenticates and names the connection in one step.",
    ),
    row("ping", -1, SessionCommand::Ping)
        .fast()
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("[message]", "Answers PONG or the message."),
    row("quit", -1, SessionCommand::Quit).with(OPEN).doc("", "Closes the connection."),
    row("reset", 1, SessionCommand::Reset)
        .with(OPEN)
        .since("6.2.0")
        .doc("", "Puts the connection back as it was when it opened."),
    row("select", 2, SessionCommand::Select)
        .with(READY | flags::NAMES_DATABASE)
        .doc("index", "Chooses the database that the connection works on."),
];

const CLIENT: &[Command] = &[
    client("client|caching", 3, SessionCommand::ClientCaching)
        .since("6.0.0")
        .doc("<YES | NO>", "Says whether the next command's keys are tracked."),
    client("client|getname", 2, SessionCommand::ClientGetName)
        .since("2.6.9")
        .doc("", "Returns the connection's name."),
    client("client|getredir", 2, SessionCommand::ClientGetRedir)
        .since("6.0.0")
        .doc("", "Returns the connection that receives invalidations for this one."),
    row("client|help", 2, SessionCommand::ClientHelp)
        .with(flags::LOADING | flags::STALE)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    client("client|id", 2, SessionCommand::ClientId)
        .since("5.0.0")
        .doc("", "Returns the connection's number."),
    client("client|info", 2, SessionCommand::ClientInfo)
        .tips(&["nondeterministic_output"])
        .since("6.2.0")
        .doc("", "Describes this connection."),
    client("client|kill", -3, SessionCommand::ClientKill)
        .with(flags::ADMIN)
        .since("2.4.0")
        .cost("O(N) where N is the number of connections")
        .doc("<ip:port | filter ...>", "Closes connections."),
    client("client|list", -2, SessionCommand::ClientList)
        .with(flags::ADMIN)
        .tips(&["nondeterministic_output"])
        .since("2.4.0")
        .cost("O(N) where N is the number of connections")
        .doc("[TYPE type] [ID client-id [client-id ...]]", "Describes the open connections."),
    client("client|no-evict", 3, SessionCommand::ClientNoEvict)
        .with(flags::ADMIN)
        .since("7.0.0")
        .doc("<ON | OFF>", "Says whether the connection may be closed to save memory."),
    client("client|no-touch", 3, SessionCommand::ClientNoTouch)
        .since("7.2.0")
        .doc("<ON | OFF>", "Says whether commands of the connection count as uses of keys."),
    client("client|pause", -3, SessionCommand::ClientPause)
        .with(flags::ADMIN)
        .since("2.9.50")
        .doc("timeout [WRITE | ALL]", "Holds back commands of all clients for a while."),
    client("client|reply", 3, SessionCommand::ClientReply)
        .since("3.2.0")
        .doc("<ON | OFF | SKIP>", "Says whether the server answers the connection."),
    client("client|setinfo", 4, SessionCommand::ClientSetInfo)
        .since("7.2.0")
        .doc("<LIB-NAME libname | LIB-VER libver>", "Names the client's library."),
    client("client|setname", 3, SessionCommand::ClientSetName)
        .since("2.6.9")
        .doc("connection-name", "Names the connection."),
    client("client|tracking", -3, SessionCommand::ClientTracking).since("6.0.0").doc(
        "<ON | OFF> [option ...]",
        "Says whether the server invalidates what the client caches.",
    ),
    client("client|trackinginfo", 2, SessionCommand::ClientTrackingInfo)
        .since("6.2.0")
        .doc("", "Describes the connection's tracking."),
    client("client|unblock", -3, SessionCommand::ClientUnblock)
        .with(flags::ADMIN)
        .since("5.0.0")
        .cost("O(log N) where N is the number of connections")
        .doc("client-id [TIMEOUT | ERROR]", "Ends another connection's wait."),
    client("client|unpause", 2, SessionCommand::ClientUnpause)
        .with(flags::ADMIN)
        .since("6.2.0")
        .cost("O(N) where N is the number of paused connections")
        .doc("", "Ends a pause."),
];
