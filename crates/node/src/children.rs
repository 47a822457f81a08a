//! The supervision tree of a node, as far as this crate goes: what runs, in which order, how it restarts.
//!
//! Owns: the specs. Never: what the children do. Order is dependency (the root is rest_for_one):
//! log, transport, snapshots, workers, shards, control; the product puts its gateway behind them.

use std::sync::Arc;
use std::time::Duration;

use keystead_replication::transport::{FrameKind, serve};
use keystead_replication::{
    Driver, Event, Mailer, SnapshotQueue, Surroundings, Worker, write_snapshots,
};
use keystead_supervisor::{
    ChildContext, ChildError, ChildSpec, Intensity, OnExhausted, Restart, Strategy, SupervisorSpec,
};
use keystead_types::{Clock, ShardId};
use keystead_wal::{RealDisk, WalError};
use tokio::time::sleep;

use crate::node::{KeeperEvent, Node, Offer};
use crate::{keeper, libraries, membership, reconcile, snapshots, sync};

/// How long a thread may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// How often a young node looks at what it occupies, and until when: the least of it is what it needs without keys.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
const MEASURED_FOR: Duration = Duration::from_secs(60);
/// Between two rings at doors that wait for time to pass.
const PACE: Duration = Duration::from_millis(5);
/// A replica that fails more often than this within a minute stays down.
const REPLICA_FAILURES_MAX: u32 = 3;

/// Told that the log failed; must end the process.
pub type OnFatal = Arc<dyn Fn(&WalError) + Send + Sync>;

/// The node's children, in order.
#[must_use]
pub fn children(node: &Arc<Node>, on_fatal: OnFatal) -> Vec<ChildSpec> {
    let queue = SnapshotQueue::default();
    vec![
        ChildSpec::supervisor(log(node, on_fatal)),
        transport(node),
        ChildSpec::supervisor(snapshot_threads(node, &queue)),
        ChildSpec::supervisor(workers(node, &queue)),
        ChildSpec::supervisor(
            SupervisorSpec::new(keeper::SHARDS, Strategy::OneForOne)
                .intensity(intensity(REPLICA_FAILURES_MAX))
                .on_exhausted(OnExhausted::StayDown),
        ),
        ChildSpec::supervisor(control(node)),
    ]
}

fn intensity(restarts_max: u32) -> Intensity {
    Intensity { restarts_max, window: Duration::from_secs(60), ..Intensity::default() }
}

/// The log's two threads. They cannot be restarted: an fsync that failed is never tried again.
fn log(node: &Arc<Node>, on_fatal: OnFatal) -> SupervisorSpec {
    let (writer_of, preparer_of) = (Arc::clone(node), Arc::clone(node));
    let writer = ChildSpec::thread("writer", move |context| {
        let writer = writer_of
            .log_threads
            .lock()
            .writer
            .take()
            .ok_or("the log's writer cannot be started twice")?;
        let handle = writer_of.log.clone();
        context.on_shutdown(move || handle.shutdown());
        context.ready();
        writer.run(|error| on_fatal(error))?;
        Ok(())
    });
    let preparer = ChildSpec::thread("preparer", move |context| {
        let preparer = preparer_of.log_threads.lock().preparer.take();
        let preparer = preparer.ok_or("the log's preparer cannot be started twice")?;
        let handle = preparer_of.log.clone();
        context.on_shutdown(move || handle.shutdown());
        preparer.run();
        Ok(())
    });
    SupervisorSpec::new("log", Strategy::OneForAll)
        .intensity(intensity(0))
        // Whichever is stopped first ends the other: to end in order is no failure.
        .child(writer.restart(Restart::Transient).shutdown_grace(GRACE))
        .child(preparer.restart(Restart::Transient).shutdown_grace(GRACE))
}

fn transport(node: &Arc<Node>) -> ChildSpec {
    let node = Arc::clone(node);
    let body = move |context: ChildContext| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(node.peer_listener.try_clone()?)?;
            let receiver = crate::receiver::Receiver::new(Arc::clone(&node));
            context.ready();
            tokio::select! {
                ended = serve(listener, node.outbox.clone(), receiver, context.shutdown_signal()) => Ok(ended?),
                fault = context.fault("transport") => Err(ChildError::from(fault)),
            }
        })
    };
    ChildSpec::thread("transport", body).shutdown_grace(GRACE)
}

fn snapshot_threads(node: &Arc<Node>, queue: &SnapshotQueue) -> SupervisorSpec {
    let (writer_of, fetcher_of) = (Arc::clone(node), Arc::clone(node));
    let queue = queue.clone();
    let writer = ChildSpec::thread("writer", move |context| {
        let to_close = queue.clone();
        context.on_shutdown(move || to_close.close());
        let dir = writer_of.snapshot_dir();
        let inbox_of = |id| writer_of.core.worker_of(id).clone();
        let before_each = || {
            if let Err(fault) = context.fault_point("snapshot") {
                panic!("{fault}");
            }
        };
        write_snapshots(&RealDisk, &dir, &queue, inbox_of, before_each);
        Ok(())
    });
    let fetcher =
        ChildSpec::thread("fetcher", move |context| snapshots::fetch_offers(&fetcher_of, &context));
    SupervisorSpec::new("snapshots", Strategy::OneForOne)
        .intensity(intensity(10))
        .child(writer.shutdown_grace(GRACE))
        .child(fetcher.shutdown_grace(GRACE))
}

fn workers(node: &Arc<Node>, queue: &SnapshotQueue) -> SupervisorSpec {
    let mut spec = SupervisorSpec::new("workers", Strategy::OneForOne).intensity(intensity(10));
    for number in 0..node.core.workers().len() {
        let (node, queue) = (Arc::clone(node), queue.clone());
        let body = move |context: ChildContext| {
            let ended = run_worker(&node, number, &queue, &context);
            fell(&node, number);
            ended
        };
        spec =
            spec.child(ChildSpec::thread(format!("worker-{number}"), body).shutdown_grace(GRACE));
    }
    spec
}

fn run_worker(
    node: &Arc<Node>,
    number: usize,
    queue: &SnapshotQueue,
    context: &ChildContext,
) -> Result<(), ChildError> {
    /// Tells the shards of a worker that fell, also when it panicked.
    struct Falling<'a>(&'a Arc<Node>, usize);
    impl Drop for Falling<'_> {
        fn drop(&mut self) {
            fell(self.0, self.1);
        }
    }
    let _falling = Falling(node, number);
    let inbox = node.core.workers()[number].clone();
    let to_close = inbox.clone();
    let events_to = Arc::clone(node);
    let fault_in = context.clone();
    let around = Surroundings {
        inbox,
        log: node.log.clone(),
        messenger: Box::new(Mailer::new(node.outbox.clone())),
        on_event: Box::new(move |event| on_event(&events_to, event)),
        clock: Arc::clone(&node.core.clock) as Arc<dyn Clock>,
        before_turn: Box::new(move || {
            if let Err(fault) = fault_in.fault_point("turn") {
                panic!("{fault}");
            }
        }),
    };
    let driver =
        Driver::new(Worker::new(node.core.me, node.settings.replication), around, queue.clone());
    // ORDER: after the driver opened the inbox, which forgets an earlier request to close it.
    context.on_shutdown(move || to_close.close());
    context.ready();
    driver.run();
    Ok(())
}

/// A worker ended: its replicas with it.
fn fell(node: &Node, number: usize) {
    let workers = node.core.workers().len();
    let mut exits = node.exits.lock();
    let ids: Vec<ShardId> =
        exits.keys().copied().filter(|id| id.0 as usize % workers == number).collect();
    for id in ids {
        // INV-N4: a worker that panicked could not take back its replicas' leases.
        node.cell(id).close();
        if let Some(exit) = exits.remove(&id) {
            // The replica's child may have ended before.
            drop(exit.send("its worker ended".to_owned()));
        }
    }
}

/// What a worker's thread does with an event: hands it on, never waits.
fn on_event(node: &Node, event: Event) {
    match event {
        Event::LeaderChanged { group, leader } => {
            tracing::debug!(shard = %group, leader = ?leader, "another leader");
            node.core.ring_all();
            node.topology_changed.notify_waiters();
        }
        Event::ReplicaFailed { group, reason, applying } => {
            tracing::error!(shard = %group, %reason, applying = ?applying, "a replica failed");
            let exit = node.exits.lock().remove(&group);
            if let Some(exit) = exit {
                let at = applying
                    .map_or_else(String::new, |index| format!(" (applying log index {index})"));
                drop(exit.send(format!("{reason}{at}")));
            }
        }
        Event::UnknownGroup { group, .. } => drop(node.keeper.try_send(KeeperEvent::Guest(group))),
        Event::SnapshotOffered { group, from, index, term } => {
            node.offers.put(Offer { shard: group, from, index, term });
        }
        Event::ReplicasChanged { group } => {
            tracing::debug!(shard = %group, "its replicas changed");
            node.topology_changed.notify_waiters();
        }
    }
}

fn control(node: &Arc<Node>) -> SupervisorSpec {
    let (keeper_of, member_of, reconcile_of) =
        (Arc::clone(node), Arc::clone(node), Arc::clone(node));
    let (sync_of, libraries_of, pacer_of) = (Arc::clone(node), Arc::clone(node), Arc::clone(node));
    SupervisorSpec::new("control", Strategy::OneForOne)
        .intensity(intensity(20))
        .child(ChildSpec::task("keeper", move |context| {
            keeper::run(Arc::clone(&keeper_of), context)
        }))
        .child(ChildSpec::task("membership", move |context| {
            membership::run(Arc::clone(&member_of), context)
        }))
        .child(ChildSpec::task("reconcile", move |context| {
            reconcile::run(Arc::clone(&reconcile_of), context)
        }))
        .child(ChildSpec::task("sync", move |context| sync::run(Arc::clone(&sync_of), context)))
        .child(ChildSpec::task("libraries", move |context| {
            libraries::run(Arc::clone(&libraries_of), context)
        }))
        .child(ChildSpec::task("pacer", move |context| pace(Arc::clone(&pacer_of), context)))
}

/// Rings at the doors that wait for time to pass, and tells the other nodes what time it is here.
async fn pace(node: Arc<Node>, context: ChildContext) -> Result<(), ChildError> {
    // At least five times within the fifth of an election timeout that `clock` counts on.
    let tell_every = (node.settings.replication.election_timeout() / 25).max(PACE);
    let begun_at = tokio::time::Instant::now();
    let (mut told_at, mut measured_at) = (begun_at, begun_at);
    loop {
        tokio::select! {
            () = sleep(PACE) => {
                node.core.clock.follow_machine();
                node.core.tick_mailboxes();
                if begun_at.elapsed() < MEASURED_FOR && measured_at.elapsed() >= MEASURE_EVERY {
                    measured_at = tokio::time::Instant::now();
                    // It remembers what a node needs that holds nothing yet.
                    let _memory = node.memory();
                }
                if told_at.elapsed() >= tell_every {
                    told_at = tokio::time::Instant::now();
                    tell_time(&node);
                }
            }
            () = context.shutdown() => return Ok(()),
            fault = context.fault("pacer") => return Err(fault.into()),
        }
    }
}

fn tell_time(node: &Node) {
    let topology = Arc::clone(&node.core.routes().topology);
    let now = node.core.clock.unix_now().0.to_le_bytes();
    for peer in topology.nodes().keys().filter(|peer| **peer != node.core.me) {
        // A peer that is not connected is told when it is.
        let _is_taken = node.outbox.send(*peer, FrameKind::CLOCK, &now);
    }
}
