//! A cluster in miniature that does what the plan says: the tests' stand-in for Raft groups.
//! Owns: who is up, who leads, and the promises that every step must keep (INV-TOP9, INV-TOP10).

use std::collections::{BTreeMap, BTreeSet};

use keystead_topology::{
    Action, Command, NodeRecord, NodeState, Observed, ObservedNode, ObservedShard, Outcome,
    Rejection, ReplicaRole, Shard, Step, Topology, plan,
};
use keystead_types::{LogIndex, NodeId, ShardId};

pub(super) const HOUR_MS: u64 = 3_600_000;

pub(super) struct Model {
    pub(super) topology: Topology,
    /// The same log, read back from its bytes.
    twin: Topology,
    index: u64,
    away_ms: BTreeMap<NodeId, u64>,
    leaders: BTreeMap<ShardId, NodeId>,
}

pub(super) fn record(id: u64, zone: &str) -> NodeRecord {
    NodeRecord {
        id: NodeId(id),
        client_addr: format!("10.0.0.{id}:7379"),
        peer_addr: format!("10.0.0.{id}:17379"),
        zone: zone.to_owned(),
        incarnation: 1,
    }
}

impl Model {
    /// A cluster founded by node 1.
    pub(super) fn founded(shards: u32, zone: &str) -> Self {
        let mut model = Self {
            topology: Topology::new(),
            twin: Topology::new(),
            index: 0,
            away_ms: BTreeMap::new(),
            leaders: BTreeMap::new(),
        };
        let node = record(1, zone);
        model.must(Command::Found { cluster_id: 0xc1, hash_seed: 7, shards, node });
        model.away_ms.insert(NodeId(1), 0);
        model
    }

    pub(super) fn apply(&mut self, command: Command) -> Result<Outcome, Rejection> {
        self.index += 1;
        let read_back = Command::decode(&command.encode()).unwrap();
        assert_eq!(read_back, command);
        let outcome = self.topology.apply(LogIndex(self.index), command);
        assert_eq!(self.twin.apply(LogIndex(self.index), read_back), outcome);
        outcome
    }

    pub(super) fn must(&mut self, command: Command) -> Outcome {
        let line = String::from_utf8(command.encode()).unwrap();
        self.apply(command).unwrap_or_else(|rejection| panic!("{line}: {rejection}"))
    }

    pub(super) fn join(&mut self, id: u64, zone: &str) {
        self.must(Command::RegisterNode { node: record(id, zone) });
        self.set_state(id, NodeState::Active);
        self.away_ms.insert(NodeId(id), 0);
    }

    pub(super) fn set_state(&mut self, id: u64, state: NodeState) {
        self.must(Command::SetNodeState { node: NodeId(id), state });
    }

    /// The node goes down, and has been so for `away_ms`; 0 brings it back.
    pub(super) fn set_away(&mut self, id: u64, away_ms: u64) {
        self.away_ms.insert(NodeId(id), away_ms);
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.away_ms.get(&node) == Some(&0)
    }

    pub(super) fn shard(&self, id: u32) -> &Shard {
        &self.topology.shards()[&ShardId(id)]
    }

    pub(super) fn has_majority(&self, shard: &Shard) -> bool {
        let live = shard.voters().filter(|&node| self.is_up(node)).count();
        2 * live > shard.voters().count()
    }

    /// What the metadata leader sees. Shards elect among their live voters, if they have a majority.
    pub(super) fn observe(&mut self) -> Observed {
        let mut observed = Observed::default();
        for (&node, &away_ms) in &self.away_ms {
            observed.nodes.insert(node, ObservedNode { is_up: away_ms == 0, away_ms });
        }
        for shard in self.topology.shards().values() {
            let live: BTreeSet<NodeId> =
                shard.replicas.keys().copied().filter(|&node| self.is_up(node)).collect();
            let can_lead =
                |node: &NodeId| live.contains(node) && shard.replicas[node] == ReplicaRole::Voter;
            let leader = self
                .leaders
                .get(&shard.id)
                .copied()
                .filter(|node| shard.replicas.contains_key(node) && can_lead(node));
            let elected = leader.or_else(|| shard.voters().find(can_lead));
            let leader = elected.filter(|_| self.has_majority(shard));
            match leader {
                Some(leader) => self.leaders.insert(shard.id, leader),
                None => self.leaders.remove(&shard.id),
            };
            let seen = ObservedShard {
                leader,
                voters: shard.voters().collect(),
                learners: shard.learners().collect(),
                caught_up: live,
            };
            observed.shards.insert(shard.id, seen);
        }
        observed
    }

    pub(super) fn plan(&mut self) -> Vec<Step> {
        let observed = self.observe();
        plan(&self.topology, &observed)
    }

    /// Carries out one step as the shard's Raft group would, and checks that it was safe.
    pub(super) fn carry_out(&mut self, step: Step) {
        let before = self.shard(step.shard.0).clone();
        assert!(self.has_majority(&before), "{step} was planned for a shard without a majority");
        let Outcome::StepBegun { step: id } = self.must(Command::BeginStep(step)) else {
            panic!("{step} has no id");
        };
        let conf_index = LogIndex(self.index);
        self.must(Command::ConfirmStep { shard: step.shard, step: id, conf_index });
        let after = self.shard(step.shard.0).clone();
        assert!(self.has_majority(&after), "INV-TOP9: {step} cost {after:?} its majority");
        match step.action {
            Action::TransferLeader { to } => {
                assert!(self.is_up(to));
                self.leaders.insert(step.shard, to);
            }
            Action::Remove { node } if before.replicas[&node] == ReplicaRole::Voter => {
                let is_replaced = before.replacement.is_some();
                let is_spare = before.voters().count() > self.topology.replicas_wanted();
                assert!(is_replaced || is_spare, "INV-TOP10: {step} took a voter from {before:?}");
                assert_ne!(self.leaders.get(&step.shard), Some(&node), "{step} removes a leader");
            }
            _ => {}
        }
    }

    /// Plans and carries out until nothing is left to do; returns the steps in order.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut diary = Vec::new();
        // Each replica of each shard moves at most a few times, each move in four steps.
        let rounds_max = 200 + 20 * self.topology.shards().len();
        for _ in 0..rounds_max {
            let steps = self.plan();
            if steps.is_empty() {
                return diary;
            }
            for step in steps {
                diary.push(step.to_string());
                self.carry_out(step);
            }
        }
        let last = &diary[diary.len().saturating_sub(12)..];
        panic!("the plan does not come to rest; its last steps: {last:#?}");
    }

    pub(super) fn loads(&self) -> BTreeMap<NodeId, usize> {
        let hosted = |node: &NodeId| self.topology.hosted_by(*node).count();
        self.topology.nodes().keys().map(|node| (*node, hosted(node))).collect()
    }

    pub(super) fn leader_counts(&mut self) -> BTreeMap<NodeId, usize> {
        let observed = self.observe();
        let mut counts: BTreeMap<NodeId, usize> =
            self.topology.nodes().keys().map(|&node| (node, 0)).collect();
        for leader in observed.shards.values().filter_map(|shard| shard.leader) {
            *counts.entry(leader).or_default() += 1;
        }
        counts
    }

    pub(super) fn check_twins(&self) {
        assert_eq!(self.topology.digest(), self.twin.digest());
        assert_eq!(Topology::load(&self.topology.dump()).unwrap(), self.topology);
    }
}
