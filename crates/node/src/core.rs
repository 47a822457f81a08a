//! What every part of a node shares: who it is, where each shard is, and the ways to reach it.
//!
//! Owns: [`Core`], [`Routes`] (slot to shard to replica, as of one epoch), the leaders last heard of.
//! Never: executes a command, moves a replica. Lives as long as the process: it is the idle owner of what
//! must outlive a fallen child.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use keystead_replication::transport::FrameBatch;
use keystead_replication::{GroupCell, Inbox, Input, Role, Submission};
use keystead_topology::Topology;
use keystead_types::limits::SHARDS_MAX;
use keystead_types::{Clock, NodeId, SLOT_COUNT, ShardId, Slot};
use parking_lot::{Mutex, RwLock};

use crate::clock::NodeClock;
use crate::door::Standing;
use crate::machine::NodeMachine;
use crate::mailbox::{Letter, Mailbox};
use crate::pubsub::Bus;
use crate::shard::Shard;

/// Sends frames to other nodes: calls ([`FORWARD`](keystead_replication::transport::FrameKind::FORWARD)) and answers
/// ([`FORWARDED`](keystead_replication::transport::FrameKind::FORWARDED)).
pub trait Post: Send + Sync {
    /// Sends frames, all or none. False: certainly none was sent. True: they may or may not arrive.
    fn post(&self, to: NodeId, frames: &FrameBatch) -> bool;

    /// Bytes that wait to be sent to a node; `None` if it cannot be reached now. Where nothing ever waits, 0.
    fn backlog(&self, _to: NodeId) -> Option<usize> {
        Some(0)
    }
}

/// Which node a client is sent to when another one leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// This node forwards the command: any client works with any node.
    #[default]
    Forward,
    /// The client is answered with MOVED, as Redis Cluster does.
    Redirect,
}

/// How a node treats commands.
#[derive(Clone, Copy, Debug)]
pub struct CoreSettings {
    /// How long a command may take before its caller is told so.
    pub patience: Duration,
    /// What happens to commands for shards led elsewhere.
    pub routing: Routing,
}

impl Default for CoreSettings {
    fn default() -> Self {
        Self { patience: Duration::from_secs(5), routing: Routing::Forward }
    }
}

/// Slots, shards and replicas as of one epoch, and the replicas on this node.
#[derive(Default)]
pub(crate) struct Routes {
    /// The shard of each slot; empty before a topology is known.
    slots: Vec<ShardId>,
    /// The shards that hold keys, in slot order.
    pub(crate) shards: Arc<[ShardId]>,
    /// The replicas on this node, by shard number.
    local: Vec<Option<Arc<Shard>>>,
    /// The topology that this was made from.
    pub(crate) topology: Arc<Topology>,
}

impl Routes {
    pub(crate) fn shard_of(&self, slot: Slot) -> Option<ShardId> {
        self.slots.get(slot.index()).copied()
    }

    pub(crate) fn local(&self, shard: ShardId) -> Option<&Arc<Shard>> {
        self.local.get(shard.0 as usize)?.as_ref()
    }
}

/// See the module.
pub struct Core {
    /// This node.
    pub me: NodeId,
    /// How often it has started, as it counts on its disk.
    pub(crate) life: u64,
    /// The node's clock.
    pub clock: Arc<NodeClock>,
    /// How commands are treated.
    pub settings: CoreSettings,
    /// Frames to other nodes.
    pub(crate) post: Arc<dyn Post>,
    /// The metadata group's replica here, whether it runs or not.
    pub(crate) meta: Arc<GroupCell>,
    workers: Vec<Inbox<NodeMachine>>,
    routes: RwLock<Arc<Routes>>,
    /// Grows whenever `routes` is replaced.
    routes_version: AtomicU64,
    /// The leader last heard of, by shard number; 0: nobody.
    leaders: Vec<AtomicU64>,
    /// Why a shard's replica here stays down.
    down: Mutex<BTreeMap<ShardId, String>>,
    mailboxes: Mutex<Vec<Weak<Mailbox>>>,
    /// Messages of publishers, to and from every node.
    pub bus: Arc<Bus>,
    next_door: AtomicU32,
    /// How often a connection to a node was made or lost.
    connections: AtomicU32,
}

impl Core {
    /// A core that knows nothing of the cluster yet.
    #[must_use]
    pub fn new(
        (me, life): (NodeId, u64),
        clock: Arc<NodeClock>,
        settings: CoreSettings,
        post: Arc<dyn Post>,
        workers: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            life,
            clock,
            settings,
            bus: Bus::new(Arc::clone(&post)),
            post,
            meta: Arc::default(),
            workers: (0..workers.max(1)).map(|_| Inbox::default()).collect(),
            routes: RwLock::default(),
            routes_version: AtomicU64::new(0),
            leaders: (0..=SHARDS_MAX).map(|_| AtomicU64::new(0)).collect(),
            down: Mutex::default(),
            mailboxes: Mutex::default(),
            next_door: AtomicU32::new(0),
            connections: AtomicU32::new(0),
        })
    }

    /// The inbox of the worker that drives `shard`.
    pub(crate) fn worker_of(&self, shard: ShardId) -> &Inbox<NodeMachine> {
        &self.workers[shard.0 as usize % self.workers.len()]
    }

    pub(crate) fn workers(&self) -> &[Inbox<NodeMachine>] {
        &self.workers
    }

    /// Leaves runs with the workers here; whoever left some [`drive`](Self::drive)s.
    pub(crate) fn leave_here(&self, runs: Vec<Submission>) {
        if self.workers.len() == 1 {
            return self.workers[0].leave(Input::Submit(runs));
        }
        let mut by_worker: Vec<Vec<Submission>> = self.workers.iter().map(|_| Vec::new()).collect();
        for run in runs {
            by_worker[run.group.0 as usize % self.workers.len()].push(run);
        }
        for (inbox, runs) in self.workers.iter().zip(by_worker) {
            if !runs.is_empty() {
                inbox.leave(Input::Submit(runs));
            }
        }
    }

    /// Has the workers take in what was left with them, on this thread if they are free.
    pub(crate) fn drive(&self) {
        self.workers.iter().for_each(Inbox::drive);
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.read())
    }

    /// Looks at the routes in place. `look` must be short: whoever replaces them waits for it.
    pub(crate) fn with_routes<T>(&self, look: impl FnOnce(&Routes) -> T) -> T {
        look(&self.routes.read())
    }

    pub(crate) fn routes_version(&self) -> u64 {
        // ORDER: acquire pairs with the release in `replace_routes`.
        self.routes_version.load(Ordering::Acquire)
    }

    /// Takes over a newer topology.
    pub(crate) fn set_topology(&self, topology: Arc<Topology>) {
        self.bus.set_peers(topology.nodes().keys().copied().filter(|node| *node != self.me));
        self.replace_routes(|old| {
            let (slots, shards) = slots_of(&topology);
            Routes { slots, shards, local: old.local.clone(), topology }
        });
    }

    /// Says that this node has, or has no longer, a replica of a shard.
    pub(crate) fn set_local(&self, id: ShardId, shard: Option<Arc<Shard>>) {
        self.replace_routes(|old| {
            let mut local = old.local.clone();
            let at = id.0 as usize;
            if local.len() <= at {
                local.resize(at + 1, None);
            }
            local[at] = shard;
            Routes {
                slots: old.slots.clone(),
                shards: Arc::clone(&old.shards),
                local,
                topology: Arc::clone(&old.topology),
            }
        });
    }

    fn replace_routes(&self, make: impl FnOnce(&Routes) -> Routes) {
        let mut routes = self.routes.write();
        let new = make(&routes);
        *routes = Arc::new(new);
        self.routes_version.fetch_add(1, Ordering::Release);
        drop(routes);
        self.ring_all();
    }

    /// What the group's replica here shows of itself, if one runs.
    pub(crate) fn cell_of<'a>(
        &'a self,
        shard: ShardId,
        routes: &'a Routes,
    ) -> Option<&'a GroupCell> {
        let cell = if shard.is_meta() { &self.meta } else { &routes.local(shard)?.cell };
        Some(&**cell).filter(|cell| cell.role() != Role::Down)
    }

    /// The leader of a shard as last heard, by its replica here or by another node.
    pub(crate) fn leader_of(&self, shard: ShardId, routes: &Routes) -> Option<NodeId> {
        if let Some(leader) = self.cell_of(shard, routes).and_then(GroupCell::leader) {
            return Some(leader);
        }
        let heard = self.leaders.get(shard.0 as usize)?.load(Ordering::Relaxed);
        Some(NodeId(heard)).filter(|leader| *leader != NodeId::NONE)
    }

    /// Another node said who leads a shard.
    pub(crate) fn heard_leader(&self, shard: ShardId, leader: Option<NodeId>) {
        if let Some(heard) = self.leaders.get(shard.0 as usize) {
            heard.store(leader.map_or(0, |node| node.0), Ordering::Relaxed);
        }
    }

    /// Why a shard's replica here stays down, if it does.
    pub(crate) fn why_down(&self, shard: ShardId) -> Option<String> {
        self.down.lock().get(&shard).cloned()
    }

    pub(crate) fn set_down(&self, shard: ShardId, reason: Option<String>) {
        let mut down = self.down.lock();
        match reason {
            Some(reason) => down.insert(shard, reason),
            None => down.remove(&shard),
        };
    }

    pub(crate) fn open_mailbox(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Arc<Mailbox> {
        let mailbox = Mailbox::new(self.next_door.fetch_add(1, Ordering::Relaxed), wake);
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.retain(|other| other.strong_count() > 0);
        mailboxes.push(Arc::downgrade(&mailbox));
        mailbox
    }

    pub(crate) fn mailbox(&self, door: u32) -> Option<Arc<Mailbox>> {
        self.mailboxes.lock().iter().filter_map(Weak::upgrade).find(|mailbox| mailbox.door == door)
    }

    fn each_mailbox(&self, mut each: impl FnMut(&Mailbox)) {
        let mailboxes: Vec<_> = self.mailboxes.lock().iter().filter_map(Weak::upgrade).collect();
        for mailbox in mailboxes {
            each(&mailbox);
        }
    }

    /// Wakes every door: something that runs may wait for has changed.
    pub(crate) fn ring_all(&self) {
        self.each_mailbox(Mailbox::ring);
    }

    /// Wakes the doors that wait for time to pass. Called every few milliseconds.
    pub(crate) fn tick_mailboxes(&self) {
        // A peer that was behind may take messages again.
        self.bus.flush();
        self.look_after_copies();
        self.look_after_memory();
        self.each_mailbox(Mailbox::tick);
    }

    /// Counts what keys take, if that is limited.
    fn look_after_memory(&self) {
        let routes = self.routes();
        let sum = |of: fn(&Shard) -> u64| routes.local.iter().flatten().map(|it| of(it)).sum();
        let tables = |shard: &Shard| shard.stats().table_bytes;
        let now = self.clock.monotonic_now();
        self.bus.eviction().look(now, || sum(Shard::held_bytes), || sum(tables));
    }

    /// Has copies dropped of keys whose changes this node does not hear of.
    fn look_after_copies(&self) {
        let tracking = self.bus.tracking();
        if tracking.is_active() {
            let routes = self.routes();
            let is_lost = |id: &&ShardId| self.standing(**id, &routes) == Standing::Apart;
            let lost = routes.shards.iter().filter(is_lost).copied().collect();
            tracking.look(self.clock.monotonic_now(), lost);
        }
    }

    /// How this node hears of changes to a shard.
    pub(crate) fn standing(&self, shard: ShardId, routes: &Routes) -> Standing {
        match self.cell_of(shard, routes) {
            Some(cell) if cell.role() == Role::Leader => Standing::Leads,
            Some(cell) if cell.leader().is_some() => Standing::Follows,
            _ => Standing::Apart,
        }
    }

    /// How often a connection to a node was made or lost.
    pub(crate) fn connection_changes(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// A node can be reached again.
    pub(crate) fn peer_up(&self, peer: NodeId) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.bus.tell_settings(peer);
        self.ring_all();
    }

    /// The connection to a node broke.
    pub(crate) fn peer_down(&self, peer: NodeId) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.each_mailbox(|mailbox| {
            mailbox.put(Letter::PeerDown(peer));
            mailbox.ring();
        });
    }
}

/// The shard of each slot, and the shards in slot order.
fn slots_of(topology: &Topology) -> (Vec<ShardId>, Arc<[ShardId]>) {
    let mut ranges: Vec<_> = topology
        .shards()
        .iter()
        .filter(|(id, _)| !id.is_meta())
        .map(|(id, shard)| (shard.slots, *id))
        .collect();
    ranges.sort_by_key(|(slots, _)| slots.first);
    let mut slots = Vec::with_capacity(usize::from(SLOT_COUNT));
    for (range, id) in &ranges {
        slots.resize(usize::from(range.end), *id);
    }
    (slots, ranges.into_iter().map(|(_, id)| id).collect())
}
