//! Which steps would bring the cluster closer to what it should be.
//!
//! Owns: [`plan`], a pure function: the same topology and view give the same steps. Never: carries
//! one out, and remembers nothing: an interrupted plan is simply made again, by whoever leads the
//! metadata group then. What must not be forgotten between two steps of one move (who replaces
//! whom) stands in the topology.
//!
//! In order of urgency, one step per shard at a time:
//! 1. finish what was begun: promote a learner that has caught up, remove the replica it replaces;
//! 2. grow shards that have too few replicas;
//! 3. replace replicas whose node is being drained, or was away too long;
//! 4. remove replicas that are too many;
//! 5. move replicas to spread them over zones and even out nodes;
//! 6. hand over leadership to preferred nodes, and to even it out.
//!
//! - INV-TOP9: no step is planned that would leave a shard without a majority of live voters.
//! - INV-TOP10: a voter is removed only if its shard has more than it should, or another voter has
//!   taken its place.

use std::collections::BTreeSet;

use keystead_types::NodeId;

use crate::command::{Action, Step};
use crate::observed::{Observed, ObservedShard};
use crate::placement::Loads;
use crate::state::{NodeState, Replacement, Shard, Topology, settings};

/// The steps to begin now, most urgent first; empty if all is well or must wait.
///
/// Shards with a step in progress, without a leader, without a live majority, or whose members the
/// topology does not know rightly, are left alone. Costs a few walks over all shards times nodes.
#[must_use]
pub fn plan(topology: &Topology, observed: &Observed) -> Vec<Step> {
    let mut planner = Planner::new(topology, observed);
    let idle: Vec<Seen<'_>> = topology
        .shards()
        .values()
        .filter_map(|shard| Seen::of(topology, observed, shard))
        .collect();
    for decide in [repair, level_replicas, level_leaders] {
        for seen in &idle {
            planner.consider(seen, decide);
        }
    }
    planner.steps
}

type Decision = fn(&Planner<'_>, &Seen<'_>) -> Option<Action>;

struct Planner<'view> {
    topology: &'view Topology,
    observed: &'view Observed,
    loads: Loads<'view>,
    steps: Vec<Step>,
    /// Steps that may still be begun.
    steps_left: usize,
    /// New replicas that may still be begun.
    copies_left: usize,
    wanted: usize,
}

impl<'view> Planner<'view> {
    fn new(topology: &'view Topology, observed: &'view Observed) -> Self {
        let (mut steps, mut copies) = (0, 0);
        for shard in topology.shards().values() {
            steps += usize::from(shard.step.is_some());
            copies +=
                usize::from(shard.joining_node().is_some() || shard.learners().next().is_some());
        }
        let bound =
            |number: settings::Number| usize::try_from(number.of(topology)).unwrap_or(usize::MAX);
        Self {
            topology,
            observed,
            loads: Loads::new(topology, observed),
            steps: Vec::new(),
            steps_left: bound(settings::STEPS_MAX).saturating_sub(steps),
            copies_left: bound(settings::COPIES_MAX).saturating_sub(copies),
            wanted: topology.replicas_wanted(),
        }
    }

    /// Plans what `decide` says of a shard that has no step in this plan yet.
    fn consider(&mut self, seen: &Seen<'_>, decide: Decision) {
        let id = seen.shard.id;
        if self.steps_left == 0 || self.steps.iter().any(|step| step.shard == id) {
            return;
        }
        let Some(action) = decide(self, seen) else { return };
        if matches!(action, Action::AddLearner { .. }) {
            if self.copies_left == 0 {
                return;
            }
            self.copies_left -= 1;
        }
        self.steps_left -= 1;
        self.loads.note(Some(seen.leader), action);
        self.steps.push(Step { shard: id, action });
    }
}

/// A shard that may be changed now, with what is seen of it.
struct Seen<'view> {
    shard: &'view Shard,
    view: &'view ObservedShard,
    leader: NodeId,
    voters: BTreeSet<NodeId>,
    /// Voters whose node neither leaves nor was lost.
    sound: BTreeSet<NodeId>,
}

impl<'view> Seen<'view> {
    fn of(topology: &Topology, observed: &'view Observed, shard: &'view Shard) -> Option<Self> {
        let view = observed.shards.get(&shard.id)?;
        let leader = view.leader.filter(|&leader| observed.is_up(leader))?;
        let may_change = shard.step.is_none()
            && observed.agrees_with(shard)
            && observed.have_majority(shard.voters());
        if !may_change {
            return None;
        }
        let away_ms_max = settings::REPLACE_AFTER_MS.of(topology);
        let is_sound = |node: &NodeId| {
            let stays = topology.nodes().get(node).is_some_and(|n| n.state == NodeState::Active);
            stays && !observed.is_lost(*node, away_ms_max)
        };
        let voters: BTreeSet<NodeId> = shard.voters().collect();
        let sound = voters.iter().copied().filter(is_sound).collect();
        Some(Self { shard, view, leader, voters, sound })
    }

    fn unsound(&self) -> impl Iterator<Item = NodeId> {
        self.voters.difference(&self.sound).copied()
    }
}

/// Points 1 to 4: what the shard lacks.
fn repair(planner: &Planner<'_>, seen: &Seen<'_>) -> Option<Action> {
    if let Some(replacement) = seen.shard.replacement {
        return finish_replacement(planner, seen, replacement);
    }
    if let Some(learner) = seen.shard.learners().next() {
        return finish_growth(planner, seen, learner);
    }
    if seen.voters.len() < planner.wanted
        && let Some(node) = planner.loads.best_home(seen.shard, &seen.voters)
    {
        return Some(Action::AddLearner { node, replaces: None });
    }
    if seen.voters.len() <= planner.wanted
        && let Some(old) = seen.unsound().next()
        && let Some(node) = planner.loads.best_home(seen.shard, &without(&seen.voters, old))
    {
        return Some(Action::AddLearner { node, replaces: Some(old) });
    }
    if seen.voters.len() > planner.wanted {
        let spare = seen.unsound().next().or_else(|| planner.loads.worst_home(&seen.voters))?;
        return remove(planner, seen, spare);
    }
    None
}

fn finish_replacement(
    planner: &Planner<'_>,
    seen: &Seen<'_>,
    Replacement { from, to }: Replacement,
) -> Option<Action> {
    let is_voter = seen.voters.contains(&to);
    let has_failed = if is_voter {
        !seen.sound.contains(&to) && seen.sound.contains(&from)
    } else {
        is_hopeless(planner, to)
    };
    match (has_failed, is_voter) {
        (true, _) => remove(planner, seen, to),
        (false, true) => remove(planner, seen, from),
        (false, false) => promote(planner, seen, to),
    }
}

/// A learner that replaces nobody: it joins the voters if they are too few, else it goes.
fn finish_growth(planner: &Planner<'_>, seen: &Seen<'_>, learner: NodeId) -> Option<Action> {
    if seen.sound.len() >= planner.wanted || is_hopeless(planner, learner) {
        remove(planner, seen, learner)
    } else {
        promote(planner, seen, learner)
    }
}

fn promote(planner: &Planner<'_>, seen: &Seen<'_>, node: NodeId) -> Option<Action> {
    let is_ready = seen.view.caught_up.contains(&node) && planner.observed.is_up(node);
    // INV-TOP9
    let stays_safe = planner.observed.have_majority(seen.voters.iter().copied().chain([node]));
    (is_ready && stays_safe).then_some(Action::Promote { node })
}

/// Removes the replica, unless that would cost the majority; a leader hands over first, in need
/// to a node that leaves too: its turn to hand over comes later.
fn remove(planner: &Planner<'_>, seen: &Seen<'_>, node: NodeId) -> Option<Action> {
    let rest = without(&seen.voters, node);
    // INV-TOP9
    if !planner.observed.have_majority(rest.iter().copied()) {
        return None;
    }
    if node != seen.leader {
        return Some(Action::Remove { node });
    }
    let able = rest.iter().copied().filter(|&other| can_lead(planner, seen, other));
    let to =
        able.min_by_key(|to| (!seen.sound.contains(to), planner.loads.leaders_on(*to), *to))?;
    Some(Action::TransferLeader { to })
}

/// Point 5.
fn level_replicas(planner: &Planner<'_>, seen: &Seen<'_>) -> Option<Action> {
    let is_whole = seen.shard.replacement.is_none()
        && seen.sound.len() == planner.wanted
        && seen.voters.len() == planner.wanted
        && seen.shard.replicas.len() == planner.wanted;
    if !is_whole {
        return None;
    }
    let (from, to) = planner.loads.best_move(seen.shard, &seen.voters)?;
    Some(Action::AddLearner { node: to, replaces: Some(from) })
}

/// Point 6.
fn level_leaders(planner: &Planner<'_>, seen: &Seen<'_>) -> Option<Action> {
    if seen.shard.replacement.is_some() {
        return None;
    }
    let may_lead = |node: NodeId| seen.sound.contains(&node) && can_lead(planner, seen, node);
    if let Some(preferred) = seen.shard.preferred_leader.filter(|&node| may_lead(node)) {
        return (preferred != seen.leader).then_some(Action::TransferLeader { to: preferred });
    }
    let others = seen.voters.iter().copied().filter(|&node| node != seen.leader && may_lead(node));
    let to = others.min_by_key(|&node| (planner.loads.leaders_on(node), node))?;
    let is_leader_leaving = !seen.sound.contains(&seen.leader);
    let is_uneven = planner.loads.leaders_on(seen.leader) > planner.loads.leaders_on(to) + 1;
    (is_leader_leaving || is_uneven).then_some(Action::TransferLeader { to })
}

fn can_lead(planner: &Planner<'_>, seen: &Seen<'_>, node: NodeId) -> bool {
    seen.voters.contains(&node)
        && seen.view.caught_up.contains(&node)
        && planner.observed.is_up(node)
}

/// True if waiting for this learner makes no sense.
fn is_hopeless(planner: &Planner<'_>, learner: NodeId) -> bool {
    let state = planner.topology.nodes().get(&learner).map(|node| node.state);
    let away_ms_max = settings::REPLACE_AFTER_MS.of(planner.topology);
    state != Some(NodeState::Active) || planner.observed.is_lost(learner, away_ms_max)
}

fn without(nodes: &BTreeSet<NodeId>, node: NodeId) -> BTreeSet<NodeId> {
    nodes.iter().copied().filter(|&other| other != node).collect()
}
