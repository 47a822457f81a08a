//! Where a replica should stand: first apart from its siblings by zone, then where there is least.
//! Owns: [`Loads`] (replicas and leaders per node, planned changes included) and the choice among
//! nodes. Never: the decision that a replica must move (see `rebalance`).
//! Ties are broken by node id, so that the same view gives the same plan anywhere.

use std::collections::{BTreeMap, BTreeSet};

use keystead_types::NodeId;

use crate::command::Action;
use crate::{Observed, Shard, Topology};

/// What every node carries once all that is under way is done.
pub(crate) struct Loads<'view> {
    topology: &'view Topology,
    observed: &'view Observed,
    replicas: BTreeMap<NodeId, usize>,
    leaders: BTreeMap<NodeId, usize>,
}

impl<'view> Loads<'view> {
    pub(crate) fn new(topology: &'view Topology, observed: &'view Observed) -> Self {
        let mut loads =
            Self { topology, observed, replicas: BTreeMap::new(), leaders: BTreeMap::new() };
        for shard in topology.shards().values() {
            for node in settled_members(shard) {
                *loads.replicas.entry(node).or_default() += 1;
            }
            let leader = observed.shards.get(&shard.id).and_then(|seen| seen.leader);
            if let Some(leader) = leader_after(shard, leader) {
                *loads.leaders.entry(leader).or_default() += 1;
            }
        }
        loads
    }

    pub(crate) fn replicas_on(&self, node: NodeId) -> usize {
        self.replicas.get(&node).copied().unwrap_or_default()
    }

    pub(crate) fn leaders_on(&self, node: NodeId) -> usize {
        self.leaders.get(&node).copied().unwrap_or_default()
    }

    /// Takes note of a planned step, so that the next choice of the same plan reckons with it.
    pub(crate) fn note(&mut self, leader: Option<NodeId>, action: Action) {
        match action {
            Action::AddLearner { node, replaces } => {
                *self.replicas.entry(node).or_default() += 1;
                if let Some(old) = replaces {
                    take_one(&mut self.replicas, old);
                }
            }
            // A removal that ends a replacement was reckoned with when the replacement began.
            Action::Promote { .. } | Action::Remove { .. } => {}
            Action::TransferLeader { to } => {
                *self.leaders.entry(to).or_default() += 1;
                if let Some(leader) = leader {
                    take_one(&mut self.leaders, leader);
                }
            }
        }
    }

    /// The best node for another replica of the shard beside `kept`, or `None` if no node can take it.
    pub(crate) fn best_home(&self, shard: &Shard, kept: &BTreeSet<NodeId>) -> Option<NodeId> {
        let nodes = self.topology.nodes().keys().copied();
        let free = nodes.filter(|&node| {
            !shard.is_hosted_by(node) && self.observed.is_usable(self.topology, node)
        });
        free.min_by_key(|&node| (self.crowding(kept, Some(node)), self.replicas_on(node), node))
    }

    /// The replica the shard can spare best: its zone is the most crowded, its node carries most.
    pub(crate) fn worst_home(&self, homes: &BTreeSet<NodeId>) -> Option<NodeId> {
        homes.iter().copied().min_by_key(|&node| {
            let others: BTreeSet<NodeId> = homes.iter().copied().filter(|&n| n != node).collect();
            let load = self.replicas_on(node);
            (self.crowding(&others, None), std::cmp::Reverse(load), std::cmp::Reverse(node))
        })
    }

    /// A move of one replica that spreads the shard over more zones, or evens out the nodes' load
    /// without spreading it over fewer. Each such move lowers (crowding, sum of squared loads), so
    /// that a run of moves comes to an end.
    pub(crate) fn best_move(
        &self,
        shard: &Shard,
        voters: &BTreeSet<NodeId>,
    ) -> Option<(NodeId, NodeId)> {
        let crowding_now = self.crowding(voters, None);
        let mut best = None;
        for &from in voters {
            let kept: BTreeSet<NodeId> =
                voters.iter().copied().filter(|&node| node != from).collect();
            let Some(to) = self.best_home(shard, &kept) else { continue };
            let crowding = self.crowding(&kept, Some(to));
            let (load_from, load_to) = (self.replicas_on(from), self.replicas_on(to));
            let is_spread = crowding < crowding_now;
            let is_evened = crowding == crowding_now && load_from > load_to + 1;
            if is_spread || is_evened {
                let rank =
                    (crowding, std::cmp::Reverse(load_from.saturating_sub(load_to)), from, to);
                best = best.into_iter().chain([rank]).min();
            }
        }
        best.map(|(_, _, from, to)| (from, to))
    }

    /// How many of these replicas share their zone with an earlier one: 0 if each has its own.
    fn crowding(&self, homes: &BTreeSet<NodeId>, one_more: Option<NodeId>) -> usize {
        let mut zones = BTreeSet::new();
        let homes = homes.iter().copied().chain(one_more);
        homes
            .filter(|home| {
                let zone = self.topology.nodes().get(home).map_or("", |node| node.zone.as_str());
                !zones.insert(zone)
            })
            .count()
    }
}

/// The members the shard will have once its step and its replacement are done.
fn settled_members(shard: &Shard) -> impl Iterator<Item = NodeId> {
    let mut leaving = shard.replacement.map(|replacement| replacement.from);
    match shard.step.map(|step| step.action) {
        Some(Action::AddLearner { replaces, .. }) => leaving = leaving.or(replaces),
        Some(Action::Remove { node }) => leaving = Some(node),
        _ => {}
    }
    let members = shard.replicas.keys().copied().chain(shard.joining_node());
    members.filter(move |&node| Some(node) != leaving)
}

fn leader_after(shard: &Shard, leader: Option<NodeId>) -> Option<NodeId> {
    match shard.step.map(|step| step.action) {
        Some(Action::TransferLeader { to }) => Some(to),
        _ => leader,
    }
}

fn take_one(counts: &mut BTreeMap<NodeId, usize>, node: NodeId) {
    if let Some(count) = counts.get_mut(&node) {
        *count = count.saturating_sub(1);
    }
}
