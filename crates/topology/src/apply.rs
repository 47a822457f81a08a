//! How a command changes the topology: the same on every replica.
//!
//! Owns: the guards of every command and their effect. Never: a clock, a random source, a decision
//! about placement (see `rebalance`).
//!
//! A rejected command changes nothing but `applied`. After every command the invariants hold
//! (see `invariants`); here stand those about change:
//! - INV-TOP7: at most one step is in progress per shard; a second one is refused.
//! - INV-TOP8: the epoch never falls, and grows with every change that routers must see.
//! - INV-TOP11: entries are applied in the order of the log, each once.

use std::collections::BTreeMap;

use crate::command::{Action, Command, NodeRecord, Step};
use crate::rejection::Rejection;
use crate::state::{
    Node, NodeState, Replacement, ReplicaRole, Shard, SlotRange, StepInProgress, Topology, settings,
};
use keystead_types::limits::{SHARDS_MAX, SHARDS_MIN};
use keystead_types::{Epoch, LogIndex, NodeId, ShardId};

/// Most nodes ever known to a cluster, those gone included.
const NODES_MAX: usize = 4096;
/// Most settings, and most users.
const NAMES_MAX: usize = 4096;
/// Longest name or address, bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest value of a setting or access record, bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What a command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The state is another than before.
    Changed,
    /// It asked for what already is.
    Unchanged,
    /// A step is in progress under this id.
    StepBegun {
        /// The id to confirm or abort it with.
        step: LogIndex,
    },
}

impl Topology {
    /// Applies the command that stands at `index` of the metadata log.
    ///
    /// # Errors
    /// A [`Rejection`]: the state is as before, except for [`Topology::applied`].
    ///
    /// # Panics
    /// If `index` is not above the last one, or an invariant is broken: bugs both.
    pub fn apply(&mut self, index: LogIndex, command: Command) -> Result<Outcome, Rejection> {
        let applied = self.applied;
        assert!(index > applied, "INV-TOP11: entry {index} of the metadata log after {applied}");
        let epoch = self.epoch;
        self.applied = index;
        let outcome = self.apply_command(index, command);
        assert!(self.epoch >= epoch, "INV-TOP8: the epoch fell from {epoch} to {}", self.epoch);
        if let Err(violation) = self.check() {
            panic!("entry {index} of the metadata log broke the topology: {violation}");
        }
        outcome
    }

    fn apply_command(&mut self, index: LogIndex, command: Command) -> Result<Outcome, Rejection> {
        if let Command::Found { cluster_id, hash_seed, shards, node } = command {
            return self.found(cluster_id, hash_seed, shards, node);
        }
        if !self.is_founded() {
            return Err(Rejection::NotFounded);
        }
        match command {
            Command::Found { .. } => unreachable!("founding was taken care of above"),
            Command::RegisterNode { node } => self.register_node(node),
            Command::UpdateNode { node } => self.update_node(node),
            Command::SetNodeState { node, state } => self.set_node_state(node, state),
            Command::BeginStep(step) => self.begin_step(index, step),
            Command::ConfirmStep { shard, step, conf_index } => {
                self.confirm_step(shard, step, conf_index)
            }
            Command::AbortStep { shard, step, reason: _ } => self.abort_step(shard, step),
            Command::SetReplicas { shard, conf_index, replicas } => {
                self.set_replicas(shard, conf_index, replicas)
            }
            Command::PreferLeader { shard, node } => self.prefer_leader(shard, node),
            Command::SetSetting { name, value } => self.set_setting(name, value),
            Command::SetUser { name, record } => set_text(&mut self.users, "users", name, record),
        }
    }

    fn found(
        &mut self,
        cluster_id: u64,
        hash_seed: u64,
        shards: u32,
        node: NodeRecord,
    ) -> Result<Outcome, Rejection> {
        if self.is_founded() {
            return Err(Rejection::AlreadyFounded { cluster_id: self.cluster_id });
        }
        if cluster_id == 0 {
            return Err(Rejection::ZeroId);
        }
        if !(SHARDS_MIN..=SHARDS_MAX).contains(&shards) {
            return Err(Rejection::ShardCount { shards });
        }
        check_record(&node)?;
        self.cluster_id = cluster_id;
        self.hash_seed = hash_seed;
        let founder = node.id;
        self.nodes.insert(founder, admitted(node, NodeState::Active));
        let metadata = new_shard(ShardId::META, SlotRange::EMPTY, founder);
        self.shards.insert(ShardId::META, metadata);
        for number in 1..=shards {
            let slots = SlotRange::nth_of(number - 1, shards);
            self.shards.insert(ShardId(number), new_shard(ShardId(number), slots, founder));
        }
        self.bump_epoch();
        Ok(Outcome::Changed)
    }

    fn register_node(&mut self, record: NodeRecord) -> Result<Outcome, Rejection> {
        check_record(&record)?;
        let Some(known) = self.nodes.get(&record.id) else {
            if self.nodes.len() >= NODES_MAX {
                return Err(Rejection::TooMany { what: "nodes", max: NODES_MAX });
            }
            self.check_addresses_free(&record)?;
            self.nodes.insert(record.id, admitted(record, NodeState::Joining));
            self.bump_epoch();
            return Ok(Outcome::Changed);
        };
        check_incarnation(known, &record)?;
        self.update_node(record)
    }

    fn update_node(&mut self, record: NodeRecord) -> Result<Outcome, Rejection> {
        check_record(&record)?;
        let known = self.node(record.id)?;
        if known.state == NodeState::Gone {
            return Err(Rejection::NodeGone { node: known.id });
        }
        check_incarnation(known, &record)?;
        let updated = admitted(record.clone(), known.state);
        if *known == updated {
            return Ok(Outcome::Unchanged);
        }
        let is_elsewhere = Node { incarnation: known.incarnation, ..updated.clone() } != *known;
        self.check_addresses_free(&record)?;
        self.nodes.insert(record.id, updated);
        if is_elsewhere {
            self.bump_epoch();
        }
        Ok(Outcome::Changed)
    }

    fn set_node_state(&mut self, id: NodeId, state: NodeState) -> Result<Outcome, Rejection> {
        let from = self.node(id)?.state;
        if from == state {
            return Ok(Outcome::Unchanged);
        }
        let is_way = matches!(
            (from, state),
            (NodeState::Joining, NodeState::Active | NodeState::Gone)
                | (NodeState::Active, NodeState::Draining)
                | (NodeState::Draining, NodeState::Active | NodeState::Gone)
        );
        if !is_way {
            return Err(Rejection::StateChange { node: id, from, to: state });
        }
        if state == NodeState::Gone
            && let Some(shard) = self.hosted_by(id).next()
        {
            return Err(Rejection::NotDrained { node: id, shard: shard.id });
        }
        let node = self.nodes.get_mut(&id).ok_or(Rejection::UnknownNode { node: id })?;
        node.state = state;
        self.bump_epoch();
        Ok(Outcome::Changed)
    }

    fn begin_step(&mut self, index: LogIndex, step: Step) -> Result<Outcome, Rejection> {
        let Step { shard: id, action } = step;
        if let Action::AddLearner { node, .. } = action {
            let state = self.node(node)?.state;
            if state != NodeState::Active {
                return Err(Rejection::NotActive { node, state });
            }
        }
        let shard = self.shard_mut(id)?;
        if let Some(step) = shard.step {
            return Err(Rejection::StepInProgress { shard: id, step: step.id });
        }
        check_action(shard, action)?;
        shard.step = Some(StepInProgress { id: index, action });
        Ok(Outcome::StepBegun { step: index })
    }

    fn confirm_step(
        &mut self,
        id: ShardId,
        step: LogIndex,
        conf_index: LogIndex,
    ) -> Result<Outcome, Rejection> {
        let shard = self.shard_mut(id)?;
        let action = take_step(shard, step)?;
        let mut replicas = shard.replicas.clone();
        match action {
            Action::AddLearner { node, .. } => replicas.insert(node, ReplicaRole::Learner),
            Action::Promote { node } => replicas.insert(node, ReplicaRole::Voter),
            Action::Remove { node } => replicas.remove(&node),
            Action::TransferLeader { .. } => return Ok(Outcome::Changed),
        };
        note_replacement(shard, action);
        put_replicas(shard, replicas);
        shard.conf_index = shard.conf_index.max(conf_index);
        self.bump_epoch();
        Ok(Outcome::Changed)
    }

    fn abort_step(&mut self, id: ShardId, step: LogIndex) -> Result<Outcome, Rejection> {
        take_step(self.shard_mut(id)?, step)?;
        Ok(Outcome::Changed)
    }

    fn set_replicas(
        &mut self,
        id: ShardId,
        conf_index: LogIndex,
        replicas: BTreeMap<NodeId, ReplicaRole>,
    ) -> Result<Outcome, Rejection> {
        for &node in replicas.keys() {
            if self.node(node)?.state == NodeState::Gone {
                return Err(Rejection::NodeGone { node });
            }
        }
        let shard = self.shard_mut(id)?;
        if conf_index < shard.conf_index {
            return Err(Rejection::StaleConf { shard: id, conf_index, known: shard.conf_index });
        }
        if !replicas.values().any(|&role| role == ReplicaRole::Voter) {
            return Err(Rejection::NoVoter { shard: id });
        }
        if replicas == shard.replicas {
            let is_news = conf_index > shard.conf_index;
            shard.conf_index = conf_index;
            return Ok(if is_news { Outcome::Changed } else { Outcome::Unchanged });
        }
        shard.conf_index = conf_index;
        // What the group did by itself is either the step in progress or something else; in both
        // cases that step is over: done, or no longer what was planned.
        if let Some(step) = shard.step
            && is_done(step.action, &replicas)
        {
            shard.step = None;
            note_replacement(shard, step.action);
        }
        put_replicas(shard, replicas);
        if let Some(step) = shard.step
            && check_action(shard, step.action).is_err()
        {
            shard.step = None;
        }
        self.bump_epoch();
        Ok(Outcome::Changed)
    }

    fn prefer_leader(&mut self, id: ShardId, node: Option<NodeId>) -> Result<Outcome, Rejection> {
        if let Some(node) = node {
            self.node(node)?;
        }
        let shard = self.shard_mut(id)?;
        let is_same = shard.preferred_leader == node;
        shard.preferred_leader = node;
        Ok(if is_same { Outcome::Unchanged } else { Outcome::Changed })
    }

    fn set_setting(&mut self, name: String, value: Option<String>) -> Result<Outcome, Rejection> {
        let number = settings::ALL.iter().find(|number| number.name == name);
        if let (Some(number), Some(text)) = (number, &value)
            && number.parse(text).is_none()
        {
            let (min, max) = number.bounds;
            return Err(Rejection::Setting { name: number.name, min, max });
        }
        set_text(&mut self.settings, "settings", name, value)
    }

    /// A draining node may lose its address to its successor: the node that came up in its place without
    /// its data.
    fn check_addresses_free(&self, record: &NodeRecord) -> Result<(), Rejection> {
        let others = self.nodes.values().filter(|node| {
            node.id != record.id && !matches!(node.state, NodeState::Draining | NodeState::Gone)
        });
        for node in others {
            // Only the peer address tells nodes apart; clients may reach several through one proxy.
            if node.peer_addr == record.peer_addr {
                return Err(Rejection::AddressTaken {
                    node: node.id,
                    addr: record.peer_addr.clone(),
                });
            }
        }
        Ok(())
    }

    fn node(&self, node: NodeId) -> Result<&Node, Rejection> {
        self.nodes.get(&node).ok_or(Rejection::UnknownNode { node })
    }

    fn shard_mut(&mut self, shard: ShardId) -> Result<&mut Shard, Rejection> {
        self.shards.get_mut(&shard).ok_or(Rejection::UnknownShard { shard })
    }

    fn bump_epoch(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
    }
}

/// Whether the action fits the shard's replicas as they are.
pub(crate) fn check_action(shard: &Shard, action: Action) -> Result<(), Rejection> {
    let role = |node: NodeId| shard.replicas.get(&node).copied();
    let is_possible = match action {
        Action::AddLearner { node, replaces } => {
            let is_free = |old| shard.replacement.is_none() && role(old).is_some();
            role(node).is_none() && replaces.is_none_or(is_free)
        }
        Action::Promote { node } => role(node) == Some(ReplicaRole::Learner),
        Action::Remove { node } => match role(node) {
            Some(ReplicaRole::Voter) => shard.voters().count() > 1,
            Some(ReplicaRole::Learner) => true,
            None => false,
        },
        Action::TransferLeader { to } => role(to) == Some(ReplicaRole::Voter),
    };
    if is_possible { Ok(()) } else { Err(Rejection::ActionImpossible { shard: shard.id, action }) }
}

fn is_done(action: Action, replicas: &BTreeMap<NodeId, ReplicaRole>) -> bool {
    match action {
        Action::AddLearner { node, .. } => replicas.contains_key(&node),
        Action::Promote { node } => replicas.get(&node) == Some(&ReplicaRole::Voter),
        Action::Remove { node } => !replicas.contains_key(&node),
        Action::TransferLeader { .. } => false,
    }
}

fn note_replacement(shard: &mut Shard, action: Action) {
    if let Action::AddLearner { node: to, replaces: Some(from) } = action {
        shard.replacement = Some(Replacement { from, to });
    }
}

/// Sets the replicas; a replacement of which one side is gone is over.
fn put_replicas(shard: &mut Shard, replicas: BTreeMap<NodeId, ReplicaRole>) {
    let is_there = |node| replicas.contains_key(&node);
    shard.replacement =
        shard.replacement.filter(|move_| is_there(move_.from) && is_there(move_.to));
    shard.replicas = replicas;
}

fn take_step(shard: &mut Shard, step: LogIndex) -> Result<Action, Rejection> {
    match shard.step {
        Some(in_progress) if in_progress.id == step => {
            shard.step = None;
            Ok(in_progress.action)
        }
        _ => Err(Rejection::StaleStep { shard: shard.id, step }),
    }
}

fn new_shard(id: ShardId, slots: SlotRange, founder: NodeId) -> Shard {
    Shard {
        id,
        slots,
        replicas: BTreeMap::from([(founder, ReplicaRole::Voter)]),
        conf_index: LogIndex(0),
        step: None,
        replacement: None,
        preferred_leader: None,
    }
}

fn admitted(record: NodeRecord, state: NodeState) -> Node {
    let NodeRecord { id, client_addr, peer_addr, zone, incarnation } = record;
    Node { id, client_addr, peer_addr, zone, state, incarnation }
}

/// Refuses what an earlier life of the node says.
fn check_incarnation(known: &Node, record: &NodeRecord) -> Result<(), Rejection> {
    if record.incarnation < known.incarnation {
        let (node, incarnation) = (record.id, record.incarnation);
        return Err(Rejection::StaleIncarnation { node, incarnation, known: known.incarnation });
    }
    Ok(())
}

fn check_record(record: &NodeRecord) -> Result<(), Rejection> {
    if record.id == NodeId::NONE {
        return Err(Rejection::ZeroId);
    }
    check_text("client address", &record.client_addr, NAME_BYTES_MAX)?;
    check_text("peer address", &record.peer_addr, NAME_BYTES_MAX)?;
    if record.zone.is_empty() { Ok(()) } else { check_text("zone", &record.zone, NAME_BYTES_MAX) }
}

fn check_text(field: &'static str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    let bytes = text.len();
    if bytes == 0 || bytes > bytes_max { Err(Rejection::Text { field, bytes }) } else { Ok(()) }
}

fn set_text(
    texts: &mut BTreeMap<String, String>,
    what: &'static str,
    name: String,
    value: Option<String>,
) -> Result<Outcome, Rejection> {
    check_text("name", &name, NAME_BYTES_MAX)?;
    if texts.get(&name) == value.as_ref() {
        return Ok(Outcome::Unchanged);
    }
    match value {
        None => drop(texts.remove(&name)),
        Some(value) => {
            if value.len() > VALUE_BYTES_MAX {
                return Err(Rejection::Text { field: "value", bytes: value.len() });
            }
            if texts.len() >= NAMES_MAX && !texts.contains_key(&name) {
                return Err(Rejection::TooMany { what, max: NAMES_MAX });
            }
            texts.insert(name, value);
        }
    }
    Ok(Outcome::Changed)
}
