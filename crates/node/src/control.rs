//! What nodes ask each other outside of any shard's log: joining, observing, changing replicas.
//!
//! Owns: the questions and answers, as JSON, and answering them. Never: data of clients.
//! Nothing here is on the way of a command; a lost question is asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keystead_replication::{GroupInput, Members, Progress, ReplicaChange, Role};
use keystead_topology::{Action, Command, NodeRecord, Step, Topology};
use keystead_types::{LogIndex, NodeId, ShardId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::caller::CallOutcome;
use crate::door::{Access, Refusal};
use crate::membership::ask;
use crate::meta;
use crate::node::Node;

/// How long a question that waits for a log may take.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a node that wants to join may take to say its name.
const WHO_MAX: Duration = Duration::from_secs(1);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Question {
    /// Who are you, and are you in a cluster?
    Who,
    /// Let me in.
    Join {
        /// What the node says about itself.
        node: NodeRecord,
    },
    /// What do the shards that you lead look like?
    Observe,
    /// Make this change in a shard that you lead.
    Change(Step),
    /// Put this into the metadata log (asked of its leader).
    Propose(Command),
    /// What does the cluster look like, if its epoch is not this one?
    View {
        /// The epoch that the asker knows.
        applied: u64,
    },
    /// Have the shard's replicas take a digest (asked of its leader).
    TakeDigest {
        /// Which shard.
        shard: u32,
    },
    /// The digest of your replica at this index, once you have applied it.
    DigestAt {
        /// Which shard.
        shard: u32,
        /// The index.
        index: u64,
    },
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To `Who`.
    Me {
        /// The node's id.
        node: u64,
        /// Its cluster, 0 if none.
        cluster: u64,
        /// True if the leader of the metadata group is known to it.
        is_ready: bool,
    },
    /// To `Join`: you are in.
    Joined {
        /// The cluster.
        cluster: u64,
        /// Seed of all hash tables.
        hash_seed: u64,
        /// Shards, the metadata group not counted.
        shards: u32,
        /// Where the other nodes are.
        peers: Vec<(u64, String)>,
    },
    /// To `Observe`.
    Observed(Vec<ShardReport>),
    /// To `View`.
    View(Box<View>),
    /// To `TakeDigest`: they will, at this index; it is not asked here if there is none.
    DigestWillBeAt {
        /// The index.
        index: Option<u64>,
    },
    /// To `DigestAt`.
    Digest {
        /// The digest, hexadecimal; none if it was not taken.
        digest: Option<String>,
    },
    /// Done.
    Ok,
    /// It cannot be done, and was not.
    No {
        /// Why.
        reason: String,
        /// True if asking again later may help.
        is_transient: bool,
    },
}

/// A shard as its leader sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ShardReport {
    pub(crate) shard: u32,
    pub(crate) commit: u64,
    pub(crate) members_index: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    /// Node, highest index in its log, whether it answers.
    pub(crate) progress: Vec<(u64, u64, bool)>,
}

/// The cluster as the metadata leader sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct View {
    /// The topology, if the asker's is older.
    pub(crate) topology: Option<String>,
    /// True if nothing is being repaired.
    pub(crate) is_full: bool,
    /// Who leads which shard.
    pub(crate) leaders: BTreeMap<u32, u64>,
}

impl ShardReport {
    /// True if the group is without `node` by a configuration at least as new as the one of `index`.
    pub(crate) fn excludes(&self, node: NodeId, index: LogIndex) -> bool {
        let is_member = self.voters.contains(&node.0) || self.learners.contains(&node.0);
        self.members_index >= index.0 && !is_member
    }

    pub(crate) fn of(
        shard: ShardId,
        members: &Members,
        commit: LogIndex,
        progress: &[Progress],
    ) -> Self {
        let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        Self {
            shard: shard.0,
            commit: commit.0,
            members_index: members.index.0,
            voters: ids(&members.voters),
            learners: ids(&members.learners),
            progress: progress.iter().map(|p| (p.node.0, p.matched.0, p.is_active)).collect(),
        }
    }
}

impl Answer {
    pub(crate) fn no(reason: impl Into<String>) -> Self {
        Self::No { reason: reason.into(), is_transient: true }
    }

    fn never(reason: impl Into<String>) -> Self {
        Self::No { reason: reason.into(), is_transient: false }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("answers are numbers, strings and lists")
    }
}

impl Question {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("questions are numbers, strings and lists")
    }
}

/// Answers a question.
pub(crate) async fn answer(node: Arc<Node>, from: Option<NodeId>, question: &[u8]) -> Answer {
    let question = match serde_json::from_slice(question) {
        Ok(question) => question,
        Err(error) => {
            return Answer::never(format!(
                "this question is not understood ({error}); do both run the same version?"
            ));
        }
    };
    match question {
        Question::Who => who(&node),
        Question::Join { node: record } => join(&node, record).await,
        // To whoever plans it is away already: one that is there and leads nothing is given leaderships.
        Question::Observe if node.is_stopping() => Answer::no("this node stops"),
        Question::Observe => Answer::Observed(observe(&node)),
        Question::Change(step) => change(&node, step).await,
        Question::Propose(command) => propose(&node, from, command).await,
        Question::View { applied } => view(&node, applied),
        Question::TakeDigest { shard } => {
            Answer::DigestWillBeAt { index: take_digest(&node, ShardId(shard)).await }
        }
        Question::DigestAt { shard, index } => {
            let digest = digest_at(&node, ShardId(shard), LogIndex(index)).await;
            Answer::Digest { digest: digest.map(|digest| format!("{digest:032x}")) }
        }
    }
}

fn who(node: &Node) -> Answer {
    let identity = node.identity();
    let routes = node.core.routes();
    let is_ready = node.core.leader_of(ShardId::META, &routes).is_some();
    Answer::Me { node: node.core.me.0, cluster: identity.cluster, is_ready }
}

/// Lets a node in: its record goes through the metadata log, wherever that is led.
async fn join(node: &Arc<Node>, record: NodeRecord) -> Answer {
    let identity = node.identity();
    if identity.cluster == 0 {
        return Answer::no("this node is not in a cluster yet itself");
    }
    if let Err(answer) = displace(node, &record).await {
        return answer;
    }
    if let Err(answer) = propose_anywhere(node, Command::RegisterNode { node: record }).await {
        return answer;
    }
    let topology = Arc::clone(&node.core.routes().topology);
    let known = topology.nodes().values().map(|other| (other.id.0, other.peer_addr.clone()));
    let me = (node.core.me.0, node.settings.peer_address.clone());
    let peers = known.chain([me]).collect::<BTreeMap<_, _>>().into_iter().collect();
    Answer::Joined {
        cluster: identity.cluster,
        hash_seed: identity.hash_seed,
        shards: identity.shards,
        peers,
    }
}

/// A node that lost its data comes back under a new name at its old address. Whoever had the address before
/// cannot be there any more: it drains, so that its replicas are made anew, or goes if it has none yet.
async fn displace(node: &Arc<Node>, record: &NodeRecord) -> Result<(), Answer> {
    let topology = Arc::clone(&node.core.routes().topology);
    let Some((old, state)) = topology.displaced_by(record) else { return Ok(()) };
    // Only if the address really answers with the new name: two nodes may have been given one address.
    let answer = ask(node, &record.peer_addr, &Question::Who, WHO_MAX).await;
    if !matches!(answer, Ok(Answer::Me { node, .. }) if node == record.id.0) {
        return Ok(());
    }
    tracing::warn!(%old, new = %record.id, address = %record.peer_addr, "another node has come in a node's place; the old one's replicas are replaced");
    propose_anywhere(node, Command::SetNodeState { node: old, state }).await
}

async fn propose(node: &Arc<Node>, from: Option<NodeId>, command: Command) -> Answer {
    if from.is_none() {
        return Answer::never("only nodes change the metadata");
    }
    match propose_anywhere(node, command).await {
        Ok(()) => Answer::Ok,
        Err(answer) => answer,
    }
}

/// Puts a command into the metadata log, whoever leads it.
pub(crate) async fn propose_anywhere(node: &Node, command: Command) -> Result<(), Answer> {
    let call = node.caller.call(ShardId::META, &meta::encode_command(&command), Access::Write);
    match call.await {
        CallOutcome::Done(reply) if reply.first() == Some(&b'+') => Ok(()),
        CallOutcome::Done(reply) => {
            Err(Answer::never(String::from_utf8_lossy(reply.trim_ascii()).into_owned()))
        }
        CallOutcome::Refused(Refusal::NoLeader { .. }) => {
            Err(Answer::no("the metadata group has no leader now"))
        }
        CallOutcome::Refused(refusal) => Err(Answer::no(format!("{refusal:?}"))),
        CallOutcome::Unknown(_) => {
            Err(Answer::no("whether the metadata group took the command is not known"))
        }
    }
}

/// The shards that this node leads.
pub(crate) fn observe(node: &Node) -> Vec<ShardReport> {
    let led = node.groups().into_iter().filter(|(_, cell)| cell.role() == Role::Leader);
    let reports =
        led.map(|(id, cell)| ShardReport::of(id, &cell.members(), cell.commit(), &cell.progress()));
    reports.collect()
}

/// Has the shard's worker propose a change.
pub(crate) async fn change(node: &Node, step: Step) -> Answer {
    let worker = node.core.worker_of(step.shard);
    let change = match step.action {
        Action::TransferLeader { to } => {
            worker.push_for(step.shard, GroupInput::Transfer(to));
            return Answer::Ok;
        }
        Action::AddLearner { node, .. } => ReplicaChange::AddLearner(node),
        Action::Promote { node } => ReplicaChange::Promote(node),
        Action::Remove { node: gone } if gone == node.core.me => {
            return hand_over(node, step.shard, gone);
        }
        Action::Remove { node } => ReplicaChange::Remove(node),
    };
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |is_proposed| {
        // Nobody waits any more.
        sender.send(is_proposed).ok();
    });
    worker.push_for(step.shard, GroupInput::Change(change, done));
    match receiver.await {
        Ok(true) => Answer::Ok,
        Ok(false) => Answer::no("the shard's leader cannot make this change now"),
        Err(_) => Answer::no("the shard has no replica here"),
    }
}

/// A leader does not remove itself: another voter takes over first, and removes it.
fn hand_over(node: &Node, shard: ShardId, gone: NodeId) -> Answer {
    let Some(cell) = node.group(shard) else { return Answer::no("the shard has no replica here") };
    let members = cell.members();
    let heir = cell
        .progress()
        .into_iter()
        .filter(|p| p.node != gone && p.is_active && members.voters.contains(&p.node))
        .max_by_key(|p| (p.matched, p.node));
    match heir {
        Some(heir) => {
            node.core.worker_of(shard).push_for(shard, GroupInput::Transfer(heir.node));
            Answer::no("leadership is handed over first")
        }
        None => Answer::no("there is nobody to hand leadership to"),
    }
}

fn view(node: &Node, applied: u64) -> Answer {
    let topology = Arc::clone(&node.core.routes().topology);
    let view = node.view_of_cluster();
    let newer = (topology.applied().0 != applied && topology.is_founded())
        .then(|| encode_topology(&topology));
    let leaders = view.leaders.iter().map(|(shard, leader)| (shard.0, leader.0)).collect();
    Answer::View(Box::new(View { topology: newer, is_full: view.is_full, leaders }))
}

fn encode_topology(topology: &Topology) -> String {
    String::from_utf8(topology.dump()).expect("a dump is JSON")
}

/// Has all replicas of a shard that this node leads take a digest; where, or `None` if it does not lead.
pub(crate) async fn take_digest(node: &Node, shard: ShardId) -> Option<u64> {
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |index: Option<LogIndex>| {
        // Nobody waits any more.
        sender.send(index).ok();
    });
    node.core.worker_of(shard).push_for(shard, GroupInput::TakeDigest(done));
    Some(receiver.await.ok()??.0)
}

/// The digest of this node's replica at `index`, once it was applied.
pub(crate) async fn digest_at(node: &Node, shard: ShardId, index: LogIndex) -> Option<u128> {
    let cell = node.group(shard)?;
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    while cell.applied() < index && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (sender, receiver) = oneshot::channel();
    let done = Box::new(move |digest: Option<u128>| {
        // Nobody waits any more.
        sender.send(digest).ok();
    });
    node.core.worker_of(shard).push_for(shard, GroupInput::DigestAt(index, done));
    receiver.await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_topology::NodeState;

    /// INV-N2: what a leader knew before the replica came is no word to go.
    #[test]
    fn a_group_excludes_a_replica_only_as_of_a_later_configuration() {
        let report = ShardReport {
            members_index: 7,
            voters: vec![1],
            learners: vec![2],
            ..ShardReport::default()
        };
        assert!(report.excludes(NodeId(3), LogIndex(6)));
        assert!(report.excludes(NodeId(3), LogIndex(7)));
        assert!(!report.excludes(NodeId(3), LogIndex(8)), "the leader is behind");
        assert!(
            !report.excludes(NodeId(1), LogIndex(6)) && !report.excludes(NodeId(2), LogIndex(6))
        );
    }

    #[test]
    fn every_kind_of_question_and_answer_survives_the_wire() {
        let report = ShardReport {
            shard: 3,
            voters: vec![1, 2],
            progress: vec![(1, 9, true)],
            ..ShardReport::default()
        };
        let answers = [
            Answer::Me { node: 1, cluster: 2, is_ready: true },
            Answer::Joined {
                cluster: 1,
                hash_seed: u64::MAX,
                shards: 16,
                peers: vec![(1, "a:1".into())],
            },
            Answer::Observed(vec![report]),
            Answer::View(Box::new(View { leaders: [(1, 2)].into(), ..View::default() })),
            Answer::DigestWillBeAt { index: Some(7) },
            Answer::Digest { digest: None },
            Answer::Ok,
            Answer::no("not now"),
        ];
        for answer in answers {
            let bytes = answer.to_bytes();
            let again: Answer = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(again.to_bytes(), bytes);
        }
        let step = Step { shard: ShardId(4), action: Action::Promote { node: NodeId(9) } };
        let questions = [
            Question::Who,
            Question::Observe,
            Question::Change(step),
            Question::Propose(Command::SetNodeState { node: NodeId(1), state: NodeState::Active }),
            Question::View { applied: 3 },
            Question::TakeDigest { shard: 1 },
            Question::DigestAt { shard: 1, index: 2 },
        ];
        for question in questions {
            assert_eq!(serde_json::from_slice::<Question>(&question.to_bytes()).unwrap(), question);
        }
    }
}
