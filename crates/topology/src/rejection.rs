//! Why a command was refused.
//! Owns: [`Rejection`] and what its receiver should do. Never: the guards themselves (see `apply`).

use keystead_types::limits::{SHARDS_MAX, SHARDS_MIN};
use keystead_types::{LogIndex, NodeId, ShardId};
use thiserror::Error;

use crate::{Action, NodeState};

/// Why a command was refused; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no cluster yet.
    #[error("no cluster was founded here yet; found one or join one first")]
    NotFounded,
    /// There is one already.
    #[error("this is cluster {cluster_id:016x} already; a cluster is founded once")]
    AlreadyFounded {
        /// Its identity.
        cluster_id: u64,
    },
    /// A cluster id of 0, or an id of nobody.
    #[error("0 is no id; draw another")]
    ZeroId,
    /// Too few or too many shards.
    #[error("{shards} shards were asked for; between {SHARDS_MIN} and {SHARDS_MAX} are possible")]
    ShardCount {
        /// How many were asked for.
        shards: u32,
    },
    /// A name, address or value out of bounds.
    #[error("the {field} is empty or too long ({bytes} bytes); shorten it")]
    Text {
        /// Which.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A setting whose value is not possible.
    #[error("{name} must be a number from {min} to {max}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its least value.
        min: u64,
        /// Its greatest.
        max: u64,
    },
    /// No room for another.
    #[error("there are {max} {what} already, the bound; remove some first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// No such node.
    #[error("{node} is not a node of this cluster; it must join first")]
    UnknownNode {
        /// Which.
        node: NodeId,
    },
    /// The node was removed for good.
    #[error("{node} was removed from this cluster; clear its data directory and let it join anew")]
    NodeGone {
        /// Which.
        node: NodeId,
    },
    /// Another node has the address.
    #[error(
        "{node} already has the address {addr}; stop it or remove it, or choose another address"
    )]
    AddressTaken {
        /// Who has it.
        node: NodeId,
        /// The address.
        addr: String,
    },
    /// Said by an older incarnation of the node.
    #[error("{node} has started {known} times; what start {incarnation} says is outdated")]
    StaleIncarnation {
        /// Which node.
        node: NodeId,
        /// Who speaks.
        incarnation: u64,
        /// The newest known.
        known: u64,
    },
    /// No way from one state to the other.
    #[error("{node} is {from} and cannot become {to}; drain it before it is removed")]
    StateChange {
        /// Which node.
        node: NodeId,
        /// Its state.
        from: NodeState,
        /// The state asked for.
        to: NodeState,
    },
    /// The node still has replicas.
    #[error("{node} still has a replica of {shard}; wait until it is drained")]
    NotDrained {
        /// Which node.
        node: NodeId,
        /// The first such shard.
        shard: ShardId,
    },
    /// The node takes no replicas.
    #[error("{node} is {state} and takes no replicas")]
    NotActive {
        /// Which node.
        node: NodeId,
        /// Its state.
        state: NodeState,
    },
    /// No such shard.
    #[error("there is no shard {shard}")]
    UnknownShard {
        /// Which.
        shard: ShardId,
    },
    /// One change at a time (INV-TOP7).
    #[error("{shard} has step {step} in progress; confirm or abort it first")]
    StepInProgress {
        /// Which shard.
        shard: ShardId,
        /// Its step.
        step: LogIndex,
    },
    /// The step is over, or never was.
    #[error("step {step} of {shard} is not in progress any more")]
    StaleStep {
        /// Which shard.
        shard: ShardId,
        /// The step that was named.
        step: LogIndex,
    },
    /// The action does not fit the shard's replicas.
    #[error("{shard} cannot {action}: its replicas have changed; plan again")]
    ActionImpossible {
        /// Which shard.
        shard: ShardId,
        /// The action.
        action: Action,
    },
    /// The shard's members are known at a later index.
    #[error(
        "the members of {shard} are known as of its index {known}; those of {conf_index} are outdated"
    )]
    StaleConf {
        /// Which shard.
        shard: ShardId,
        /// The index that was named.
        conf_index: LogIndex,
        /// The newest known.
        known: LogIndex,
    },
    /// Members without a voter.
    #[error("{shard} would have no voter")]
    NoVoter {
        /// Which shard.
        shard: ShardId,
    },
}

/// What the giver of a refused command should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionKind {
    /// Never ask this again.
    Invalid,
    /// The state has moved on: look at it, and decide anew.
    Conflict,
}

impl Rejection {
    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> RejectionKind {
        match self {
            Self::ZeroId | Self::ShardCount { .. } | Self::Text { .. } | Self::Setting { .. } => {
                RejectionKind::Invalid
            }
            _ => RejectionKind::Conflict,
        }
    }
}
