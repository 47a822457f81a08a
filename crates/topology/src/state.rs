//! What the metadata group knows: nodes, shards and their slots, settings, users.
//! Owns: [`Topology`] and everything it is made of, and questions about it.
//! Never: changes itself; that happens in `apply` alone, so that every replica changes alike.

use std::collections::BTreeMap;
use std::fmt;

use keystead_types::{Epoch, LogIndex, NodeId, SLOT_COUNT, ShardId, Slot};
use serde::{Deserialize, Serialize};

use crate::command::{Action, NodeRecord};
use crate::wire::{self, Keyed};

/// The state of the metadata group. Equal on every replica at the same log index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Drawn at random when the cluster was founded; 0 before that.
    pub(crate) cluster_id: u64,
    /// Seed of every store's hash tables, the same on all replicas.
    pub(crate) hash_seed: u64,
    #[serde(with = "wire::epoch")]
    pub(crate) epoch: Epoch,
    /// The last entry that was applied.
    #[serde(with = "wire::log_index")]
    pub(crate) applied: LogIndex,
    #[serde(with = "wire::by_key")]
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    #[serde(with = "wire::by_key")]
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) users: BTreeMap<String, String>,
}

impl Topology {
    /// A topology before its cluster was founded: no node, no shard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True once [`Command::Found`](crate::Command::Found) was applied.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        self.cluster_id != 0
    }

    /// The cluster's identity; 0 before it was founded.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// The seed of every store's hash tables.
    #[must_use]
    pub fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// Grows with every change of the slot map, of a replica set, of a node's state or address.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last log index applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// All nodes that ever joined, those that are gone included.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// All shards, the metadata group (without slots) included.
    #[must_use]
    pub fn shards(&self) -> &BTreeMap<ShardId, Shard> {
        &self.shards
    }

    /// The settings that were set, by name.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Access records by user name; opaque here.
    #[must_use]
    pub fn users(&self) -> &BTreeMap<String, String> {
        &self.users
    }

    /// The shard that serves the slot; `None` before the cluster was founded. For one lookup; a
    /// router keeps a [`SlotMap`](crate::SlotMap).
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> Option<ShardId> {
        let mut shards = self.shards.values();
        shards.find(|shard| shard.slots.contains(slot)).map(|shard| shard.id)
    }

    /// The shards of which the node has a replica, or is about to get one.
    pub fn hosted_by(&self, node: NodeId) -> impl Iterator<Item = &Shard> {
        self.shards.values().filter(move |shard| shard.is_hosted_by(node))
    }

    /// True if a node's place was taken: it drains, and another node answers at its peer address.
    #[must_use]
    pub fn is_displaced(&self, node: NodeId) -> bool {
        let Some(known) = self.nodes.get(&node) else { return false };
        let succeeds = |other: &Node| {
            other.id != node
                && other.state != NodeState::Gone
                && other.state != NodeState::Draining
                && other.peer_addr == known.peer_addr
        };
        known.state == NodeState::Draining && self.nodes.values().any(succeeds)
    }

    /// Who must give way to a newcomer that answers at its peer address, and to which state: a node with replicas
    /// drains, one that was still on its way in goes at once. `None` if nobody has the address.
    #[must_use]
    pub fn displaced_by(&self, newcomer: &NodeRecord) -> Option<(NodeId, NodeState)> {
        self.nodes.values().find_map(|old| {
            let gives_way_to = match old.state {
                NodeState::Joining => NodeState::Gone,
                NodeState::Active => NodeState::Draining,
                NodeState::Draining | NodeState::Gone => return None,
            };
            let has_address = old.id != newcomer.id && old.peer_addr == newcomer.peer_addr;
            has_address.then_some((old.id, gives_way_to))
        })
    }

    /// Replicas each shard should have: as many as the setting says, but no more than there are
    /// active nodes, and at least one.
    #[must_use]
    pub fn replicas_wanted(&self) -> usize {
        let active = self.nodes.values().filter(|node| node.state == NodeState::Active).count();
        let wanted = usize::try_from(settings::REPLICAS.of(self)).unwrap_or(usize::MAX);
        wanted.min(active).max(1)
    }
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its identity, which it keeps in its data directory.
    #[serde(with = "wire::node_id")]
    pub id: NodeId,
    /// Where clients reach it, `HOST:PORT`.
    pub client_addr: String,
    /// Where other nodes reach it, `HOST:PORT`.
    pub peer_addr: String,
    /// What fails together with it: a rack, a data centre. Empty is a zone like any other.
    pub zone: String,
    /// How far it is on its way in or out.
    pub state: NodeState,
    /// Counts the node's starts; an older one never overwrites a newer.
    pub incarnation: u64,
}

impl Keyed for Node {
    type Key = NodeId;
    fn key(&self) -> NodeId {
        self.id
    }
}

/// A node's way in and out of the cluster. Whether it is up is not said here: that is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Known, but gets no replicas yet.
    Joining,
    /// Takes replicas.
    Active,
    /// Its replicas move elsewhere.
    Draining,
    /// Holds nothing and never comes back; its id is never used again.
    Gone,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Gone => "gone",
        })
    }
}

/// A shard: consecutive slots, served by one Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Its number; 0 is the metadata group.
    #[serde(with = "wire::shard_id")]
    pub id: ShardId,
    /// The slots it serves; none for the metadata group.
    pub slots: SlotRange,
    /// The members of its Raft group as last confirmed.
    #[serde(with = "wire::replicas")]
    pub replicas: BTreeMap<NodeId, ReplicaRole>,
    /// The index in the shard's own log at which `replicas` came into force.
    #[serde(with = "wire::log_index")]
    pub conf_index: LogIndex,
    /// The one change under way, if any.
    pub step: Option<StepInProgress>,
    /// A replica on its way from one node to another, over several steps.
    pub replacement: Option<Replacement>,
    /// The node an operator wants to lead; balancing follows it while that node can.
    #[serde(with = "wire::node_id_option")]
    pub preferred_leader: Option<NodeId>,
}

impl Shard {
    /// The nodes whose replicas vote.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + Clone {
        self.with_role(ReplicaRole::Voter)
    }

    /// The nodes whose replicas only follow.
    pub fn learners(&self) -> impl Iterator<Item = NodeId> + Clone {
        self.with_role(ReplicaRole::Learner)
    }

    /// True if the node has a replica, or is to create one for the step under way.
    #[must_use]
    pub fn is_hosted_by(&self, node: NodeId) -> bool {
        self.replicas.contains_key(&node) || self.joining_node() == Some(node)
    }

    /// The node that is to create a replica for the step under way.
    #[must_use]
    pub fn joining_node(&self) -> Option<NodeId> {
        match self.step {
            Some(StepInProgress { action: Action::AddLearner { node, .. }, .. }) => Some(node),
            _ => None,
        }
    }

    fn with_role(&self, role: ReplicaRole) -> impl Iterator<Item = NodeId> + Clone {
        self.replicas.iter().filter(move |&(_, &its)| its == role).map(|(&node, _)| node)
    }
}

impl Keyed for Shard {
    type Key = ShardId;
    fn key(&self) -> ShardId {
        self.id
    }
}

/// What a replica may do in its Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaRole {
    /// Counts towards the majority.
    Voter,
    /// Receives the log, does not count.
    Learner,
}

/// A change of a shard that was begun and neither confirmed nor aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepInProgress {
    /// The metadata log index of its beginning, which names it.
    #[serde(with = "wire::log_index")]
    pub id: LogIndex,
    /// What is being done.
    pub action: Action,
}

/// A replica that moves: `to` joins, then `from` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The node that will lose its replica.
    #[serde(with = "wire::node_id")]
    pub from: NodeId,
    /// The node that has got one instead.
    #[serde(with = "wire::node_id")]
    pub to: NodeId,
}

/// Consecutive slots, `first` up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRange {
    /// The first slot's number.
    pub first: u16,
    /// The number after the last slot's.
    pub end: u16,
}

impl SlotRange {
    /// No slots.
    pub const EMPTY: Self = Self { first: 0, end: 0 };

    /// The `part`th of `parts` nearly equal ranges that together cover all slots.
    #[must_use]
    pub fn nth_of(part: u32, parts: u32) -> Self {
        Self { first: cut(part, parts), end: cut(part + 1, parts) }
    }

    /// True if the slot is one of these.
    #[must_use]
    pub fn contains(self, slot: Slot) -> bool {
        (self.first..self.end).contains(&slot.number())
    }

    /// How many slots these are.
    #[must_use]
    pub fn count(self) -> u16 {
        self.end - self.first
    }

    /// True if these are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.first == self.end
    }
}

/// Where the `part`th of `parts` equal ranges begins.
fn cut(part: u32, parts: u32) -> u16 {
    let slot = u64::from(SLOT_COUNT) * u64::from(part) / u64::from(parts);
    u16::try_from(slot).expect("part <= parts, so the quotient is at most 16384")
}

/// The settings that placement itself follows. Others are kept for whoever reads them.
pub mod settings {
    use keystead_types::limits::REPLICAS_DEFAULT;

    use super::Topology;

    /// A setting that is a number.
    #[derive(Clone, Copy, Debug)]
    pub struct Number {
        /// Its name.
        pub name: &'static str,
        /// Its value unless set.
        pub default: u64,
        /// Smallest and largest value.
        pub bounds: (u64, u64),
    }

    impl Number {
        /// The setting's value.
        #[must_use]
        pub fn of(&self, topology: &Topology) -> u64 {
            topology
                .settings()
                .get(self.name)
                .and_then(|text| self.parse(text))
                .unwrap_or(self.default)
        }

        /// The number in `text`, if it is one and within bounds.
        #[must_use]
        pub fn parse(&self, text: &str) -> Option<u64> {
            let (min, max) = self.bounds;
            text.parse().ok().filter(|number| (min..=max).contains(number))
        }
    }

    /// Replicas of each shard, if there are that many nodes.
    pub const REPLICAS: Number =
        Number { name: "placement.replicas", default: REPLICAS_DEFAULT as u64, bounds: (1, 9) };
    /// How long a node may stay away before its replicas are replaced, milliseconds.
    pub const REPLACE_AFTER_MS: Number = Number {
        name: "placement.replace_after_ms",
        default: 5 * 60 * 1000,
        bounds: (1000, 30 * 24 * 3600 * 1000),
    };
    /// Steps that may be under way at a time, over all shards.
    pub const STEPS_MAX: Number =
        Number { name: "placement.steps_max", default: 16, bounds: (1, 1024) };
    /// Shards that may fill a new replica at a time: each copies a shard over the network.
    pub const COPIES_MAX: Number =
        Number { name: "placement.copies_max", default: 8, bounds: (1, 1024) };

    /// All of these.
    pub const ALL: [Number; 4] = [REPLICAS, REPLACE_AFTER_MS, STEPS_MAX, COPIES_MAX];
}
