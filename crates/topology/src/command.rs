//! What can be asked of the metadata machine. Each command is one line of JSON in the metadata log,
//! so that a log can be read with the eyes.
//! Owns: [`Command`], [`Action`]. Never: what a command does (see `apply`).

use std::collections::BTreeMap;
use std::fmt;

use keystead_types::{LogIndex, NodeId, ShardId};
use serde::{Deserialize, Serialize};

use crate::wire;
use crate::{NodeState, ReplicaRole};

/// A change of the topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Founds the cluster: its first node holds the only replica of every shard. The first command
    /// of every metadata log, and never repeated.
    Found {
        /// Drawn at random, not 0.
        cluster_id: u64,
        /// Drawn at random.
        hash_seed: u64,
        /// Shards that hold keys, 1 to 1024; the metadata group comes on top.
        shards: u32,
        /// The founder.
        node: NodeRecord,
    },
    /// Lets a node in, or brings up to date what is known of it after a restart.
    RegisterNode {
        /// What it says about itself.
        node: NodeRecord,
    },
    /// Changes where a node is, without a restart.
    UpdateNode {
        /// What it says about itself now.
        node: NodeRecord,
    },
    /// Takes a node a step further on its way in or out.
    SetNodeState {
        /// Which.
        #[serde(with = "wire::node_id")]
        node: NodeId,
        /// Its next state.
        state: NodeState,
    },
    /// Begins a change of a shard. The command's log index becomes the step's id.
    BeginStep(Step),
    /// The shard's Raft group has made the change.
    ConfirmStep {
        /// Which shard.
        #[serde(with = "wire::shard_id")]
        shard: ShardId,
        /// The step's id.
        #[serde(with = "wire::log_index")]
        step: LogIndex,
        /// The index in the shard's log at which its members changed; ignored for a transfer.
        #[serde(with = "wire::log_index")]
        conf_index: LogIndex,
    },
    /// The change was not made and will not be.
    AbortStep {
        /// Which shard.
        #[serde(with = "wire::shard_id")]
        shard: ShardId,
        /// The step's id.
        #[serde(with = "wire::log_index")]
        step: LogIndex,
        /// Why, for people who read the log.
        reason: String,
    },
    /// The members of the shard's Raft group as its leader sees them. Repairs what a lost
    /// confirmation left open.
    SetReplicas {
        /// Which shard.
        #[serde(with = "wire::shard_id")]
        shard: ShardId,
        /// The index in the shard's log at which they came into force; older ones are refused.
        #[serde(with = "wire::log_index")]
        conf_index: LogIndex,
        /// All of them.
        #[serde(with = "wire::replicas")]
        replicas: BTreeMap<NodeId, ReplicaRole>,
    },
    /// Names the node that should lead the shard, or nobody.
    PreferLeader {
        /// Which shard.
        #[serde(with = "wire::shard_id")]
        shard: ShardId,
        /// Who.
        #[serde(with = "wire::node_id_option")]
        node: Option<NodeId>,
    },
    /// Sets a setting, or with no value returns it to its default.
    SetSetting {
        /// Which.
        name: String,
        /// Its value.
        value: Option<String>,
    },
    /// Sets a user's access record, or with none removes the user.
    SetUser {
        /// Who.
        name: String,
        /// What `gateway` understands; opaque here.
        record: Option<String>,
    },
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Its identity.
    #[serde(with = "wire::node_id")]
    pub id: NodeId,
    /// Where clients reach it, `HOST:PORT`.
    pub client_addr: String,
    /// Where other nodes reach it, `HOST:PORT`.
    pub peer_addr: String,
    /// What fails together with it.
    pub zone: String,
    /// Counts its starts.
    pub incarnation: u64,
}

/// One change of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which shard.
    #[serde(with = "wire::shard_id")]
    pub shard: ShardId,
    /// What to do.
    pub action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.shard, self.action)
    }
}

/// What is done to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The node gets a replica that receives the log but does not vote.
    AddLearner {
        /// Which node.
        #[serde(with = "wire::node_id")]
        node: NodeId,
        /// Whose replica is removed once the new one votes; nobody's if the shard grows.
        #[serde(with = "wire::node_id_option")]
        replaces: Option<NodeId>,
    },
    /// The learner becomes a voter.
    Promote {
        /// Which node's.
        #[serde(with = "wire::node_id")]
        node: NodeId,
    },
    /// The replica leaves the group.
    Remove {
        /// Which node's.
        #[serde(with = "wire::node_id")]
        node: NodeId,
    },
    /// The leader hands over.
    TransferLeader {
        /// To which node's replica.
        #[serde(with = "wire::node_id")]
        to: NodeId,
    },
}

impl Action {
    /// The node whose replica it is about.
    #[must_use]
    pub fn node(&self) -> NodeId {
        match *self {
            Self::AddLearner { node, .. } | Self::Promote { node } | Self::Remove { node } => node,
            Self::TransferLeader { to } => to,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLearner { node, replaces: None } => write!(f, "add learner {node}"),
            Self::AddLearner { node, replaces: Some(old) } => {
                write!(f, "add learner {node} in place of {old}")
            }
            Self::Promote { node } => write!(f, "promote {node}"),
            Self::Remove { node } => write!(f, "remove {node}"),
            Self::TransferLeader { to } => write!(f, "transfer leadership to {to}"),
        }
    }
}
