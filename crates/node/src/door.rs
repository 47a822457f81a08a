//! The one door: how commands enter a node, whoever sends them.
//!
//! Owns: the [`Door`] trait and what passes through it. Never: a socket, a key, an election.
//! RESP connections, the embedded API and calls forwarded by peers all use it; a gateway thread has
//! one door of its own and drives it alone, so nothing in it is locked by clients against clients.
//!
//! A caller collects runs of commands with [`Door::submit`], hands all of them over with one
//! [`Door::flush`], and is woken when [`Door::completions`] has something. Runs of one shard that
//! were submitted in order take effect in that order; runs of different shards are concurrent.

use std::sync::Arc;

use keystead_resp::{Protocol, ReplyWriter};
use keystead_store::command::Query;
use keystead_types::{DatabaseId, Monotonic, NodeId, ShardId, Slot};

use crate::status::{ClusterView, Status};
use crate::tracking::Origin;

/// What the caller wants to be told the outcome under; chosen by the caller, opaque to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Whether a run may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only commands flagged `readonly`: served by the leader without an entry in the log.
    Read,
    /// Anything else: goes through the log.
    Write,
}

/// How a node hears of what changes in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leads, and applies a change before its caller is answered.
    Leads,
    /// It follows a leader that it knows, and applies a change a little later.
    Follows,
    /// It has no replica of the shard, or one that hears of no leader.
    Apart,
}

/// Commands of one shard that succeed or are refused together; each has its own reply.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Names the run in its completion.
    pub ticket: Ticket,
    /// The shard that all of the run's keys belong to.
    pub shard: ShardId,
    /// The database on which the commands work.
    pub database: DatabaseId,
    /// One or more commands as RESP arrays, or a transaction: MULTI, its commands, EXEC.
    pub commands: &'a [u8],
    /// How replies are to be written.
    pub protocol: Protocol,
    /// Whether the run reads only.
    pub access: Access,
    /// Who is spared the news of what the run changes, where this node leads.
    pub origin: Origin,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Every command was executed; the replies, one after the other, as the client reads them.
    /// Replies may be errors of the commands themselves (`WRONGTYPE ...`).
    Done(&'a [u8]),
    /// Nothing happened.
    Refused(Refusal),
    /// The run may or may not have happened, or may yet happen: answered with `UNCERTAIN`.
    Unknown(UnknownReason),
}

/// Why nothing happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No leader of the shard was found within the deadline.
    NoLeader {
        /// The shard that has none.
        shard: ShardId,
    },
    /// Another node leads the shard and `routing = "redirect"` is set.
    Moved {
        /// The slot asked for.
        slot: Slot,
        /// Where its leader answers clients, `HOST:PORT`.
        address: String,
    },
    /// The shard's queue is full; back off and try again.
    Overloaded,
    /// The disk of the log is full (on the leader's node).
    DiskFull {
        /// The node that has no room.
        node: NodeId,
    },
    /// The shard's replica is still being loaded, or the shard stays down after repeated failures.
    ShardDown {
        /// Which shard.
        shard: ShardId,
        /// What its supervisor says.
        reason: String,
    },
    /// The run is larger than a log entry may be.
    TooLarge {
        /// Size of the run, bytes.
        bytes: usize,
        /// Largest size allowed, bytes.
        bytes_max: usize,
    },
    /// The caller withdrew its wait before there was anything for it.
    Withdrawn,
    /// The node is shutting down.
    ShuttingDown,
}

/// Why an outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// The proposal was not decided within the write deadline (no majority answered).
    Deadline,
    /// The connection to the leader's node broke after the run had been sent there.
    ConnectionLost,
    /// Another node leads the shard by now, and the one that was given the run has not answered.
    LeaderReplaced,
    /// The leader's state was replaced by a snapshot before the outcome was seen.
    SnapshotInstalled,
    /// The shard's replica failed while the run was in flight.
    ReplicaFailed,
    /// The node stopped while the run was in flight.
    Stopped,
}

impl UnknownReason {
    /// What clients read of it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Deadline => "no majority answered in time",
            Self::ConnectionLost => "the connection to the shard's leader broke",
            Self::LeaderReplaced => "the shard's leader was replaced and has not answered",
            Self::SnapshotInstalled => {
                "a snapshot took the place of the state in which the outcome would have been seen"
            }
            Self::ReplicaFailed => "the shard's replica failed meanwhile",
            Self::Stopped => "this node stopped meanwhile",
        }
    }
}

/// One caller's way into the node.
pub trait Door {
    /// The shard that serves `slot`, or `None` while this node does not know a topology yet.
    fn shard_of(&self, slot: Slot) -> Option<ShardId>;

    /// Every shard that holds keys, in slot order.
    fn shards(&self) -> Arc<[ShardId]>;

    /// Executes a command flagged `readonly` on a database at once if this node may: it leads the shard and holds a
    /// valid lease. Returns when it began, by the node's clock; or nothing, and writes nothing, if it may not: then
    /// the caller submits it as a run.
    ///
    /// Linearizable provided that the command had been received before the call.
    fn try_read(
        &self,
        shard: ShardId,
        query: &Query<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Option<Monotonic>;

    /// How this node hears of changes to a shard.
    fn standing(&self, _shard: ShardId) -> Standing {
        Standing::Leads
    }

    /// Takes a run for the next [`flush`](Self::flush). Copies its bytes.
    fn submit(&mut self, run: Run<'_>);

    /// As [`submit`](Self::submit) for one command that may wait: it ends when there is something for it, or when it is
    /// withdrawn, whenever that is. A door that knows no waiting answers at once, as a transaction does.
    fn wait(&mut self, run: Run<'_>) {
        self.submit(run);
    }

    /// Has a wait end, with [`Refusal::Withdrawn`] unless there was something for it before. Takes effect with the next
    /// [`flush`](Self::flush).
    fn withdraw(&mut self, _ticket: Ticket) {}

    /// Hands everything submitted to the workers and peers concerned, one push each.
    fn flush(&mut self);

    /// Calls `each` for every run that has ended since the last call. Does not block.
    fn completions(&mut self, each: &mut dyn FnMut(Ticket, Outcome<'_>));

    /// The node as it is now, for INFO.
    fn status(&self) -> Status;

    /// The cluster as this node knows it, for CLUSTER and for redirections.
    fn cluster(&self) -> Arc<ClusterView>;
}
