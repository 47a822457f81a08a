//! Brings the cluster to what it should be: the metadata leader's loop.
//!
//! Owns: gathering what is observed, carrying out the steps that `topology::plan` names, and recording
//! them in the metadata log. Never: decides what the steps are. Runs on every node, acts on the one
//! that leads the metadata group; its memory is only about timing, so any node can take over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keystead_supervisor::{ChildContext, ChildError};
use keystead_topology::{
    Action, Command, NodeState, Observed, ObservedNode, ObservedShard, ReplicaRole, Replication,
    Shard, Step, StepInProgress, Topology, plan,
};
use keystead_types::{Clock, LogIndex, Monotonic, NodeId, ShardId};
use tokio::time::{sleep, timeout};

use crate::control::{self, Answer, Question, ShardReport};
use crate::membership::ask;
use crate::node::{Heard, Node};

/// Between two rounds while there is something to do.
const BUSY_EVERY: Duration = Duration::from_millis(100);
/// Between two rounds while all is well.
const IDLE_EVERY: Duration = Duration::from_millis(500);
/// How long a node may take to say what it sees.
const OBSERVE_MAX: Duration = Duration::from_millis(700);
/// How long a step may go without being seen done before it is given up and planned anew.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How often a step that is not done yet is asked for again.
const STEP_AGAIN: Duration = Duration::from_secs(1);

/// What the loop remembers from round to round.
#[derive(Default)]
pub(crate) struct Memory {
    /// Since when each node has not answered.
    away_since: BTreeMap<NodeId, Monotonic>,
    /// What each shard had committed at the last look: who has that is level.
    committed: BTreeMap<ShardId, u64>,
    /// When each step was first seen, and last asked for.
    steps: BTreeMap<(ShardId, LogIndex), (Monotonic, Option<Monotonic>)>,
}

/// The task.
pub(crate) async fn run(node: Arc<Node>, context: ChildContext) -> Result<(), ChildError> {
    tokio::select! {
        () = live(&node) => Ok(()),
        () = context.shutdown() => Ok(()),
        fault = context.fault("reconcile") => Err(fault.into()),
    }
}

async fn live(node: &Arc<Node>) {
    let mut memory = Memory::default();
    loop {
        let mut is_busy = false;
        if node.leads_meta() && !node.is_stopping() {
            is_busy = round(node, &mut memory).await;
        } else {
            memory = Memory::default();
        }
        let pause = if is_busy { BUSY_EVERY } else { IDLE_EVERY };
        drop(timeout(pause, node.topology_changed.notified()).await);
        // A burst of changes is one reason to look, not many.
        sleep(Duration::from_millis(5)).await;
    }
}

/// One round: look, then do what is decided.
async fn round(node: &Arc<Node>, memory: &mut Memory) -> bool {
    let topology = Arc::clone(&node.core.routes().topology);
    if !topology.is_founded() {
        return false;
    }
    let seen = observe_all(node, &topology).await;
    let now = node.core.clock.monotonic_now();
    let Round { is_full, leaders, orders } = memory.decide(&topology, &seen, now);
    *node.heard.write() = Arc::new(Heard { is_full, leaders });
    let has_steps = topology.shards().values().any(|shard| shard.step.is_some());
    let is_busy = !is_full || has_steps || !orders.is_empty();
    for order in orders {
        match order {
            Order::Propose(command) => propose(node, command).await,
            Order::Request(leader, step) => request(node, leader, step).await,
        }
    }
    is_busy
}

/// What the nodes answered.
#[derive(Default)]
pub(crate) struct Seen {
    /// The nodes that did, this one included.
    pub(crate) up: BTreeSet<NodeId>,
    /// What they say of the shards they lead.
    pub(crate) reports: Vec<(NodeId, ShardReport)>,
}

/// What is to be done.
pub(crate) struct Round {
    pub(crate) is_full: bool,
    pub(crate) leaders: BTreeMap<ShardId, NodeId>,
    /// In this order.
    pub(crate) orders: Vec<Order>,
}

/// Something to be done.
pub(crate) enum Order {
    /// Put this into the metadata log.
    Propose(Command),
    /// Ask a shard's leader for a change.
    Request(NodeId, Step),
}

impl Memory {
    /// Records what is seen, carries on with what was begun, begins what is planned. No I/O.
    pub(crate) fn decide(&mut self, topology: &Topology, seen: &Seen, now: Monotonic) -> Round {
        self.note_absences(topology, seen, now);
        let reports = newest(&seen.reports);
        let observed = self.digest_reports(topology, &reports, now);
        let is_full = observed.replication(topology) == Replication::Full;
        let leaders =
            observed.shards.iter().filter_map(|(id, seen)| Some((*id, seen.leader?))).collect();
        let mut orders: Vec<Order> =
            corrections(topology, &observed, &reports).into_iter().map(Order::Propose).collect();
        for shard in topology.shards().values() {
            if let Some(step) = shard.step {
                let view = StepView { observed: &observed, reports: &reports, now };
                orders.extend(self.carry_on(shard, step, &view));
            }
        }
        self.steps.retain(|(shard, id), _| {
            topology
                .shards()
                .get(shard)
                .is_some_and(|shard| shard.step.is_some_and(|step| step.id == *id))
        });
        for step in plan(topology, &observed) {
            tracing::info!(%step, "begins");
            orders.push(Order::Propose(Command::BeginStep(step)));
        }
        Round { is_full, leaders, orders }
    }

    /// Since when who has not answered. At the address of a displaced node its successor would.
    fn note_absences(&mut self, topology: &Topology, seen: &Seen, now: Monotonic) {
        for other in topology.nodes().values().filter(|other| other.state != NodeState::Gone) {
            if seen.up.contains(&other.id) && !topology.is_displaced(other.id) {
                self.away_since.remove(&other.id);
            } else {
                self.away_since.entry(other.id).or_insert(now);
            }
        }
    }

    fn digest_reports(
        &mut self,
        topology: &Topology,
        reports: &BTreeMap<ShardId, (NodeId, &ShardReport)>,
        now: Monotonic,
    ) -> Observed {
        let mut observed = Observed::default();
        for id in topology.nodes().keys() {
            let since = self.away_since.get(id);
            let away_ms = since.map_or(0, |since| now.since(*since).as_millis());
            let away_ms = u64::try_from(away_ms).unwrap_or(u64::MAX);
            observed.nodes.insert(*id, ObservedNode { is_up: since.is_none(), away_ms });
        }
        for (id, (leader, report)) in reports {
            let level = self.committed.insert(*id, report.commit).unwrap_or(u64::MAX);
            let caught_up = report
                .progress
                .iter()
                .filter(|(_, matched, is_active)| *is_active && *matched >= level);
            let ids = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect();
            observed.shards.insert(
                *id,
                ObservedShard {
                    leader: Some(*leader),
                    voters: ids(&report.voters),
                    learners: ids(&report.learners),
                    caught_up: caught_up.map(|(node, ..)| NodeId(*node)).collect(),
                },
            );
        }
        observed
    }

    /// Confirms a step that is seen done; asks for it (again) if it is not; gives it up after a while.
    fn carry_on(
        &mut self,
        shard: &Shard,
        step: StepInProgress,
        view: &StepView<'_>,
    ) -> Option<Order> {
        let now = view.now;
        let (first, last) = self.steps.get(&(shard.id, step.id)).copied().unwrap_or((now, None));
        let report = view.reports.get(&shard.id);
        if let Some((leader, report)) = report
            && is_done(step.action, *leader, report)
        {
            tracing::info!(shard = %shard.id, action = %step.action, "done");
            let conf_index = LogIndex(report.members_index);
            return Some(Order::Propose(Command::ConfirmStep {
                shard: shard.id,
                step: step.id,
                conf_index,
            }));
        }
        let age = now.since(first);
        let is_up = |node: &NodeId| view.observed.nodes.get(node).is_some_and(|seen| seen.is_up);
        let is_hopeless = age > STEP_MAX
            || matches!(step.action, Action::TransferLeader { .. }) && age > 3 * STEP_AGAIN
            || matches!(step.action, Action::AddLearner { node, .. } if !is_up(&node));
        if is_hopeless {
            let reason = format!("not seen done after {} ms", age.as_millis());
            tracing::warn!(shard = %shard.id, action = %step.action, "given up, to be planned anew");
            let (shard, step) = (shard.id, step.id);
            return Some(Order::Propose(Command::AbortStep { shard, step, reason }));
        }
        let is_due = last.is_none_or(|last| now.since(last) >= STEP_AGAIN);
        let asked = report.filter(|_| is_due);
        let last = if asked.is_some() { Some(now) } else { last };
        self.steps.insert((shard.id, step.id), (first, last));
        let (leader, _) = asked?;
        Some(Order::Request(*leader, Step { shard: shard.id, action: step.action }))
    }
}

/// What there is to judge a step by.
struct StepView<'a> {
    observed: &'a Observed,
    reports: &'a BTreeMap<ShardId, (NodeId, &'a ShardReport)>,
    now: Monotonic,
}

fn is_done(action: Action, leader: NodeId, report: &ShardReport) -> bool {
    match action {
        Action::AddLearner { node, .. } => {
            report.learners.contains(&node.0) || report.voters.contains(&node.0)
        }
        Action::Promote { node } => report.voters.contains(&node.0),
        Action::Remove { node } => {
            !report.voters.contains(&node.0) && !report.learners.contains(&node.0)
        }
        Action::TransferLeader { to } => leader == to,
    }
}

/// Asks every node what the shards it leads look like.
async fn observe_all(node: &Arc<Node>, topology: &Topology) -> Seen {
    let mut seen = Seen::default();
    seen.up.insert(node.core.me);
    seen.reports.extend(control::observe(node).into_iter().map(|report| (node.core.me, report)));
    let others = topology.nodes().values().filter(|other| {
        other.id != node.core.me
            && other.state != NodeState::Gone
            && !topology.is_displaced(other.id)
    });
    for other in others {
        let asked = ask(node, &other.peer_addr, &Question::Observe, OBSERVE_MAX).await;
        if let Ok(Answer::Observed(reports)) = asked {
            seen.up.insert(other.id);
            seen.reports.extend(reports.into_iter().map(|report| (other.id, report)));
        }
    }
    seen
}

/// Two may believe that they lead: the later membership, then the longer log, is nearer the truth.
fn newest(all: &[(NodeId, ShardReport)]) -> BTreeMap<ShardId, (NodeId, &ShardReport)> {
    let mut newest: BTreeMap<ShardId, (NodeId, &ShardReport)> = BTreeMap::new();
    for (from, report) in all {
        let id = ShardId(report.shard);
        let is_newer = newest.get(&id).is_none_or(|(_, known)| {
            (report.members_index, report.commit) > (known.members_index, known.commit)
        });
        if is_newer {
            newest.insert(id, (*from, report));
        }
    }
    newest
}

/// What the metadata must be told: nodes that arrived, members that changed.
fn corrections(
    topology: &Topology,
    observed: &Observed,
    reports: &BTreeMap<ShardId, (NodeId, &ShardReport)>,
) -> Vec<Command> {
    let mut commands = Vec::new();
    for known in topology.nodes().values().filter(|known| known.state == NodeState::Joining) {
        if observed.nodes.get(&known.id).is_some_and(|seen| seen.is_up) {
            commands.push(Command::SetNodeState { node: known.id, state: NodeState::Active });
        }
    }
    for known in topology.nodes().values().filter(|known| topology.is_displaced(known.id)) {
        if topology.hosted_by(known.id).next().is_none() {
            commands.push(Command::SetNodeState { node: known.id, state: NodeState::Gone });
        }
    }
    for (id, (_, report)) in reports {
        let Some(shard) = topology.shards().get(id) else { continue };
        let replicas = replicas_of(report);
        // Also as of the same index: a change that was given up may have come about before the one that was confirmed.
        if shard.step.is_none()
            && report.members_index >= shard.conf_index.0
            && replicas != shard.replicas
        {
            let conf_index = LogIndex(report.members_index);
            commands.push(Command::SetReplicas { shard: *id, conf_index, replicas });
        }
    }
    commands
}

fn replicas_of(report: &ShardReport) -> BTreeMap<NodeId, ReplicaRole> {
    let voters = report.voters.iter().map(|id| (NodeId(*id), ReplicaRole::Voter));
    let learners = report.learners.iter().map(|id| (NodeId(*id), ReplicaRole::Learner));
    voters.chain(learners).collect()
}

/// Asks a shard's leader for a change.
async fn request(node: &Arc<Node>, leader: NodeId, step: Step) {
    let answer = if leader == node.core.me {
        Ok(control::change(node, step).await)
    } else {
        let Some(address) = node.address_of(leader) else { return };
        ask(node, &address, &Question::Change(step), OBSERVE_MAX).await
    };
    if !matches!(answer, Ok(Answer::Ok)) {
        tracing::debug!(%step, ?answer, "asked for in vain; asked again");
    }
}

async fn propose(node: &Arc<Node>, command: Command) {
    let what = format!("{command:?}");
    if let Ok(Err(answer)) =
        timeout(Duration::from_secs(2), control::propose_anywhere(node, command)).await
    {
        tracing::debug!(%what, ?answer, "not taken into the metadata; planned anew");
    }
}

#[cfg(test)]
mod tests {
    use keystead_topology::NodeRecord;

    use super::*;

    fn record(id: u64) -> NodeRecord {
        NodeRecord {
            id: NodeId(id),
            client_addr: format!("h{id}:1"),
            peer_addr: format!("h{id}:2"),
            zone: String::new(),
            incarnation: 1,
        }
    }

    /// A learner was asked for and given up; its group took it in all the same, and after it the next one, which the
    /// metadata confirmed as of that index. The first was a replica nobody knew of, and the shard was repaired for ever
    /// (seed 447490579945 of `sim --long`).
    #[test]
    fn a_replica_that_the_metadata_does_not_know_of_is_entered_though_the_index_is_known() {
        let mut topology = Topology::new();
        let shard = ShardId(1);
        let learner = |node| Step {
            shard,
            action: Action::AddLearner { node: NodeId(node), replaces: None },
        };
        let found = Command::Found { cluster_id: 1, hash_seed: 1, shards: 1, node: record(1) };
        let active = |node| Command::SetNodeState { node: NodeId(node), state: NodeState::Active };
        let commands = [
            found,
            Command::RegisterNode { node: record(2) },
            Command::RegisterNode { node: record(3) },
            active(2),
            active(3),
            Command::BeginStep(learner(2)),
            Command::AbortStep { shard, step: LogIndex(6), reason: "it is away".to_owned() },
            Command::BeginStep(learner(3)),
            Command::ConfirmStep { shard, step: LogIndex(8), conf_index: LogIndex(20) },
        ];
        for (index, command) in (1..).map(LogIndex).zip(commands) {
            topology.apply(index, command).unwrap();
        }
        let report = ShardReport {
            shard: shard.0,
            members_index: 20,
            voters: vec![1],
            learners: vec![2, 3],
            ..ShardReport::default()
        };
        let reports = BTreeMap::from([(shard, (NodeId(1), &report))]);
        let replicas = replicas_of(&report);
        let wanted = Command::SetReplicas { shard, conf_index: LogIndex(20), replicas };
        assert_eq!(
            corrections(&topology, &Observed::default(), &reports),
            std::slice::from_ref(&wanted)
        );
        topology.apply(LogIndex(10), wanted).unwrap();
        assert_eq!(corrections(&topology, &Observed::default(), &reports), []);
    }
}
