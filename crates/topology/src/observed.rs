//! What the metadata leader sees of the cluster at one moment: who is up, who leads, who is level.
//! Owns: [`Observed`], and what a shard's safety and completeness mean. Never: how it is seen, and
//! no clock: how long a node has been away comes in.

use std::collections::{BTreeMap, BTreeSet};

use keystead_types::{NodeId, ShardId};

use crate::{NodeState, Shard, Topology};

/// A view of the cluster. What is not in it counts as not seen: not up, without a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What is seen of nodes.
    pub nodes: BTreeMap<NodeId, ObservedNode>,
    /// What leaders say of their shards.
    pub shards: BTreeMap<ShardId, ObservedShard>,
}

/// A node as seen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservedNode {
    /// It answers.
    pub is_up: bool,
    /// Since when it has not, milliseconds; 0 while it is up.
    pub away_ms: u64,
}

/// A shard as its leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedShard {
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// The voters of its Raft group.
    pub voters: BTreeSet<NodeId>,
    /// The learners of its Raft group.
    pub learners: BTreeSet<NodeId>,
    /// The replicas whose log is level with the leader's, but for what is on the wire.
    pub caught_up: BTreeSet<NodeId>,
}

/// How complete the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Every replica that should exist exists, votes, is up and level.
    Full,
    /// Not yet, or not any more.
    Repairing {
        /// The shards that lack something.
        shards: Vec<ShardId>,
    },
}

impl Observed {
    /// True if the node answers.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|seen| seen.is_up)
    }

    /// How complete the cluster is.
    #[must_use]
    pub fn replication(&self, topology: &Topology) -> Replication {
        let wanted = topology.replicas_wanted();
        let is_full = |shard: &Shard| {
            let Some(seen) = self.shards.get(&shard.id) else { return false };
            let is_level = |node: &NodeId| self.is_up(*node) && seen.caught_up.contains(node);
            seen.leader.is_some()
                && shard.voters().count() == wanted
                && shard.learners().next().is_none()
                && shard.voters().all(|node| is_level(&node))
        };
        let lacking: Vec<ShardId> = topology
            .shards()
            .values()
            .filter(|&shard| !is_full(shard))
            .map(|shard| shard.id)
            .collect();
        if topology.is_founded() && lacking.is_empty() {
            Replication::Full
        } else {
            Replication::Repairing { shards: lacking }
        }
    }

    /// True if these voters could commit now.
    pub(crate) fn have_majority(&self, voters: impl Iterator<Item = NodeId>) -> bool {
        let (mut all, mut live) = (0usize, 0usize);
        for node in voters {
            all += 1;
            live += usize::from(self.is_up(node));
        }
        2 * live > all
    }

    /// True if the node has been away longer than a node may.
    pub(crate) fn is_lost(&self, node: NodeId, away_ms_max: u64) -> bool {
        self.nodes.get(&node).is_some_and(|seen| !seen.is_up && seen.away_ms > away_ms_max)
    }

    /// True if the leader's view of the members is the topology's. If not, the topology must be
    /// told first: a plan made from outdated members could lose a majority.
    pub(crate) fn agrees_with(&self, shard: &Shard) -> bool {
        self.shards.get(&shard.id).is_some_and(|seen| {
            seen.voters.iter().copied().eq(shard.voters())
                && seen.learners.iter().copied().eq(shard.learners())
        })
    }

    /// True if the node is up, takes replicas, and is not about to leave.
    pub(crate) fn is_usable(&self, topology: &Topology, node: NodeId) -> bool {
        let state = topology.nodes().get(&node).map(|node| node.state);
        state == Some(NodeState::Active) && self.is_up(node)
    }
}
