//! Sees to it that every replica that should run here has a child in the supervision tree.
//!
//! Owns: which replicas run here, the body of a replica's child, letting go of replicas that moved away.
//! Never: restarts a replica that failed; that is its supervisor's part.
//!
//! A replica's child builds it from what the log had of it (or, after a fall, has of it) and its newest
//! snapshot, hands it to its worker, and waits until it fails or is to stop. A replica that fails three
//! times in a minute stays down, named; the others go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keystead_replication::{Found, GroupInput, Identity, Inbox, Input, Replica};
use keystead_supervisor::{ChildContext, ChildError, ChildSpec};
use keystead_types::{NodeId, ShardId};
use keystead_wal::{Batch, RealDisk};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::control::{Answer, Question, ShardReport};
use crate::identity::random;
use crate::machine::NodeMachine;
use crate::membership::{ask, write_durably};
use crate::node::{KeeperEvent, Node};
use crate::snapshots;

/// Where replicas live in the tree.
pub(crate) const SHARDS: &str = "shards";
/// How long a replica may take to stop.
const STOP_MAX: Duration = Duration::from_secs(5);
/// Between two looks while no leader has said so.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a question may take.
const ASK_MAX: Duration = Duration::from_secs(1);
/// Between two looks at whether the worker runs.
const WORKER_POLL: Duration = Duration::from_millis(2);

/// The task: starts what is on disk, then what the cluster brings here.
pub(crate) async fn run(node: Arc<Node>, context: ChildContext) -> Result<(), ChildError> {
    let mut events = HeldEvents::take(&node)?;
    tokio::select! {
        outcome = live(&node, &context, &mut events) => outcome,
        () = context.shutdown() => Ok(()),
        fault = context.fault("keeper") => Err(fault.into()),
    }
}

/// The keeper's events, given back for its next incarnation however this one ends.
struct HeldEvents<'n> {
    node: &'n Node,
    events: Option<Receiver<KeeperEvent>>,
}

impl<'n> HeldEvents<'n> {
    fn take(node: &'n Node) -> Result<Self, ChildError> {
        let events = node.keeper_events.lock().take();
        let events = events.ok_or("the keeper's events are still held by its last incarnation")?;
        Ok(Self { node, events: Some(events) })
    }

    async fn recv(&mut self) -> Option<KeeperEvent> {
        self.events.as_mut()?.recv().await
    }
}

impl Drop for HeldEvents<'_> {
    fn drop(&mut self) {
        *self.node.keeper_events.lock() = self.events.take();
    }
}

async fn live(
    node: &Arc<Node>,
    context: &ChildContext,
    events: &mut HeldEvents<'_>,
) -> Result<(), ChildError> {
    let root = context.path().as_str().split('/').next().unwrap_or_default();
    let parent = format!("{root}/{SHARDS}");
    let mut here: BTreeSet<ShardId> = node.shards_here().iter().map(|shard| shard.id).collect();
    here.extend(node.groups().into_iter().map(|(id, _)| id));
    start_recovered(node, context, &parent, &mut here).await;
    let known: Vec<ShardId> = here.iter().copied().collect();
    for id in known {
        start(node, context, &parent, id).await;
    }
    context.ready();
    let mut is_undecided = false;
    loop {
        let next = if is_undecided {
            timeout(LOOK_AGAIN, events.recv()).await
        } else {
            Ok(events.recv().await)
        };
        let Some(event) = next.unwrap_or(Some(KeeperEvent::Look)) else { return Ok(()) };
        match event {
            KeeperEvent::Guest(id) if node.is_founded() && may_host(node, id) => {
                if here.insert(id) {
                    start(node, context, &parent, id).await;
                }
            }
            KeeperEvent::Guest(_) => {}
            KeeperEvent::Look => {
                start_recovered(node, context, &parent, &mut here).await;
                let (gone, undecided) = moved_away(node, &here).await;
                is_undecided = undecided > 0;
                for id in gone {
                    here.remove(&id);
                    let_go(node, context, &parent, id).await?;
                }
            }
        }
    }
}

/// Starts what the log had and nobody has started yet.
async fn start_recovered(
    node: &Arc<Node>,
    context: &ChildContext,
    parent: &str,
    here: &mut BTreeSet<ShardId>,
) {
    if node.identity().cluster == 0 {
        return;
    }
    let found: Vec<ShardId> = node.recovered.lock().keys().copied().collect();
    for id in found {
        if here.insert(id) {
            start(node, context, parent, id).await;
        }
    }
}

async fn start(node: &Arc<Node>, context: &ChildContext, parent: &str, id: ShardId) {
    let of = Arc::clone(node);
    let spec =
        ChildSpec::task(name_of(id), move |context| live_as_replica(Arc::clone(&of), id, context))
            .shutdown_grace(STOP_MAX);
    if let Err(error) = context.supervisor().add_child(parent, spec).await {
        tracing::debug!(shard = %id, %error, "the replica's child is there already");
    }
}

fn name_of(id: ShardId) -> String {
    if id.is_meta() { "metadata".to_owned() } else { format!("shard-{}", id.0) }
}

/// A peer speaks to a group that has no replica here: true unless the topology says that it is a mistake.
fn may_host(node: &Node, id: ShardId) -> bool {
    let topology = Arc::clone(&node.core.routes().topology);
    // The topology may be behind: a replica too many is let go of later, one too few holds up the shard.
    !topology.is_founded() || topology.shards().contains_key(&id)
}

/// Replicas that were moved elsewhere: the shard's own leader says so, as of a later configuration than the
/// one that the replica here has applied.
///
/// INV-N2: a replica is let go of only on its group's own word. The topology alone does not do: after a restart
/// it is replayed from the past, and a replica that is still wanted would lose what it acknowledged. What a
/// leader has applied is committed: a replica that has not come as far as its own removal has acknowledged
/// nothing behind it.
///
/// Returns them, and how many more may be: their leaders could not be asked.
async fn moved_away(node: &Arc<Node>, here: &BTreeSet<ShardId>) -> (Vec<ShardId>, usize) {
    let topology = Arc::clone(&node.core.routes().topology);
    let (mut gone, mut undecided) = (Vec::new(), 0);
    for id in here {
        let Some(shard) = topology.shards().get(id) else { continue };
        if shard.is_hosted_by(node.core.me) || shard.step.is_some() || node.group_is_down(*id) {
            continue;
        }
        let own = node.cell(*id).members();
        if own.voters.is_empty() {
            continue;
        }
        undecided += 1;
        for replica in shard.replicas.keys() {
            let Some(report) = report_of(node, *replica, *id).await else { continue };
            // The same index if the replica has applied its own removal.
            if report.excludes(node.core.me, own.index) {
                gone.push(*id);
                undecided -= 1;
                break;
            }
        }
    }
    (gone, undecided)
}

/// What a node says of a shard, if it leads it.
async fn report_of(node: &Arc<Node>, peer: NodeId, shard: ShardId) -> Option<ShardReport> {
    let address = node.address_of(peer)?;
    match ask(node, &address, &Question::Observe, ASK_MAX).await {
        Ok(Answer::Observed(reports)) => reports.into_iter().find(|report| report.shard == shard.0),
        _ => None,
    }
}

/// Stops a replica that moved away and forgets what the disk has of it.
async fn let_go(
    node: &Arc<Node>,
    context: &ChildContext,
    parent: &str,
    id: ShardId,
) -> Result<(), ChildError> {
    tracing::info!(shard = %id, "the replica has moved away");
    if let Err(error) =
        context.supervisor().remove_child(&format!("{parent}/{}", name_of(id))).await
    {
        tracing::warn!(shard = %id, %error, "the replica's child was gone already");
    }
    let mut records = Batch::new();
    records.push_removed(id);
    write_durably(node, records).await?;
    snapshots::remove_all(&node.snapshot_dir(), id);
    node.forget_shard(id);
    Ok(())
}

/// The body of a replica's child.
async fn live_as_replica(
    node: Arc<Node>,
    id: ShardId,
    context: ChildContext,
) -> Result<(), ChildError> {
    let panicked = PanicNoted { node: &node, id };
    let outcome = live_until_it_ends(panicked.node, id, &context).await;
    if let Err(error) = &outcome {
        node.core.set_down(id, Some(error.to_string()));
    }
    outcome
}

/// Tells clients why a shard is down if its child panicked and so could not say it itself.
struct PanicNoted<'n> {
    node: &'n Arc<Node>,
    id: ShardId,
}

impl Drop for PanicNoted<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.node.core.set_down(self.id, Some("it panicked".to_owned()));
        }
    }
}

async fn live_until_it_ends(
    node: &Arc<Node>,
    id: ShardId,
    context: &ChildContext,
) -> Result<(), ChildError> {
    let worker = node.core.worker_of(id).clone();
    while !worker.is_open() {
        sleep(WORKER_POLL).await;
    }
    if !node.recovered.lock().contains_key(&id) {
        // What the replica's last incarnation submitted must be on disk before the log is read for the next:
        // an empty batch that must be synced comes back behind all of it.
        write_durably(node, Batch::new()).await?;
    }
    node.cell(id).close();
    let of = Arc::clone(node);
    // Loading a snapshot and applying the log keep a core busy: not this runtime's, and not the worker's. As many at a
    // time as there are cores: the first shards are served while the last are built.
    let turn = node.builds.acquire().await?;
    let (replica, records) = tokio::task::spawn_blocking(move || build(&of, id)).await??;
    drop(turn);
    if !records.is_empty() {
        write_durably(node, records).await?;
    }
    let (sender, fallen) = oneshot::channel();
    node.exits.lock().insert(id, sender);
    worker.push(Input::Start(Box::new(replica)));
    let mut running = Running { worker: &worker, id, is_over: false };
    if !id.is_meta() {
        node.core.set_local(id, Some(node.shard(id)));
    }
    node.core.set_down(id, None);
    context.ready();
    tokio::select! {
        reason = fallen => Err(reason.unwrap_or_else(|_| "its worker ended".to_owned()).into()),
        fault = context.fault("replica") => {
            running.is_over = true;
            worker.push_for(id, GroupInput::Fail(fault.to_string()));
            Err(fault.into())
        }
        () = context.shutdown() => {
            running.is_over = true;
            let (sender, stopped) = oneshot::channel();
            worker.push(Input::Stop(id, Box::new(move || sender.send(()).unwrap_or_default())));
            drop(stopped.await);
            Ok(())
        }
    }
}

/// A replica that its worker drives for this child. If the child falls, the replica must fall with it: its
/// next incarnation starts another one.
struct Running<'w> {
    worker: &'w Inbox<NodeMachine>,
    id: ShardId,
    is_over: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // A replica that has fallen already is not there to be stopped.
            self.worker.push(Input::Stop(self.id, Box::new(|| ())));
        }
    }
}

/// Builds a replica from the newest complete snapshot and the log behind it. The metadata is left to its worker: it is
/// short, and each step of it is told to the node.
fn build(node: &Node, id: ShardId) -> Result<(Replica<NodeMachine>, Batch), ChildError> {
    let first = node.recovered.lock().remove(&id);
    let group = match first {
        Some(group) => Some(group),
        // Not the first time, or a guest: what the log has by now. Nothing of this group is on its way there,
        // since its replica is gone.
        None => keystead_wal::read_group(&RealDisk, node.data_dir(), id)?,
    };
    let cell = node.cell(id);
    let Some(group) = group else {
        let machine = snapshots::empty_machine(node, id);
        return Ok((Replica::guest(id, node.core.me, machine, cell, random()), Batch::new()));
    };
    let (machine, snapshot) = snapshots::newest(node, id)?;
    let found = Found { state: group.state, origin: group.snapshot, entries: group.entries };
    let identity = Identity { id, node: node.core.me, cell, seed: random(), snapshot };
    let mut records = Batch::new();
    let mut replica = Replica::recover(identity, machine, found, &mut records)?;
    if !id.is_meta() {
        replica.replay(node.settings.replication.memory_log_bytes)?;
    }
    Ok((replica, records))
}
