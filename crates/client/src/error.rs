//! What can go wrong, and what a caller may believe afterwards.
//! Owns: [`Error`](enum@Error), [`Kind`], which error code means which kind. Never: decides to try again.
//!
//! The question behind the kinds is whether a write happened. It certainly did not for all but
//! [`Kind::Unknown`]; there only reading tells.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use keystead_resp::ReplyError;
use keystead_types::limits::{BULK_BYTES_MAX, COMMAND_ARGS_MAX};
use thiserror::Error;

/// Why a command has no reply, or an error for one.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No address was given, or one that is not `host:port`.
    #[error(
        "cannot use the address {address:?}: it is not host:port, or several of these, \
         separated by commas"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// No connection could be made; nothing was sent.
    #[error("cannot connect to {address}: {source}; check that a server listens there")]
    Connect {
        /// The last address that was tried.
        address: String,
        /// Why.
        source: Cause,
    },
    /// The connection broke before the whole command was on its way: it was not executed.
    #[error("command not sent to {address}: {source}; it was not executed and may be sent again")]
    NotSent {
        /// The node.
        address: String,
        /// Why.
        source: Cause,
    },
    /// The connection broke, or the deadline passed, after the command was sent.
    #[error(
        "no reply from {address}: {source}; the command may or may not have been executed, \
         read before you send it again"
    )]
    Lost {
        /// The node.
        address: String,
        /// Why.
        source: Cause,
    },
    /// A transaction was begun or a key watched on a connection that broke since. Nothing of the
    /// transaction was executed.
    #[error(
        "the transaction ended with the connection to {address}: nothing of it was executed, \
         begin it again"
    )]
    TransactionLost {
        /// The node.
        address: String,
    },
    /// The server's error reply.
    #[error("{message}")]
    Reply {
        /// The reply's text, its code first.
        message: String,
    },
    /// The nodes sent the command on and on: the cluster's map is changing or wrong.
    #[error(
        "gave up after {redirects} redirects, the last one to {address}; the cluster is moving \
         slots, try again"
    )]
    Redirects {
        /// Redirects that were followed.
        redirects: usize,
        /// Where the last reply pointed.
        address: String,
    },
    /// The command is answered by messages at any time, for which this client has no place.
    #[error("{command} is answered by messages at any time; use a Connection of its own for it")]
    NeedsConnection {
        /// The command's name.
        command: String,
    },
    /// A command is longer than any server takes.
    #[error(
        "command too long: at most {COMMAND_ARGS_MAX} arguments of {BULK_BYTES_MAX} bytes; \
         send it in parts"
    )]
    TooLong,
    /// A command without a name.
    #[error("empty command: give at least its name")]
    Empty,
    /// The operating system gave no event queue to the blocking client.
    #[error("cannot start the client's event loop: {source}; check the limit of open files")]
    Runtime {
        /// Why.
        source: Cause,
    },
}

/// Why a connection could not be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// The network or the peer failed.
    #[error(transparent)]
    Io(Arc<io::Error>),
    /// The bytes received are no reply.
    #[error(transparent)]
    Malformed(ReplyError),
    /// The deadline passed.
    #[error("no answer within {timeout_ms} ms")]
    TimedOut {
        /// The time that was allowed, milliseconds.
        timeout_ms: u64,
    },
}

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command or its arguments are wrong, or not allowed: change them.
    Invalid,
    /// Something else is there already: read, then decide.
    Conflict,
    /// Another node serves the key: ask there.
    Moved,
    /// Nobody serves the command now; it was not executed: try again later.
    Unavailable,
    /// The command may have been executed: read before trying again.
    Unknown,
    /// The server has too much to do; the command was not executed: back off.
    Overloaded,
    /// The peer speaks something else than this protocol.
    Corrupt,
    /// The session that the command belonged to has ended, and nothing of it was executed: begin it
    /// again from its first command.
    Closed,
}

impl Error {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Address { .. } | Self::NeedsConnection { .. } | Self::Empty | Self::TooLong => {
                Kind::Invalid
            }
            Self::Connect { source: Cause::Malformed(_), .. } => Kind::Corrupt,
            Self::Connect { .. } | Self::NotSent { .. } | Self::Runtime { .. } => Kind::Unavailable,
            Self::TransactionLost { .. } => Kind::Closed,
            // A malformed reply, too, says nothing about what became of the command.
            Self::Lost { .. } => Kind::Unknown,
            Self::Redirects { .. } => Kind::Moved,
            Self::Reply { message } => kind_of_reply(message),
        }
    }

    /// The code of an error reply, such as `WRONGTYPE`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Reply { message } => Some(code(message)),
            _ => None,
        }
    }
}

impl Cause {
    pub(crate) fn timed_out(timeout: Duration) -> Self {
        Self::TimedOut { timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }
    }

    pub(crate) fn end_of_stream() -> Self {
        let message = "the server closed the connection";
        Self::from(io::Error::new(io::ErrorKind::UnexpectedEof, message))
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<ReplyError> for Cause {
    fn from(error: ReplyError) -> Self {
        Self::Malformed(error)
    }
}

fn code(message: &str) -> &str {
    message.split(' ').next().unwrap_or(message)
}

/// Codes of Keystead and of Redis; those of neither are taken for a wrong command.
fn kind_of_reply(message: &str) -> Kind {
    match code(message) {
        "UNCERTAIN" => Kind::Unknown,
        "MOVED" | "ASK" => Kind::Moved,
        "CLUSTERDOWN" | "TRYAGAIN" | "LOADING" | "MASTERDOWN" | "READONLY" | "NOREPLICAS"
        | "BUSY" => Kind::Unavailable,
        "OVERLOADED" | "OOM" => Kind::Overloaded,
        "BUSYKEY" | "BUSYGROUP" => Kind::Conflict,
        // Redis answers a connection over its limit with this and closes it.
        _ if message.starts_with("ERR max number of clients") => Kind::Overloaded,
        _ => Kind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_say_whether_a_write_may_have_happened() {
        let reply = |message: &str| Error::Reply { message: message.into() };
        for (message, kind) in [
            ("UNCERTAIN leadership was lost", Kind::Unknown),
            ("MOVED 1 a:1", Kind::Moved),
            ("CLUSTERDOWN Hash slot not served", Kind::Unavailable),
            ("OOM command not allowed", Kind::Overloaded),
            ("ERR max number of clients reached", Kind::Overloaded),
            ("BUSYKEY Target key name already exists.", Kind::Conflict),
            ("WRONGTYPE Operation", Kind::Invalid),
            ("", Kind::Invalid),
        ] {
            assert_eq!(reply(message).kind(), kind, "{message}");
        }
        let address = String::from("n:1");
        let source = Cause::timed_out(Duration::from_secs(1));
        assert_eq!(
            Error::Lost { address: address.clone(), source: source.clone() }.kind(),
            Kind::Unknown
        );
        assert_eq!(Error::NotSent { address, source }.kind(), Kind::Unavailable);
        assert_eq!(reply("WRONGTYPE Operation").code(), Some("WRONGTYPE"));
    }
}
