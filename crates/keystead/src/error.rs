//! What can go wrong with a node in this process, and what a caller may believe afterwards.
//! Owns: [`Error`](enum@Error), and which of its variants is of which [`Kind`]. Never: decides to try again.
//!
//! The question behind the kinds is whether a write happened. It certainly did not for all but
//! [`Kind::Unknown`]; there only reading tells.

use std::io;
use std::path::PathBuf;

use keystead_node::{Refusal, StartError, SyncError, UnknownReason};
use keystead_types::{NodeId, ShardId, Slot};
use keystead_wal::WalError;
use thiserror::Error;

pub use keystead_client::Kind;

use crate::config::ConfigError;
use crate::config::value::AddressError;
use crate::server::ServerError;

/// Why a call on a node in this process did not end as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The node did not start, or did not stop in order.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The value has no form in JSON.
    #[error(
        "cannot store a {type_name} as JSON: {source}; nothing was written; give it a form that \
         JSON has, such as text for the keys of a map"
    )]
    Encode {
        /// The value's type in Rust.
        type_name: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// What is stored is not the JSON of the type asked for.
    #[error(
        "the value under this key is not the JSON of a {type_name}: {source}; another client may \
         have written it; read it with get_bytes"
    )]
    Decode {
        /// The type asked for.
        type_name: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A time to live is zero or longer than milliseconds can count.
    #[error(
        "a time to live of {ttl_ms} ms is not possible: it counts from 1 ms to {ttl_ms_max} ms; \
         use put for a key that stays, delete for one that goes"
    )]
    TimeToLive {
        /// What was asked for, milliseconds.
        ttl_ms: u128,
        /// The longest, milliseconds.
        ttl_ms_max: u64,
    },
    /// A command was answered with an error; nothing happened.
    #[error("{message}")]
    Reply {
        /// The reply's text as a Redis client would see it, its code first.
        message: String,
    },
    /// There is no database of this number.
    #[error(
        "there is no database {number}: the setting databases allows {databases}, of which the first is 0; raise it, or \
         use a lower number"
    )]
    NoDatabase {
        /// What was asked for.
        number: u16,
        /// How many there are.
        databases: u16,
    },
    /// A command without a name.
    #[error("empty command: give at least its name")]
    EmptyCommand,
    /// A command that concerns a connection, or the server, rather than keys.
    #[error(
        "{command} concerns a connection, of which there is none within the process; \
         use a client for it"
    )]
    NeedsConnection {
        /// Its name.
        command: &'static str,
    },
    /// The keys of a command lie in several shards.
    #[error(
        "the keys of {command} lie in several shards; nothing was changed; give them a common \
         {{tag}}, or use a command for each"
    )]
    CrossShard {
        /// Its name.
        command: &'static str,
    },
    /// This node does not know a cluster yet.
    #[error(
        "this node does not know a cluster yet; nothing was changed; wait until it has founded or \
         joined one"
    )]
    NoTopology,
    /// Nobody leads the shard.
    #[error(
        "shard {shard} has no leader that this node can reach; nothing was changed; try again, \
         and see whether a majority of its nodes runs"
    )]
    NoLeader {
        /// The shard.
        shard: ShardId,
    },
    /// Another node leads the shard, and this one does not pass commands on (`routing = "redirect"`).
    #[error(
        "slot {slot} is served by the node at {address}; nothing was changed; ask there, or set \
         routing = \"forward\""
    )]
    Moved {
        /// The key's slot.
        slot: Slot,
        /// Where the leader answers clients, `HOST:PORT`.
        address: String,
    },
    /// The shard's queue is full.
    #[error("the shard's queue is full; nothing was changed; back off and try again")]
    Overloaded,
    /// Too many calls of this process are under way.
    #[error(
        "{calls_max} calls of this process are under way already; nothing was changed; wait for \
         some of them"
    )]
    TooManyCalls {
        /// The bound.
        calls_max: usize,
    },
    /// The disk of the log is full.
    #[error(
        "the disk that holds the log of node {node} is full; nothing was changed; make room \
         there, writes go on by themselves"
    )]
    DiskFull {
        /// The node.
        node: NodeId,
    },
    /// The shard does not serve.
    #[error(
        "shard {shard} does not serve: {reason}; nothing was changed; try again, and look at the \
         supervision tree if it lasts"
    )]
    ShardDown {
        /// The shard.
        shard: ShardId,
        /// What its supervisor says.
        reason: String,
    },
    /// The command is longer than an entry of the log may be.
    #[error(
        "the command takes {bytes} bytes and a log entry holds {bytes_max}; nothing was changed; \
         split the value"
    )]
    TooLarge {
        /// Its size, bytes.
        bytes: usize,
        /// The largest, bytes.
        bytes_max: usize,
    },
    /// Nobody knows whether the write happened, or whether it will.
    #[error(
        "the write may or may not have happened, or may yet happen: {}; read before you repeat it",
        .reason.text()
    )]
    Unknown {
        /// Why nobody knows.
        reason: UnknownReason,
    },
    /// A command that goes to all shards did not end well on one of them.
    #[error(
        "done on some shards but perhaps not on {shard}: {source}; repeat the command if it shall \
         hold everywhere"
    )]
    Partly {
        /// The shard.
        shard: ShardId,
        /// What happened there.
        source: Box<Error>,
    },
    /// The answer to a read was lost on the way.
    #[error(
        "the answer to this read was lost: {}; nothing was changed; try again",
        .reason.text()
    )]
    ReadLost {
        /// Why.
        reason: UnknownReason,
    },
    /// Others changed the key between reading and writing, every time.
    #[error(
        "gave up after {attempts} attempts to update the key, because others changed it each time; \
         it has none of this update; try again when it is quieter"
    )]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// Not all replicas are known to be equal.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// A shard has not all the replicas yet that it should have.
    #[error(
        "not every shard has all its replicas yet; nothing acknowledged is missing, but the cluster \
         bears fewer failures than it should; wait longer, and see whether all nodes run"
    )]
    Repairing,
    /// A node with keys of its own was told to join a cluster.
    #[error(
        "this node has {keys} keys of its own, which joining would lose; to bring them along, start a \
         fresh node that joins, copy the keys from here to there with SCAN, DUMP and RESTORE, then \
         remove {data}"
    )]
    HasKeys {
        /// How many.
        keys: u64,
        /// Its data directory.
        data: PathBuf,
    },
    /// A node that belongs to a cluster was told to join one.
    #[error(
        "this node belongs to a cluster of {nodes} nodes already and cannot join another; start a \
         fresh node for that"
    )]
    InCluster {
        /// How many nodes it has.
        nodes: usize,
    },
    /// The data directory cannot be moved.
    #[error(
        "cannot rename the data directory {data}: {source}; the node is stopped and has not joined; \
         remove the directory, which holds no keys, and start the node with `join`"
    )]
    SetAside {
        /// The directory.
        data: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The operating system gave no thread to a call that blocks.
    #[error("cannot start a thread: {source}; raise the limit of threads of this process")]
    Thread {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// The node was shut down.
    #[error("this node was shut down; nothing was changed; start it again")]
    Closed,
}

impl Error {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config(_)
            | Self::Address(_)
            | Self::Encode { .. }
            | Self::TimeToLive { .. }
            | Self::EmptyCommand
            | Self::NoDatabase { .. }
            | Self::NeedsConnection { .. }
            | Self::CrossShard { .. }
            | Self::TooLarge { .. } => Kind::Invalid,
            Self::Server(error) => kind_of_server(error),
            Self::Decode { .. } | Self::Sync(SyncError::Differs { .. }) => Kind::Corrupt,
            Self::Reply { message } if message.starts_with("BUSYKEY") => Kind::Conflict,
            Self::Reply { .. } => Kind::Invalid,
            Self::NoTopology
            | Self::NoLeader { .. }
            | Self::ShardDown { .. }
            | Self::ReadLost { .. }
            | Self::Sync(SyncError::Deadline { .. })
            | Self::Repairing
            | Self::Thread { .. } => Kind::Unavailable,
            Self::Moved { .. } => Kind::Moved,
            Self::Overloaded | Self::TooManyCalls { .. } | Self::DiskFull { .. } => {
                Kind::Overloaded
            }
            Self::Unknown { .. } | Self::Partly { .. } => Kind::Unknown,
            Self::Contended { .. } | Self::HasKeys { .. } | Self::InCluster { .. } => {
                Kind::Conflict
            }
            Self::SetAside { .. } => Kind::Unavailable,
            Self::Closed => Kind::Closed,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoLeader { shard } => Self::NoLeader { shard },
            Refusal::Moved { slot, address } => Self::Moved { slot, address },
            Refusal::Overloaded => Self::Overloaded,
            Refusal::DiskFull { node } => Self::DiskFull { node },
            Refusal::ShardDown { shard, reason } => Self::ShardDown { shard, reason },
            Refusal::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            // Nothing waits in this library.
            Refusal::ShuttingDown | Refusal::Withdrawn => Self::Closed,
        }
    }
}

/// What a caller can do about a node that does not start.
const fn kind_of_server(error: &ServerError) -> Kind {
    match error {
        ServerError::Start(StartError::OtherCluster { .. }) => Kind::Conflict,
        ServerError::Start(StartError::Log(WalError::Locked { .. })) => Kind::Conflict,
        ServerError::Start(
            StartError::LogMissing { .. } | StartError::Identity(_) | StartError::Log(_),
        ) => Kind::Corrupt,
        _ => Kind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unknown_leaves_open_whether_a_write_happened() {
        let shard = ShardId(3);
        let source = Box::new(Error::Overloaded);
        for (error, kind) in [
            (Error::Unknown { reason: UnknownReason::Deadline }, Kind::Unknown),
            (Error::Partly { shard, source }, Kind::Unknown),
            (Error::ReadLost { reason: UnknownReason::Deadline }, Kind::Unavailable),
            (Refusal::NoLeader { shard }.into(), Kind::Unavailable),
            (Refusal::Overloaded.into(), Kind::Overloaded),
            (Refusal::ShuttingDown.into(), Kind::Closed),
            (Error::Contended { attempts: 9 }, Kind::Conflict),
            (Error::Reply { message: "WRONGTYPE Operation".into() }, Kind::Invalid),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
