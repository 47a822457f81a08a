//! Brings the cluster to what it should be: the metadata leader's loop.
//!
//! Owns: gathering what is observed, carrying out the steps that `topology::plan` names, and recording
//! them in the metadata log. Never: decides what the steps are. Runs on every node, acts on the one
//! that leads the metadata group; its memory is only about timing, so any node can take over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keystead_supervisor::{ChildContext, ChildError};
use keystead_topology::{
    Action, Command, NodeState, Observed, ObservedNode, ObservedShard, ReplicaRole, Replication,
    Shard, Step, Topology, plan,
};
use keystead_types::{Clock, LogIndex, Monotonic, NodeId, ShardId};
use tokio::time::{Instant, sleep, timeout};

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
struct Memory {
    /// Since when each node has not answered.
    away_since: BTreeMap<NodeId, Monotonic>,
    /// What each shard had committed at the last look: who has that is level.
    committed: BTreeMap<ShardId, u64>,
    /// When each step was first seen, and last asked for.
    steps: BTreeMap<(ShardId, LogIndex), (Instant, Instant)>,
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

/// One round: look, record what is seen, carry on with what was begun, begin what is planned.
async fn round(node: &Arc<Node>, memory: &mut Memory) -> bool {
    let topology = Arc::clone(&node.core.routes().topology);
    if !topology.is_founded() {
        return false;
    }
    let reports = observe_all(node, &topology, memory).await;
    let observed = digest_reports(node, &topology, &reports, memory);
    let replication = observed.replication(&topology);
    let is_full = replication == Replication::Full;
    let leaders =
        observed.shards.iter().filter_map(|(id, seen)| Some((*id, seen.leader?))).collect();
    *node.heard.write() = Arc::new(Heard { is_full, leaders });
    let mut is_busy = !is_full;
    for command in corrections(&topology, &observed, &reports) {
        is_busy = true;
        propose(node, command).await;
    }
    for shard in topology.shards().values().filter(|shard| shard.step.is_some()) {
        is_busy = true;
        carry_on(node, shard, &observed, &reports, memory).await;
    }
    memory.steps.retain(|(shard, id), _| {
        topology
            .shards()
            .get(shard)
            .is_some_and(|shard| shard.step.is_some_and(|step| step.id == *id))
    });
    for step in plan(&topology, &observed) {
        is_busy = true;
        tracing::info!(%step, "begins");
        propose(node, Command::BeginStep(step)).await;
    }
    is_busy
}

/// Asks every node what the shards it leads look like.
async fn observe_all(
    node: &Arc<Node>,
    topology: &Topology,
    memory: &mut Memory,
) -> BTreeMap<ShardId, (NodeId, ShardReport)> {
    let mut all: Vec<(NodeId, ShardReport)> = Vec::new();
    all.extend(control::observe(node).into_iter().map(|report| (node.core.me, report)));
    let others = topology
        .nodes()
        .values()
        .filter(|other| other.id != node.core.me && other.state != NodeState::Gone);
    // At the address of a displaced node its successor would answer.
    let (displaced, others): (Vec<_>, Vec<_>) =
        others.partition(|other| topology.is_displaced(other.id));
    for other in displaced {
        let now = node.core.clock.monotonic_now();
        memory.away_since.entry(other.id).or_insert(now);
    }
    for other in others {
        let asked = ask(node, &other.peer_addr, &Question::Observe, OBSERVE_MAX).await;
        match asked {
            Ok(Answer::Observed(reports)) => {
                memory.away_since.remove(&other.id);
                all.extend(reports.into_iter().map(|report| (other.id, report)));
            }
            _ => {
                let now = node.core.clock.monotonic_now();
                memory.away_since.entry(other.id).or_insert(now);
            }
        }
    }
    // Two may believe that they lead: the later membership, then the longer log, is nearer the truth.
    let mut newest: BTreeMap<ShardId, (NodeId, ShardReport)> = BTreeMap::new();
    for (from, report) in all {
        let id = ShardId(report.shard);
        let is_newer = newest.get(&id).is_none_or(|(_, known)| {
            (report.members_index, report.commit) > (known.members_index, known.commit)
        });
        if is_newer {
            newest.insert(id, (from, report));
        }
    }
    newest
}

fn digest_reports(
    node: &Node,
    topology: &Topology,
    reports: &BTreeMap<ShardId, (NodeId, ShardReport)>,
    memory: &mut Memory,
) -> Observed {
    let now = node.core.clock.monotonic_now();
    let mut observed = Observed::default();
    for id in topology.nodes().keys() {
        let away_ms = memory.away_since.get(id).map_or(0, |since| now.since(*since).as_millis());
        let away_ms = u64::try_from(away_ms).unwrap_or(u64::MAX);
        observed
            .nodes
            .insert(*id, ObservedNode { is_up: !memory.away_since.contains_key(id), away_ms });
    }
    for (id, (leader, report)) in reports {
        let level = memory.committed.insert(*id, report.commit).unwrap_or(u64::MAX);
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

/// What the metadata must be told: nodes that arrived, members that changed.
fn corrections(
    topology: &Topology,
    observed: &Observed,
    reports: &BTreeMap<ShardId, (NodeId, ShardReport)>,
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
        if shard.step.is_none()
            && report.members_index > shard.conf_index.0
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

/// Confirms a step that is seen done; asks for it (again) if it is not; gives it up after a while.
async fn carry_on(
    node: &Arc<Node>,
    shard: &Shard,
    observed: &Observed,
    reports: &BTreeMap<ShardId, (NodeId, ShardReport)>,
    memory: &mut Memory,
) {
    let Some(step) = shard.step else { return };
    let now = Instant::now();
    let (first, last) = *memory.steps.entry((shard.id, step.id)).or_insert((now, now - STEP_AGAIN));
    if let Some((leader, report)) = reports.get(&shard.id) {
        let is_done = match step.action {
            Action::AddLearner { node, .. } => {
                report.learners.contains(&node.0) || report.voters.contains(&node.0)
            }
            Action::Promote { node } => report.voters.contains(&node.0),
            Action::Remove { node } => {
                !report.voters.contains(&node.0) && !report.learners.contains(&node.0)
            }
            Action::TransferLeader { to } => *leader == to,
        };
        if is_done {
            tracing::info!(shard = %shard.id, action = %step.action, "done");
            let conf_index = LogIndex(report.members_index);
            return propose(
                node,
                Command::ConfirmStep { shard: shard.id, step: step.id, conf_index },
            )
            .await;
        }
    }
    let is_hopeless = now - first > STEP_MAX
        || matches!(step.action, Action::TransferLeader { .. }) && now - first > 3 * STEP_AGAIN
        || matches!(step.action, Action::AddLearner { node, .. } if !observed.nodes.get(&node).is_some_and(|seen| seen.is_up));
    if is_hopeless {
        let reason = format!("not seen done after {} ms", (now - first).as_millis());
        tracing::warn!(shard = %shard.id, action = %step.action, "given up, to be planned anew");
        return propose(node, Command::AbortStep { shard: shard.id, step: step.id, reason }).await;
    }
    if now - last >= STEP_AGAIN
        && let Some((leader, _)) = reports.get(&shard.id)
    {
        memory.steps.insert((shard.id, step.id), (first, now));
        request(node, *leader, Step { shard: shard.id, action: step.action }).await;
    }
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
