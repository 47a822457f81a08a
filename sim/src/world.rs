//! The world around the nodes: time, hosts, and one queue of all that is going to happen.
//!
//! Owns: the queue, carrying out what processes ask for. Never: decides what goes wrong (`nemesis`), what clients ask
//! (`workload`), where replicas belong (`control`), whether it was right (`checks`, `workload`).
//!
//! Everything follows from the seed: the queue is ordered by time and then by arrival, and chance is drawn from one
//! source in the order of the queue.

use std::cmp::Ordering as Order;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use keystead_node::simulation::PartsSettings;
use keystead_replication::transport::FrameKind;
use keystead_types::{NodeId, ShardId};
use keystead_wal::MemoryDisk;

use crate::checks::{Checks, Shadow};
use crate::clock::SimClock;
use crate::control::Control;
use crate::coverage::{Coverage, Event};
use crate::net::Net;
use crate::process::Process;
use crate::rng::Rng;
use crate::scenario::{MS, Scenario};
use crate::trace::Trace;
use crate::workload::Workload;

/// Room on a host's disk, bytes: far more than a scenario writes.
pub const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// Something that happens at a moment. What names a life is void in another one.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields say it")]
pub enum Happening {
    /// A worker's turn.
    Turn(NodeId, u64),
    /// The gateway passes outcomes and submissions on.
    Pump(NodeId, u64),
    /// What the product's pacer does every few milliseconds.
    Pace(NodeId, u64),
    /// Once in a while: idle work of the log.
    KeepLog(NodeId, u64),
    /// The log's queue is written.
    WriteLog(NodeId, u64),
    /// What was written is synced.
    SyncLog(NodeId, u64),
    /// The snapshot writer does a piece of work.
    WriteSnapshot(NodeId, u64),
    /// A message of Raft or of the clock arrives.
    Message { to: NodeId, from: NodeId, kind: FrameKind, payload: Bytes },
    /// A call or an answer arrives on a connection.
    Called { to: NodeId, from: NodeId, epoch: u64, kind: FrameKind, payload: Bytes },
    /// A cut connection was silent for so long that it is given up.
    Silence { from: NodeId, to: NodeId, epoch: u64 },
    /// Somebody tries to connect.
    Dial { from: NodeId, to: NodeId },
    /// A node is asked for a piece of a snapshot.
    ChunkAsked { to: NodeId, from: NodeId, life: u64, number: u64, request: Vec<u8> },
    /// The piece comes.
    ChunkCame { to: NodeId, life: u64, number: u64, reply: Bytes },
    /// It did not.
    ChunkTimeout { to: NodeId, life: u64, number: u64 },
    /// A host starts its node.
    Start(NodeId),
    /// A replica that fell is built anew.
    Rebuild(NodeId, u64, ShardId),
    /// Bytes of a client arrive at a node.
    ToNode { client: usize, epoch: u64, node: NodeId, life: u64, connection: u32, bytes: Vec<u8> },
    /// Bytes of a node arrive at a client.
    ToClient { client: usize, epoch: u64, bytes: Vec<u8> },
    /// A client does something.
    Client(usize, u64),
    /// A client has waited long enough.
    ClientTimeout(usize, u64),
    /// The time for which a client waits is over, unless it has sent something since.
    WaitOver(usize, u64),
    /// The metadata group's leader looks at the cluster.
    Control,
    /// Something goes wrong.
    Nemesis,
    /// A process that flaps ends once more, and so many times after that.
    Flap(NodeId, u64),
    /// The voter that a leader counts on restarts unseen.
    Spring { leader: NodeId, voter: NodeId },
    /// Something that went wrong ends.
    Heal(Vec<(NodeId, NodeId)>),
}

struct Due {
    at: u64,
    number: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest, as a heap wants it.
    fn cmp(&self, other: &Self) -> Order {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// A machine: what outlives its process.
pub struct Host {
    /// Its place in the cluster; its address.
    pub place: u64,
    /// Its disk.
    pub disk: MemoryDisk,
    /// Its clock.
    pub clock: Arc<SimClock>,
    /// The node, if it runs.
    pub process: Option<Process>,
    /// Counts lives.
    pub life: u64,
    /// Until when its process stands still.
    pub paused_until: u64,
    /// How much slower its disk is.
    pub disk_slow_us: u64,
    /// What its disk has for certain.
    pub shadow: Shadow,
    /// True if a bit of its disk was flipped since it last started: refusing it is right then.
    pub is_rotten: bool,
}

/// See the module.
pub struct World {
    /// What is played.
    pub scenario: Scenario,
    /// The world's time, microseconds.
    pub now_us: u64,
    world_us: Arc<AtomicU64>,
    /// The one source of chance.
    pub rng: Rng,
    /// Every host, by the id of the node on it.
    pub hosts: BTreeMap<NodeId, Host>,
    /// The network.
    pub net: Net,
    /// The clients.
    pub workload: Workload,
    /// The metadata leaders' loops.
    pub control: Control,
    /// What must hold.
    pub checks: Checks,
    /// What was put to the test.
    pub coverage: Coverage,
    /// What happened.
    pub trace: Trace,
    /// True while things go wrong.
    pub is_stormy: bool,
    /// Objects that are yet to be compared with what is there.
    pub finals: BTreeSet<usize>,
    /// Digests that were taken in the storm.
    pub digests_taken: crate::rest::DigestsTaken,
    /// The next node's id.
    pub next_node: u64,
    queue: BinaryHeap<Due>,
    next_number: u64,
}

impl World {
    /// A world as the scenario has it, of which the first node has founded every group.
    #[must_use]
    pub fn new(scenario: Scenario, trace: Trace) -> Self {
        let mut world = Self {
            now_us: 0,
            world_us: Arc::default(),
            rng: Rng::new(scenario.seed),
            hosts: BTreeMap::new(),
            net: Net::default(),
            workload: Workload::default(),
            control: Control::default(),
            checks: Checks::default(),
            coverage: Coverage::default(),
            trace,
            is_stormy: false,
            finals: BTreeSet::new(),
            digests_taken: crate::rest::DigestsTaken::default(),
            next_node: 1,
            queue: BinaryHeap::new(),
            next_number: 0,
            scenario,
        };
        for place in 1..=world.scenario.hosts as u64 {
            world.add_host(place);
        }
        world.found();
        for id in world.ids() {
            world.after(0, Happening::Start(id));
        }
        world.after(0, Happening::Control);
        world
    }

    /// A machine with an empty disk at a place; the node that it will be.
    pub fn add_host(&mut self, place: u64) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        let rate = self.rng.between(950, 1_050);
        let host = Host {
            place,
            disk: MemoryDisk::new(DISK_BYTES),
            clock: SimClock::new(Arc::clone(&self.world_us), place, rate),
            process: None,
            life: 0,
            paused_until: 0,
            disk_slow_us: 0,
            shadow: Shadow::default(),
            is_rotten: false,
        };
        self.hosts.insert(id, host);
        id
    }

    /// Every host's node, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    /// The nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<NodeId> {
        let running = self.hosts.iter().filter(|(_, host)| host.process.is_some());
        running.map(|(id, _)| *id).collect()
    }

    /// A node's process, if it runs.
    pub fn process(&mut self, id: NodeId) -> Option<&mut Process> {
        self.hosts.get_mut(&id)?.process.as_mut()
    }

    /// A node's process, if it is still in the life that something was meant for.
    pub fn alive(&mut self, id: NodeId, life: u64) -> Option<&mut Process> {
        let host = self.hosts.get_mut(&id)?;
        if host.life == life { host.process.as_mut() } else { None }
    }

    /// Plans something.
    pub fn after(&mut self, delay_us: u64, what: Happening) {
        self.at(self.now_us + delay_us, what);
    }

    /// Plans something.
    pub fn at(&mut self, at: u64, what: Happening) {
        let number = self.next_number;
        self.next_number += 1;
        self.queue.push(Due { at: at.max(self.now_us), number, what });
    }

    /// Runs for so long.
    pub fn run_for(&mut self, us: u64) {
        let until = self.now_us + us;
        while self.step(until) {}
        self.set_now(until);
    }

    /// Runs until `is_done`, looking every few events; panics if that takes longer than `us`.
    pub fn run_until(&mut self, what: &str, us: u64, mut is_done: impl FnMut(&mut Self) -> bool) {
        let until = self.now_us + us;
        while !is_done(self) {
            let look_at = until.min(self.now_us + 10 * MS * self.scenario.scale);
            while self.step(look_at) {}
            self.set_now(look_at);
            assert!(
                self.now_us < until,
                "liveness: {what} did not come about within {} s of calm:\n{}",
                us / 1_000_000,
                self.describe()
            );
        }
    }

    fn set_now(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.world_us.store(now_us, Ordering::Relaxed);
    }

    fn step(&mut self, until: u64) -> bool {
        if self.queue.peek().is_none_or(|due| due.at > until) {
            return false;
        }
        let Some(due) = self.queue.pop() else { return false };
        self.set_now(due.at);
        if let Some(later) = self.held_up(&due.what) {
            self.at(later, due.what);
            return true;
        }
        self.happens(due.what);
        true
    }

    /// Until when the process concerned stands still, if it does.
    fn held_up(&self, what: &Happening) -> Option<u64> {
        use Happening as H;
        let node = match what {
            H::Turn(node, _)
            | H::Pump(node, _)
            | H::Pace(node, _)
            | H::KeepLog(node, _)
            | H::WriteLog(node, _)
            | H::SyncLog(node, _)
            | H::WriteSnapshot(node, _)
            | H::Rebuild(node, ..)
            | H::Message { to: node, .. }
            | H::Called { to: node, .. }
            | H::ChunkAsked { to: node, .. }
            | H::ChunkCame { to: node, .. }
            | H::ToNode { node, .. } => node,
            _ => return None,
        };
        let until = self.hosts.get(node)?.paused_until;
        (until > self.now_us).then_some(until)
    }

    fn happens(&mut self, what: Happening) {
        use Happening as H;
        match what {
            H::Turn(node, life) => self.turn(node, life),
            H::Pump(node, life) => self.pump(node, life),
            H::Pace(node, life) => self.pace(node, life),
            H::KeepLog(node, life) => self.keep_log(node, life),
            H::WriteLog(node, life) => self.write_log(node, life),
            H::SyncLog(node, life) => self.sync_log(node, life),
            H::WriteSnapshot(node, life) => self.write_snapshot(node, life),
            H::Message { to, from, kind, payload } => self.message(to, from, kind, payload),
            H::Called { to, from, epoch, kind, payload } => {
                self.called(to, from, epoch, (kind, payload));
            }
            H::Silence { from, to, epoch } => self.silence(from, to, epoch),
            H::Dial { from, to } => self.dial(from, to),
            H::ChunkAsked { to, from, life, number, request } => {
                self.chunk_asked(to, (from, life, number), &request);
            }
            H::ChunkCame { to, life, number, reply } => self.chunk_came(to, life, number, reply),
            H::ChunkTimeout { to, life, number } => self.chunk_timeout(to, life, number),
            H::Start(node) => self.start(node),
            H::Rebuild(node, life, shard) => self.rebuild(node, life, shard),
            H::ToNode { client, epoch, node, life, connection, bytes } => {
                self.bytes_at_node((client, epoch), (node, life, connection), &bytes);
            }
            H::ToClient { client, epoch, bytes } => self.bytes_at_client(client, epoch, &bytes),
            H::Client(client, epoch) => self.client(client, epoch),
            H::ClientTimeout(client, epoch) => self.client_timeout(client, epoch),
            H::WaitOver(client, batch) => self.wait_over(client, batch),
            H::Control => self.control(),
            H::Nemesis => self.nemesis(),
            H::Flap(node, left) => self.flap(node, left),
            H::Spring { leader, voter } => self.spring(leader, voter),
            H::Heal(pairs) => self.heal(&pairs),
        }
    }

    /// The settings of every node.
    #[must_use]
    pub fn parts_settings(&self) -> PartsSettings {
        PartsSettings {
            replication: self.scenario.replication,
            core: self.scenario.core,
            hash_seed: self.scenario.seed ^ 0x4a5,
        }
    }

    /// A delay that is drawn, of up to so many microseconds.
    pub fn soon(&mut self, us: u64) -> u64 {
        1 + self.rng.below(us)
    }

    /// Counts and notes something.
    pub fn count(&mut self, event: Event) {
        self.coverage.count(event);
        self.trace.note(event as u64 ^ self.now_us << 8);
    }

    /// The groups that exist.
    pub fn groups(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..=self.scenario.shards).map(ShardId)
    }

    /// The node that leads a group in the highest term, as far as the replicas say.
    #[must_use]
    pub fn leader(&self, group: ShardId) -> Option<NodeId> {
        let cells = self.hosts.iter().filter_map(|(id, host)| {
            let cell = host.process.as_ref()?.parts.cell(group)?;
            (cell.role() == keystead_replication::Role::Leader).then(|| (cell.term(), *id))
        });
        cells.max().map(|(_, id)| id)
    }

    /// The places at which a host stands.
    #[must_use]
    pub fn places(&self) -> BTreeSet<u64> {
        self.hosts.values().map(|host| host.place).collect()
    }
}
