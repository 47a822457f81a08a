//! Everything that the gateway answers with an error: the one place that writes error codes.
//!
//! Owns: codes and texts. Never: decides that something failed. Texts that Redis has are Redis's, to
//! the letter, because clients match on them; our own say what, why, and what to do.
//!
//! What a code promises: `CLUSTERDOWN TRYAGAIN MOVED CROSSSLOT OOM NOAUTH EXECABORT OVERLOADED ERR`
//! mean that nothing happened; `UNCERTAIN` means that nobody knows, and nothing else means that.

use std::fmt;

use keystead_node::{Refusal, UnknownReason};
use keystead_types::ShardId;
use thiserror::Error;

/// Bytes of a command's name and of each argument that an error quotes, and of all quoted arguments.
const QUOTED_BYTES_MAX: usize = 128;

/// Why a command was not, or perhaps not, executed.
#[derive(Debug, Error)]
pub(crate) enum Failure<'a> {
    #[error("{}", RefusalText(.0))]
    Refused(&'a Refusal),
    #[error("UNCERTAIN the write may or may not have happened, or may yet happen: {}; read before you repeat it", .0.text())]
    Unknown(UnknownReason),
    #[error("TRYAGAIN the answer to this read was lost: {}; nothing was changed; try again", .0.text())]
    ReadLost(UnknownReason),
    #[error("UNCERTAIN done on some shards but not on {shard}: {}; repeat the command if it should hold everywhere", .cause)]
    Partly { shard: ShardId, cause: PartCause<'a> },
    #[error(
        "CLUSTERDOWN this node does not know a cluster yet; nothing was changed; wait until it has founded or joined one"
    )]
    NoTopology,
    #[error("CROSSSLOT Keys in request don't hash to the same slot")]
    CrossSlot,
    #[error("CROSSSLOT {command} goes to all shards, which cannot be part of one transaction")]
    GatherInTransaction { command: &'static str },

    #[error("{0}")]
    Command(&'a keystead_store::CommandError),
    #[error("ERR wrong number of arguments for '{name}' command")]
    Arity { name: &'static str },
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR invalid cursor")]
    InvalidCursor,
    #[error("ERR {0}")]
    Protocol(keystead_resp::ProtocolError),
    #[error("ERR max number of clients reached")]
    TooManyClients,
    #[error("ERR {what} is not supported by this server")]
    Unsupported { what: &'static str },
    #[error("ERR unknown subcommand or wrong number of arguments for '{}'. Try {container} HELP.", Quoted(.verb))]
    Subcommand { container: &'static str, verb: &'a [u8] },
    #[error(
        "ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    )]
    Listening { command: &'static str },
    #[error(
        "ERR a connection listens to {max} channels and patterns at most; use patterns, or more connections"
    )]
    TooManySubscriptions { max: usize },
    #[error("NOTBUSY No scripts in execution right now.")]
    NotBusy,
    #[error("ERR Command not allowed inside a transaction")]
    NotInTransaction,

    #[error("NOAUTH Authentication required.")]
    NotAuthenticated,
    #[error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
    )]
    HelloNotAuthenticated,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
    )]
    NoPasswordConfigured,
    #[error("NOPROTO unsupported protocol version")]
    UnsupportedProtocol,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolNotAnInteger,
    #[error("ERR Syntax error in HELLO option '{}'", Quoted(.option))]
    HelloOption { option: &'a [u8] },

    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    #[error("ERR {} cannot contain spaces, newlines or special characters.", Quoted(.option))]
    ClientLabel { option: &'a [u8] },
    #[error("ERR Unrecognized option '{}'", Quoted(.option))]
    ClientOption { option: &'a [u8] },
    #[error("ERR No such client")]
    NoSuchClient,
    #[error("ERR Invalid client ID")]
    InvalidClientId,
    #[error("ERR client-id should be greater than 0")]
    ClientIdNotPositive,
    #[error("ERR Unknown client type '{}'", Quoted(.name))]
    UnknownClientType { name: &'a [u8] },
    #[error("ERR No such user '{}'", Quoted(.name))]
    NoSuchUser { name: &'a [u8] },

    #[error(transparent)]
    Database(keystead_store::CommandError),
    #[error("ERR {0}")]
    Tracking(TrackingFailure<'a>),

    #[error("ERR MULTI calls can not be nested")]
    MultiNested,
    #[error("ERR EXEC without MULTI")]
    ExecWithoutMulti,
    #[error("ERR DISCARD without MULTI")]
    DiscardWithoutMulti,
    #[error("ERR WATCH inside MULTI is not allowed")]
    WatchInMulti,
    #[error("EXECABORT Transaction discarded because of previous errors.")]
    ExecAborted,
    #[error(
        "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    )]
    ExecMalformed,
    #[error("ERR transaction exceeds {bytes_max} bytes; split it")]
    TransactionTooLarge { bytes_max: usize },

    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{}'", Quoted(.name))]
    UnknownSetting { name: &'a [u8] },
    #[error("ERR CONFIG SET failed (possibly related to argument '{}') - {}", Quoted(.name), .reason)]
    SettingRefused { name: &'a [u8], reason: &'static str },
    #[error(
        "ERR CONFIG SET failed (possibly related to argument '{}') - can't set immutable config{}{why}",
        Quoted(.name),
        if .why.is_empty() { "" } else { ": " }
    )]
    SettingFixed { name: &'a [u8], why: &'static str },
    #[error(
        "ERR CONFIG REWRITE is refused: a node never writes its settings file; put the values there, for its next start"
    )]
    SettingsNotWritten,
    #[error("ERR CONFIG SET failed (possibly related to argument '{}') - duplicate parameter", Quoted(.name))]
    SettingTwice { name: &'a [u8] },

    #[error("ERR count should be greater than or equal to -1")]
    SlowLogCount,
    #[error("ERR No samples available for event '{}'", Quoted(.event))]
    NoSamples { event: &'a [u8] },
    #[error("ERR Replica can't interact with the keyspace")]
    Monitoring,
    #[error("ERR CLIENT PAUSE mode must be WRITE or ALL")]
    PauseMode,
    #[error("ERR Unknown category '{}'", Quoted(.name))]
    UnknownCategory { name: &'a [u8] },
    #[error("ERR User '{}' not found", Quoted(.name))]
    UserNotFound { name: &'a [u8] },
    #[error("ERR Command '{}' not found", Quoted(.name))]
    CommandNotFound { name: &'a [u8] },
    #[error(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
    )]
    PasswordBits,
    #[error("ERR RESP2 is not supported by this command")]
    OnlyNewProtocol,
    #[error(
        "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
    )]
    ProtocolType,
    #[error("ERR The command has no key arguments")]
    NoKeyArguments,
    #[error("ERR Invalid command specified")]
    InvalidCommand,
    #[error("ERR Invalid number of arguments specified for command")]
    InvalidCommandArguments,
    #[error("ERR Unknown node {}", Quoted(.name))]
    UnknownNode { name: &'a [u8] },
    #[error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")]
    UnblockReason,
    #[error("UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    Unblocked,
    #[error(
        "UNBLOCKED this node is shutting down; nothing was changed; connect to another node and ask again"
    )]
    UnblockedByStop,
    #[error(
        "ERR WAITAOF cannot be used when numlocal is set but durability is \"replicated\": disks follow at an interval; start the \
         nodes with durability = \"fsync\""
    )]
    DisksFollow,
    #[error("ERR timeout is negative")]
    NegativeTimeout,
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotAnInteger,
    #[error(
        "ERR SHUTDOWN is switched off on this node; stop the process with SIGTERM instead, which hands its shards over first"
    )]
    ShutdownRefused,
}

/// Why CLIENT TRACKING or CLIENT CACHING changed nothing.
#[derive(Debug, Error)]
pub(crate) enum TrackingFailure<'a> {
    #[error("A client can only redirect to a single other client")]
    RedirectTwice,
    #[error("The client ID you want redirect to does not exist")]
    RedirectToNobody,
    #[error("PREFIX option requires BCAST mode to be enabled")]
    PrefixWithoutBroadcast,
    #[error(
        "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode."
    )]
    BroadcastSwitched,
    #[error("OPTIN and OPTOUT are not compatible with BCAST")]
    OptionWithBroadcast,
    #[error("You can't specify both OPTIN mode and OPTOUT mode")]
    BothOptions,
    #[error(
        "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode."
    )]
    OptionSwitched,
    #[error(
        "Prefix '{}' overlaps with an existing prefix '{}'. Prefixes for a single client must not overlap.",
        Quoted(.prefix), Quoted(.other)
    )]
    OverlapsExisting { prefix: &'a [u8], other: Box<[u8]> },
    #[error(
        "Prefix '{}' overlaps with another provided prefix '{}'. Prefixes for a single client must not overlap.",
        Quoted(.prefix), Quoted(.other)
    )]
    OverlapsProvided { prefix: &'a [u8], other: &'a [u8] },
    #[error("a connection tracks {max} prefixes at most; use shorter ones, or more connections")]
    TooManyPrefixes { max: usize },
    #[error(
        "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
    )]
    CachingWithoutTracking,
    #[error("CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")]
    CachingYes,
    #[error("CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")]
    CachingNo,
}

impl<'a> From<TrackingFailure<'a>> for Failure<'a> {
    fn from(failure: TrackingFailure<'a>) -> Self {
        Self::Tracking(failure)
    }
}

/// Why one shard's part of a command is missing.
#[derive(Debug)]
pub(crate) enum PartCause<'a> {
    /// Nothing happened there.
    Refused(&'a Refusal),
    /// Nobody knows whether it happened there.
    Unknown(UnknownReason),
}

impl fmt::Display for PartCause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => RefusalText(refusal).fmt(f),
            Self::Unknown(reason) => f.write_str(reason.text()),
        }
    }
}

struct RefusalText<'a>(&'a Refusal);

impl fmt::Display for RefusalText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Refusal::NoLeader { shard } => write!(
                f,
                "CLUSTERDOWN shard {shard} has no leader that this node can reach; nothing was \
                 changed; try again, and look at CLUSTER INFO if it lasts"
            ),
            Refusal::Moved { slot, address } => write!(f, "MOVED {slot} {address}"),
            Refusal::Overloaded => f.write_str(
                "OVERLOADED the shard's queue is full; nothing was changed; back off and try again",
            ),
            Refusal::DiskFull { node } => write!(
                f,
                "OOM the disk that holds the log of node {node} is full; nothing was changed; make \
                 room there, writes go on by themselves"
            ),
            Refusal::ShardDown { shard, reason } => write!(
                f,
                "CLUSTERDOWN shard {shard} does not serve on this node: {reason}; nothing was \
                 changed; try again, and look at INFO supervision if it lasts"
            ),
            Refusal::TooLarge { bytes, bytes_max } => write!(
                f,
                "ERR the commands take {bytes} bytes and a log entry holds {bytes_max}; nothing was \
                 changed; send them in smaller parts"
            ),
            Refusal::Withdrawn => f.write_str("UNBLOCKED the wait was ended; nothing was changed"),
            Refusal::ShuttingDown => f.write_str(
                "TRYAGAIN this node is shutting down; nothing was changed; connect to another node",
            ),
        }
    }
}

/// A client's bytes within an error: at most 128 of them.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(QUOTED_BYTES_MAX)];
        f.write_str(&String::from_utf8_lossy(shown))
    }
}
