//! How a submission can end, and the promise that goes with each ending.
//! Owns: the types. Never: turns one ending into another; an unknown outcome stays unknown.

use std::sync::Arc;

use keystead_types::{Monotonic, NodeId, ShardId};

use crate::machine::{Part, Replies};

/// A run of commands for one group, on its way to the group's worker.
pub struct Submission {
    /// The group.
    pub group: ShardId,
    /// Whether the run only reads.
    pub access: Access,
    /// The commands.
    pub commands: Vec<u8>,
    /// Whose they are; the parts cover `commands` exactly.
    pub parts: Vec<Part>,
    /// When the caller stops waiting: what is not decided by then is unknown.
    pub deadline: Monotonic,
    /// Who is told.
    pub reply_to: Arc<dyn ReplyTo>,
}

/// Whether a run goes through the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It does not: the leader answers from memory once its leadership is confirmed.
    Read,
    /// It does.
    Write,
}

/// A submission that has ended.
pub struct Completed {
    /// The group.
    pub group: ShardId,
    /// Whether it was a read.
    pub access: Access,
    /// Whose commands they were.
    pub parts: Vec<Part>,
    /// When its caller stops waiting.
    pub deadline: Monotonic,
    /// How it ended.
    pub ending: Ending,
}

/// How a submission ended.
pub enum Ending {
    /// It was executed.
    Done(Replies),
    /// Nothing happened. The commands come back, for another try elsewhere.
    Rejected {
        /// Why.
        why: Rejection,
        /// The commands as submitted.
        commands: Vec<u8>,
    },
    /// It may or may not have happened, or may yet happen.
    Unknown(Doubt),
}

/// Why nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// This replica does not lead the group; who does, if that is known.
    NotLeader {
        /// The leader as this replica knows it.
        leader: Option<NodeId>,
    },
    /// Too much is queued already.
    Overloaded,
    /// The disk of this node's log is full.
    DiskFull,
    /// The deadline passed before the run was proposed.
    Expired,
    /// There is no replica of the group here, or it is down.
    NoReplica,
}

/// Why an outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The proposal was not decided within the deadline.
    Deadline,
    /// A snapshot replaced the state past the proposal's index before its fate was seen.
    SnapshotInstalled,
    /// The replica failed while the proposal was in flight.
    ReplicaFailed,
}

/// Whoever submits is told here. Implementations only queue: they are called on the worker's thread.
pub trait ReplyTo: Send + Sync {
    /// Takes one ending.
    fn deliver(&self, completed: Completed);
    /// Called once after the last [`deliver`](Self::deliver) of a turn.
    fn wake(&self);
}

impl Submission {
    /// Ends the submission with nothing done.
    pub(crate) fn reject(self, why: Rejection) -> (Arc<dyn ReplyTo>, Completed) {
        let Self { group, access, commands, parts, deadline, reply_to } = self;
        (
            reply_to,
            Completed {
                group,
                access,
                parts,
                deadline,
                ending: Ending::Rejected { why, commands },
            },
        )
    }

    /// Ends the submission with its replies.
    pub(crate) fn finish(self, replies: Replies) -> (Arc<dyn ReplyTo>, Completed) {
        let Self { group, access, parts, deadline, reply_to, .. } = self;
        (reply_to, Completed { group, access, parts, deadline, ending: Ending::Done(replies) })
    }

    /// Ends the submission with its outcome in doubt.
    pub(crate) fn doubt(self, doubt: Doubt) -> (Arc<dyn ReplyTo>, Completed) {
        let Self { group, access, parts, deadline, reply_to, .. } = self;
        (reply_to, Completed { group, access, parts, deadline, ending: Ending::Unknown(doubt) })
    }
}
