//! What a turn of a worker asks the world to do.
//! Owns: [`Outputs`]. Never: does any of it; the driver does, or the simulator.

use std::sync::Arc;

use keystead_types::{LogIndex, NodeId, ShardId, Term};
use keystead_wal::Batch;
use raft::eraftpb::Message;

use crate::entry::Origin;
use crate::outcome::{Completed, ReplyTo};

/// Everything that came out of one turn. Reused from turn to turn.
#[derive(Default)]
pub struct Outputs {
    /// Messages for peers, to be sent at once; each goes to the node `message.to`.
    pub(crate) messages: Vec<(ShardId, Message)>,
    /// Records for the node's log.
    pub(crate) log: Batch,
    /// True if the records must be on disk before they count as persisted.
    pub(crate) must_sync: bool,
    /// Endings for whoever submitted.
    pub(crate) completed: Vec<(Arc<dyn ReplyTo>, Completed)>,
    /// Work for the snapshot writer, in order.
    pub(crate) snapshots: Vec<SnapshotWork>,
    /// What the node should know.
    pub(crate) events: Vec<Event>,
    /// What was applied, for a simulator that compares replicas.
    #[cfg(feature = "simulation")]
    pub(crate) applied: Vec<crate::simulation::Applied>,
}

impl Outputs {
    pub(crate) fn finish(&mut self, ended: (Arc<dyn ReplyTo>, Completed)) {
        self.completed.push(ended);
    }
}

/// A step of writing a snapshot file.
pub(crate) enum SnapshotWork {
    /// Begin a file for the state at `origin`; an unfinished one of the same group is given up.
    Begin { group: ShardId, origin: Origin },
    /// Append a chunk.
    Chunk { group: ShardId, bytes: Vec<u8> },
    /// Make the file durable under its name, then say so to the worker.
    Finish { group: ShardId },
    /// Give the file up.
    Abort { group: ShardId },
}

/// What the node should know.
#[derive(Debug)]
pub enum Event {
    /// A group has another leader, or none.
    LeaderChanged {
        /// The group.
        group: ShardId,
        /// Its leader as this replica knows it.
        leader: Option<NodeId>,
    },
    /// A group's replica panicked; it is gone from the worker until its supervisor rebuilds it.
    ReplicaFailed {
        /// The group.
        group: ShardId,
        /// The panic's message.
        reason: String,
        /// Index of the entry that was being applied, if one was.
        applying: Option<LogIndex>,
    },
    /// A peer speaks to a group that has no replica here.
    UnknownGroup {
        /// The group.
        group: ShardId,
        /// The peer.
        from: NodeId,
    },
    /// The leader wants this replica to take a snapshot; it must be fetched first.
    SnapshotOffered {
        /// The group.
        group: ShardId,
        /// The leader's node, which has the file.
        from: NodeId,
        /// The snapshot's index.
        index: LogIndex,
        /// The snapshot's term.
        term: Term,
    },
    /// The group's replica set changed; its cell says to what.
    ReplicasChanged {
        /// The group.
        group: ShardId,
    },
}
