//! How a node comes to belong to a cluster, and stays known to it.
//!
//! Owns: founding, joining, finding the cluster again, hearing of its topology.
//! Never: places replicas (see `reconcile`); never founds a second cluster by accident.
//!
//! ```text
//!               no --join:  found at once
//! fresh node -- --join:     ask the addresses until one is in a cluster; join it
//!               --join and --expect N: as before, but if this node is the first address and sees N fresh nodes
//!                           and nobody with a cluster: found; the others, who only ask, then join
//! ```
//! INV-M1: a node founds only if it is fresh, and with `--join` only as the first of the list.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keystead_replication::Found;
use keystead_replication::transport::{CallError, Purpose, call};
use keystead_supervisor::{ChildContext, ChildError};
use keystead_topology::{Command, NodeState, Topology, settings};
use keystead_types::{NodeId, ShardId};
use keystead_wal::{Batch, RecoveredGroup, Submission, Written};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::control::{self, Answer, Question};
use crate::identity::{Stage, random, random_id};
use crate::node::{Heard, KeeperEvent, Node};

/// Between two rounds of questions while waiting for a cluster.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Between two looks at the cluster, once in it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(2);
/// How long letting a node in may take.
const JOIN_MAX: Duration = Duration::from_secs(8);
/// Between two lines that say what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What an address answered to "who are you".
enum Who {
    Me,
    Fresh(NodeId),
    InCluster(u64),
    Nobody(String),
}

/// The task: brings the node into a cluster, then keeps it informed.
pub(crate) async fn run(node: Arc<Node>, context: ChildContext) -> Result<(), ChildError> {
    tokio::select! {
        outcome = live(&node) => outcome,
        () = context.shutdown() => Ok(()),
        fault = context.fault("membership") => Err(fault.into()),
    }
}

async fn live(node: &Arc<Node>) -> Result<(), ChildError> {
    let identity = node.identity();
    match identity.stage {
        Stage::Member => check_join(node, identity.cluster).await,
        Stage::Founding => found(node).await?,
        Stage::Fresh => enter(node).await?,
    }
    node.set_founded();
    drop(node.keeper.send(KeeperEvent::Look).await);
    loop {
        look(node).await;
        sleep(LOOK_EVERY).await;
    }
}

/// A fresh node's way into a cluster.
async fn enter(node: &Arc<Node>) -> Result<(), ChildError> {
    if node.settings.join.is_empty() {
        return found(node).await;
    }
    let mut say_at = Instant::now();
    loop {
        let mut seen = BTreeSet::new();
        let mut silent = Vec::new();
        let mut is_first = false;
        for (position, address) in node.settings.join.iter().enumerate() {
            match who(node, address).await {
                Who::Me => {
                    is_first |= position == 0;
                    seen.insert(node.core.me);
                }
                Who::Fresh(other) => {
                    seen.insert(other);
                }
                Who::InCluster(_) if join(node, address).await? => return Ok(()),
                Who::InCluster(_) => {
                    silent.push(format!("{address} (in a cluster that cannot take this node yet)"))
                }
                Who::Nobody(reason) => silent.push(format!("{address} ({reason})")),
            }
        }
        match node.settings.expect {
            // INV-M1
            Some(expected) if is_first && seen.len() >= expected => return found(node).await,
            _ => {}
        }
        if Instant::now() >= say_at {
            say_at = Instant::now() + SAY_EVERY;
            say_waiting(node, &seen, &silent);
        }
        sleep(ASK_EVERY).await;
    }
}

fn say_waiting(node: &Node, seen: &BTreeSet<NodeId>, silent: &[String]) {
    let expected = node.settings.expect.unwrap_or(0);
    if expected > 0 {
        tracing::info!(fresh_nodes = seen.len(), expected, unanswered = ?silent,
            "waiting for the nodes that found the cluster together, or for one that is in a cluster");
    } else {
        tracing::info!(fresh_nodes = seen.len(), unanswered = ?silent,
            "waiting for a node of --join that is in a cluster; to found one with these nodes, give all of them --expect");
    }
}

/// A member that was given `--join` keeps to its own cluster, and says so if the addresses name another.
async fn check_join(node: &Arc<Node>, cluster: u64) {
    for address in &node.settings.join {
        if let Who::InCluster(other) = who(node, address).await
            && other != cluster
        {
            tracing::error!(%address, "{}", crate::node::StartError::OtherCluster { cluster, other });
        }
    }
}

async fn who(node: &Node, address: &str) -> Who {
    match ask(node, address, &Question::Who, ASK_MAX).await {
        Ok(Answer::Me { node: other, .. }) if other == node.core.me.0 => Who::Me,
        Ok(Answer::Me { node: other, cluster: 0, .. }) => Who::Fresh(NodeId(other)),
        Ok(Answer::Me { cluster, .. }) => Who::InCluster(cluster),
        Ok(_) => Who::Nobody("answers something else; is it a peer address?".to_owned()),
        Err(error) => Who::Nobody(error.to_string()),
    }
}

/// Founds a cluster with this node alone in every shard. What was done already is not done again.
async fn found(node: &Arc<Node>) -> Result<(), ChildError> {
    let shards = node.settings.shards;
    let identity = node.update_identity(|identity| {
        if identity.stage == Stage::Fresh {
            identity.stage = Stage::Founding;
            identity.cluster = random_id();
            identity.hash_seed = random();
            identity.shards = shards;
        }
    })?;
    node.outbox.set_cluster(identity.cluster);
    let missing: Vec<ShardId> = {
        let recovered = node.recovered.lock();
        (0..=identity.shards)
            .map(ShardId)
            .filter(|id| !recovered.contains_key(id) && node.group_is_down(*id))
            .collect()
    };
    if !missing.is_empty() {
        let found = Found::founding(node.core.me);
        let mut records = Batch::new();
        for id in &missing {
            found.record(*id, &mut records);
        }
        write_durably(node, records).await?;
        let mut recovered = node.recovered.lock();
        for id in missing {
            let group = RecoveredGroup {
                state: found.state.clone(),
                snapshot: found.origin.clone(),
                entries: Vec::new(),
            };
            recovered.insert(id, group);
        }
    }
    node.set_founded();
    drop(node.keeper.send(KeeperEvent::Look).await);
    let command = Command::Found {
        cluster_id: identity.cluster,
        hash_seed: identity.hash_seed,
        shards: identity.shards,
        node: node.record(),
    };
    while !node.core.routes().topology.is_founded() {
        if let Err(answer) = control::propose_anywhere(node, command.clone()).await {
            tracing::debug!(?answer, "the founding is proposed again");
            sleep(ASK_EVERY).await;
        }
    }
    found_settings(node).await;
    node.update_identity(|identity| identity.stage = Stage::Member)?;
    tracing::info!(
        cluster = format!("{:012x}", identity.cluster),
        shards = identity.shards,
        "founded a cluster"
    );
    Ok(())
}

/// Gives the new cluster the settings that its founder was started with, where they are not the usual ones.
async fn found_settings(node: &Arc<Node>) {
    let number = settings::REPLACE_AFTER_MS;
    let value = u64::try_from(node.settings.replace_after.as_millis()).unwrap_or(u64::MAX);
    while number.of(&node.core.routes().topology) != value {
        let command =
            Command::SetSetting { name: number.name.to_owned(), value: Some(value.to_string()) };
        if let Err(answer) = control::propose_anywhere(node, command).await {
            if matches!(answer, Answer::No { is_transient: false, .. }) {
                tracing::warn!(?answer, setting = number.name, "the cluster keeps the usual value");
                return;
            }
            tracing::debug!(?answer, "a setting of the founding is proposed again");
        }
        sleep(ASK_EVERY).await;
    }
}

/// Puts records into the node's log and waits until they are on disk.
pub(crate) async fn write_durably(node: &Node, batch: Batch) -> Result<(), ChildError> {
    let (sender, receiver) = oneshot::channel();
    let sender = parking_lot::Mutex::new(Some(sender));
    let done = Arc::new(move |_: Written| {
        if let Some(sender) = sender.lock().take() {
            // Nobody waits any more.
            sender.send(()).ok();
        }
    });
    node.log.submit(Submission { batch, must_sync: true, token: 0, done }).map_err(|refused| {
        format!("the log does not take the founding's records: {:?}", refused.reason)
    })?;
    receiver.await.map_err(|_| "the log ended before the founding's records were written".into())
}

/// Asks a node of a cluster to be let in. False: not now.
async fn join(node: &Arc<Node>, address: &str) -> Result<bool, ChildError> {
    match ask(node, address, &Question::Join { node: node.record() }, JOIN_MAX).await {
        Ok(Answer::Joined { cluster, hash_seed, shards, peers }) => {
            let me = node.core.me.0;
            node.update_identity(|identity| {
                identity.stage = Stage::Member;
                identity.cluster = cluster;
                identity.hash_seed = hash_seed;
                identity.shards = shards;
                identity.peers = peers.iter().filter(|(id, _)| *id != me).cloned().collect();
            })?;
            node.outbox.set_cluster(cluster);
            for (peer, address) in peers.iter().filter(|(id, _)| *id != me) {
                node.outbox.set_peer(NodeId(*peer), address);
            }
            tracing::info!(cluster = format!("{cluster:012x}"), %address, "joined a cluster");
            Ok(true)
        }
        Ok(Answer::No { reason, is_transient: false }) => {
            Err(format!("{address} does not let this node in: {reason}").into())
        }
        Ok(answer) => {
            tracing::debug!(%address, ?answer, "not let in yet");
            Ok(false)
        }
        Err(error) => {
            tracing::debug!(%address, %error, "not let in yet");
            Ok(false)
        }
    }
}

/// One look at the cluster: hears its topology and leaders, and makes itself known if it has changed.
async fn look(node: &Arc<Node>) {
    if !node.leads_meta() {
        hear(node).await;
    }
    let topology = Arc::clone(&node.core.routes().topology);
    remember_peers(node, &topology);
    let record = node.record();
    let known = topology.nodes().get(&record.id);
    let is_known = known.is_some_and(|known| {
        known.client_addr == record.client_addr
            && known.peer_addr == record.peer_addr
            && known.zone == record.zone
            && known.incarnation == record.incarnation
            || known.state == NodeState::Gone
    });
    if topology.is_founded() && !is_known {
        let proposed = timeout(
            ASK_MAX,
            control::propose_anywhere(node, Command::RegisterNode { node: record }),
        )
        .await;
        if let Ok(Err(answer)) = proposed {
            tracing::warn!(?answer, "this node's addresses could not be made known");
        }
    }
}

/// Keeps on disk where the other nodes are: a node without a replica of the metadata group has nobody else to ask for
/// them when it comes back.
fn remember_peers(node: &Node, topology: &Topology) {
    let others = topology.nodes().values();
    let others = others.filter(|other| other.id != node.core.me && other.state != NodeState::Gone);
    let peers: Vec<(u64, String)> =
        others.map(|other| (other.id.0, other.peer_addr.clone())).collect();
    // What was known stays, as long as nothing else is.
    if peers.is_empty() || node.identity().peers == peers {
        return;
    }
    if let Err(error) = node.update_identity(|identity| identity.peers = peers) {
        tracing::warn!(%error, "the addresses of the other nodes are not kept");
    }
}

/// Asks the metadata leader, or whoever answers, what the cluster looks like.
async fn hear(node: &Arc<Node>) {
    let routes = node.core.routes();
    let applied = routes.topology.applied().0;
    let leader = node.core.leader_of(ShardId::META, &routes);
    let heard = leader.or_else(|| node.heard.read().leaders.get(&ShardId::META).copied());
    let known =
        routes.topology.nodes().values().map(|other| other.id).filter(|id| *id != node.core.me);
    let mut candidates: Vec<NodeId> = heard.into_iter().filter(|id| *id != node.core.me).collect();
    candidates.extend(known);
    candidates.extend(node.identity().peers.iter().map(|(id, _)| NodeId(*id)));
    for peer in candidates.into_iter().take(4) {
        let Some(address) = node.address_of(peer) else { continue };
        if let Ok(Answer::View(view)) =
            ask(node, &address, &Question::View { applied }, ASK_MAX).await
        {
            let leaders =
                view.leaders.iter().map(|(shard, leader)| (ShardId(*shard), NodeId(*leader)));
            let leaders: BTreeMap<_, _> = leaders.collect();
            *node.heard.write() = Arc::new(Heard { is_full: view.is_full, leaders });
            let newer = view.topology.and_then(|dump| Topology::load(dump.as_bytes()).ok());
            if let Some(topology) = newer {
                node.take_topology(Arc::new(topology));
            }
            return;
        }
    }
    // Nobody answers: whether all replicas are level is not known.
    let mut heard = Heard::clone(&node.heard.read());
    heard.is_full = false;
    *node.heard.write() = Arc::new(heard);
}

/// Asks a node a question.
pub(crate) async fn ask(
    node: &Node,
    address: &str,
    question: &Question,
    within: Duration,
) -> Result<Answer, AskError> {
    let hello = node.outbox.hello(Purpose::Call, NodeId::NONE);
    let reply: Bytes = call(address, &hello, &question.to_bytes(), within).await?;
    Ok(serde_json::from_slice(&reply)?)
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer is not understood ({0}); do both nodes run the same version?")]
    Answer(#[from] serde_json::Error),
}

impl Node {
    /// Where a node listens for others, as far as is known.
    pub(crate) fn address_of(&self, peer: NodeId) -> Option<String> {
        let topology = Arc::clone(&self.core.routes().topology);
        if let Some(known) = topology.nodes().get(&peer) {
            return Some(known.peer_addr.clone());
        }
        self.identity()
            .peers
            .iter()
            .find(|(id, _)| *id == peer.0)
            .map(|(_, address)| address.clone())
    }

    /// True if no replica of the group runs here.
    pub(crate) fn group_is_down(&self, id: ShardId) -> bool {
        self.group(id).is_none_or(|cell| cell.role() == keystead_replication::Role::Down)
    }

    /// Takes over a topology, if it is newer than the one known.
    pub(crate) fn take_topology(&self, topology: Arc<Topology>) {
        let known = Arc::clone(&self.core.routes().topology);
        if topology.applied() <= known.applied() && known.is_founded() {
            return;
        }
        for other in topology.nodes().values() {
            if other.id != self.core.me && other.state != NodeState::Gone {
                self.outbox.set_peer(other.id, &other.peer_addr);
            }
        }
        let is_news = topology.epoch() != known.epoch();
        self.core.set_topology(topology);
        self.topology_changed.notify_waiters();
        if is_news {
            // Full: the keeper has work enough and looks at the topology when it is done.
            drop(self.keeper.try_send(KeeperEvent::Look));
        }
    }
}
