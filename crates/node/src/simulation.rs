//! The parts of a node that need neither thread nor socket, put together for a simulator.
//!
//! Owns: [`Parts`]: a core, one worker, the shards, the way of frames, as `node`, `keeper` and `receiver` put them
//! together around threads and tasks. Never: decides anything that those decide; what they do with a runtime
//! (membership, reconcile, supervision) the simulator does itself. Only there with the feature `simulation`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use keystead_replication::simulation::{Asked, Gauges, InlineWorker, SnapshotTold};
use keystead_replication::snapshot_file::{self, ChunkReply, ChunkRequest};
use keystead_replication::transport::FrameKind;
use keystead_replication::{
    FetchedState, Found, GroupCell, GroupInput, Identity, Input, RecoveryError, Replica,
    ReplicaChange, Role, Settings, Worker,
};
use keystead_store::StoreConfig;
use keystead_topology::{Action, Command, Step, Topology};
use keystead_types::{Clock, DatabaseId, LogIndex, Monotonic, NodeId, ShardId};
use keystead_wal::{Batch, Disk, RecoveredGroup};

use crate::clock::NodeClock;
use crate::control::ShardReport;
use crate::core::{Core, CoreSettings, Post};
use crate::door::{Access, Door, Run, Ticket};
use crate::execute::NodeDoor;
use crate::machine::{Loaded, NodeMachine};
use crate::meta::{self, MetaMachine, OnTopology};
use crate::receiver::Frames;
use crate::reconcile::{self, Memory, Seen};
use crate::shard::{Shard, ShardMachine};
use crate::snapshots::{LoadError, load_file};
use crate::status::Status;
use crate::tracking::Origin;

/// How a node is set up.
#[derive(Clone, Copy, Debug)]
pub struct PartsSettings {
    /// How its groups behave.
    pub replication: Settings,
    /// How it treats commands.
    pub core: CoreSettings,
    /// Seed of its hash tables, the same in the whole cluster.
    pub hash_seed: u64,
}

/// A replica to be built.
#[derive(Debug)]
pub struct ReplicaStart {
    /// Of which group.
    pub id: ShardId,
    /// What the log has of it; `None`: a guest.
    pub group: Option<RecoveredGroup>,
    /// For its random source.
    pub seed: u64,
}

/// Why a replica cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its snapshot cannot be listed.
    #[error(transparent)]
    Snapshots(#[from] snapshot_file::SnapshotError),
    /// Its snapshot cannot be loaded.
    #[error("the snapshot cannot be loaded: {0}")]
    Load(Box<dyn std::error::Error + Send + Sync>),
    /// Its log does not fit.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Load(Box::new(error))
    }
}

/// See the module.
pub struct Parts {
    core: Arc<Core>,
    settings: PartsSettings,
    frames: Frames,
    worker: InlineWorker<NodeMachine>,
    shards: BTreeMap<ShardId, Arc<Shard>>,
    /// Puts commands into the metadata log.
    control: NodeDoor,
}

impl Parts {
    /// A node that has no replica yet, in its life of that number.
    #[must_use]
    pub fn new(
        life: (NodeId, u64),
        settings: PartsSettings,
        clock: Arc<dyn Clock>,
        post: Arc<dyn Post>,
    ) -> Self {
        let me = life.0;
        let core = Core::new(life, Arc::new(NodeClock::new(clock)), settings.core, post, 1);
        let worker = Worker::new(me, settings.replication);
        let worker = InlineWorker::new(worker, core.workers()[0].clone());
        let frames = Frames::new(Arc::clone(&core));
        let control = door_of(&core, Arc::new(|| {}));
        Self { core, settings, frames, worker, shards: BTreeMap::new(), control }
    }

    /// The records with which a founder begins its groups.
    pub fn founding(me: NodeId, shards: u32, records: &mut Batch) {
        for id in (0..=shards).map(ShardId) {
            Found::founding(me).record(id, records);
        }
    }

    /// A door for one caller.
    #[must_use]
    pub fn door(&self, wake: Arc<dyn Fn() + Send + Sync>) -> NodeDoor {
        door_of(&self.core, wake)
    }

    /// Builds a replica from its newest snapshot in `snapshots` and what the log has of it, and hands it to the
    /// worker. `records` must be in the log before anything that the replica does.
    ///
    /// # Errors
    /// [`StartError`]: nothing was started.
    pub fn start<D: Disk>(
        &mut self,
        replica: ReplicaStart,
        (disk, snapshots): (&D, &Path),
        records: &mut Batch,
    ) -> Result<(), StartError> {
        let ReplicaStart { id, group, seed } = replica;
        let cell = self.cell_or_new(id);
        cell.close();
        let node = self.core.me;
        let replica = match group {
            None => Replica::guest(id, node, self.empty_machine(id), cell, seed),
            Some(group) => {
                let (machine, snapshot) = match snapshot_file::newest(disk, snapshots, id)? {
                    None => (self.empty_machine(id), None),
                    Some(newest) => {
                        let shard = self.shard(id);
                        let path = newest.path(snapshots);
                        let (loaded, place) = load_file(disk, || shard.loader(), id, &path)?;
                        (self.machine_of(id, loaded), Some(place))
                    }
                };
                let found =
                    Found { state: group.state, origin: group.snapshot, entries: group.entries };
                let identity = Identity { id, node, cell, seed, snapshot };
                let mut replica = Replica::recover(identity, machine, found, records)?;
                if !id.is_meta() {
                    replica.replay(self.settings.replication.memory_log_bytes)?;
                }
                replica
            }
        };
        self.core.worker_of(id).push(Input::Start(Box::new(replica)));
        if !id.is_meta() {
            let shard = self.shard(id);
            self.core.set_local(id, Some(shard));
        }
        self.core.set_down(id, None);
        Ok(())
    }

    /// Stops a replica, answering whoever waits; it is gone after the next turn.
    pub fn stop(&self, id: ShardId) {
        self.core.worker_of(id).push(Input::Stop(id, Box::new(|| {})));
    }

    /// Says why a shard is down here.
    pub fn set_down(&self, id: ShardId, reason: &str) {
        self.core.set_down(id, Some(reason.to_owned()));
    }

    /// Forgets a replica that has moved away.
    pub fn forget(&mut self, id: ShardId) {
        self.shards.remove(&id);
        self.core.set_local(id, None);
    }

    fn shard(&mut self, id: ShardId) -> Arc<Shard> {
        let config = StoreConfig { hash_seed: self.settings.hash_seed, has_every_slot: false };
        Arc::clone(self.shards.entry(id).or_insert_with(|| Shard::new(id, config)))
    }

    fn cell_or_new(&mut self, id: ShardId) -> Arc<GroupCell> {
        if id.is_meta() { Arc::clone(&self.core.meta) } else { Arc::clone(&self.shard(id).cell) }
    }

    fn empty_machine(&mut self, id: ShardId) -> NodeMachine {
        if id.is_meta() {
            NodeMachine::Meta(MetaMachine::new(Topology::new(), self.on_topology()))
        } else {
            NodeMachine::Shard(ShardMachine::empty(self.shard(id)))
        }
    }

    fn machine_of(&mut self, id: ShardId, loaded: Loaded) -> NodeMachine {
        match loaded {
            Loaded::Shard(store) => NodeMachine::Shard(ShardMachine::new(self.shard(id), *store)),
            Loaded::Meta(topology) => {
                NodeMachine::Meta(MetaMachine::new(*topology, self.on_topology()))
            }
        }
    }

    fn on_topology(&self) -> OnTopology {
        let core = Arc::downgrade(&self.core);
        Arc::new(move |topology| {
            if let Some(core) = core.upgrade() {
                take_topology(&core, topology);
            }
        })
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.core.routes().topology)
    }

    /// Another node said what the cluster looks like.
    pub fn hear_topology(&self, topology: &Arc<Topology>) {
        take_topology(&self.core, Arc::clone(topology));
    }

    /// Puts a command into the metadata log, whoever leads it. Whether it was taken shows in the topology.
    pub fn propose(&mut self, command: &Command) {
        let commands = meta::encode_command(command);
        let protocol = keystead_resp::Protocol::Resp2;
        let (ticket, shard, access) = (Ticket(0), ShardId::META, Access::Write);
        let (database, commands, origin) = (DatabaseId::FIRST, commands.as_slice(), Origin::NOBODY);
        self.control.submit(Run { ticket, shard, database, commands, protocol, access, origin });
        self.control.flush();
    }

    /// Has the worker of a shard led here make a change.
    pub fn change(&self, step: Step) {
        let change = match step.action {
            Action::TransferLeader { to } => {
                return self.tell(step.shard, GroupInput::Transfer(to));
            }
            Action::AddLearner { node, .. } => ReplicaChange::AddLearner(node),
            Action::Promote { node } => ReplicaChange::Promote(node),
            Action::Remove { node } => ReplicaChange::Remove(node),
        };
        self.tell(step.shard, GroupInput::Change(change, Box::new(|_| {})));
    }

    fn tell(&self, id: ShardId, input: GroupInput<NodeMachine>) {
        self.core.worker_of(id).push_for(id, input);
    }

    /// Has the shard's worker take a snapshot now.
    pub fn snapshot_now(&self, id: ShardId) {
        self.tell(id, GroupInput::SnapshotNow);
    }

    /// Has the shard's replica panic.
    pub fn fail(&self, id: ShardId) {
        self.tell(id, GroupInput::Fail("injected: as the simulator asks".to_owned()));
    }

    /// Has every leadership handed over.
    pub fn resign_all(&self) {
        self.core.workers()[0].push(Input::ResignAll);
    }

    /// Has all replicas of a shard led here take a digest.
    pub fn take_digest(&self, id: ShardId, done: impl FnOnce(Option<LogIndex>) + Send + 'static) {
        self.tell(id, GroupInput::TakeDigest(Box::new(done)));
    }

    /// Asks for the digest that the replica here took at an index.
    pub fn digest_at(
        &self,
        id: ShardId,
        index: LogIndex,
        done: impl FnOnce(Option<u128>) + Send + 'static,
    ) {
        self.tell(id, GroupInput::DigestAt(index, Box::new(done)));
    }

    /// A snapshot was fetched into a file: loads it and hands it to the worker.
    ///
    /// # Errors
    /// If the file cannot be loaded.
    pub fn fetched<D: Disk>(
        &mut self,
        id: ShardId,
        disk: &D,
        path: &Path,
    ) -> Result<(), StartError> {
        let shard = self.shard(id);
        let (loaded, place) = load_file(disk, || shard.loader(), id, path)?;
        let fetched: FetchedState<NodeMachine> = place.with(loaded);
        self.tell(id, GroupInput::Fetched(fetched));
        Ok(())
    }

    /// Answers a peer's request for a piece of a snapshot.
    pub fn serve_chunk<D: Disk>(
        &self,
        from: NodeId,
        (disk, snapshots): (&D, &Path),
        request: &[u8],
    ) -> Option<Bytes> {
        let request = ChunkRequest::decode(request).ok()?;
        let reply = snapshot_file::serve_chunk(disk, snapshots, &request)
            .unwrap_or(ChunkReply::Gone { newest: None });
        self.tell(request.id.shard, GroupInput::FollowerFetches(from));
        let mut out = Vec::new();
        reply.encode(&mut out);
        Some(out.into())
    }

    /// Frames came from a peer.
    pub fn take_frames(&self, from: NodeId, frames: &mut Vec<(FrameKind, Bytes)>) {
        self.frames.take(from, frames);
    }

    /// The connection to a peer broke.
    pub fn peer_down(&self, peer: NodeId) {
        self.core.peer_down(peer);
    }

    /// Frames to a peer are taken again.
    pub fn peer_up(&self) {
        self.core.ring_all();
    }

    /// What the pacer does every few milliseconds.
    pub fn pace(&mut self) {
        self.core.clock.follow_machine();
        self.core.tick_mailboxes();
        self.control.completions(&mut |_, _| {});
    }

    /// The time of day that other nodes are told.
    #[must_use]
    pub fn time_to_tell(&self) -> [u8; 8] {
        self.core.clock.unix_now().0.to_le_bytes()
    }

    /// True if a turn of the worker has something to do before its tick.
    #[must_use]
    pub fn has_inputs(&self) -> bool {
        self.worker.has_inputs()
    }

    /// The log has every record up to this token.
    pub fn persisted(&self, token: u64) {
        self.worker.persisted(token);
    }

    /// The snapshot writer has something to say to a group.
    pub fn snapshot_told(&self, group: ShardId, told: SnapshotTold) {
        self.worker.tell(group, told);
    }

    /// When a turn must be taken if nothing comes in before.
    #[must_use]
    pub const fn next_tick(&self) -> Monotonic {
        self.worker.next_tick()
    }

    /// A token behind every turn so far.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.worker.token()
    }

    /// The first index that each group's log on disk must keep.
    #[must_use]
    pub fn first_needed(&self) -> BTreeMap<ShardId, LogIndex> {
        self.worker.first_needed()
    }

    /// How long the log may be before somebody must take a snapshot for its sake, bytes.
    #[must_use]
    pub fn log_bytes_max(&self) -> u64 {
        self.worker.log_bytes_max()
    }

    /// Has whoever keeps the log long take a snapshot.
    pub fn relieve_log(&mut self, log: &keystead_wal::LogStats) {
        self.worker.relieve_log(log);
    }

    /// What each group holds in memory.
    #[must_use]
    pub fn gauges(&self) -> BTreeMap<ShardId, Gauges> {
        self.worker.gauges()
    }

    /// One turn of the worker.
    pub fn turn(&mut self, is_disk_full: bool) -> Asked {
        let (now, unix) = self.core.clock.now();
        let asked = self.worker.turn(now, unix, is_disk_full);
        for event in &asked.events {
            if let keystead_replication::Event::LeaderChanged { .. } = event {
                self.core.ring_all();
            }
        }
        asked
    }

    /// What a shard's replica here shows of itself.
    #[must_use]
    pub fn cell(&self, id: ShardId) -> Option<&GroupCell> {
        if id.is_meta() {
            return Some(&self.core.meta);
        }
        self.shards.get(&id).map(|shard| &*shard.cell)
    }

    /// The groups with a replica here that runs.
    pub fn groups(&self) -> impl Iterator<Item = (ShardId, &GroupCell)> {
        let shards = self.shards.iter().map(|(id, shard)| (*id, &*shard.cell));
        let all = std::iter::once((ShardId::META, &*self.core.meta)).chain(shards);
        all.filter(|(_, cell)| cell.role() != Role::Down)
    }

    /// The shards led here, as an observer is told.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let led = self.groups().filter(|(_, cell)| cell.role() == Role::Leader);
        let report = |(id, cell): (ShardId, &GroupCell)| {
            Report(ShardReport::of(id, &cell.members(), cell.commit(), &cell.progress()))
        };
        led.map(report).collect()
    }

    /// The node's clock as doors read it.
    #[must_use]
    pub fn clock(&self) -> &Arc<NodeClock> {
        &self.core.clock
    }
}

/// The machine of a shard without keys, by itself.
#[must_use]
pub fn shard_machine(
    id: ShardId,
    config: StoreConfig,
) -> impl keystead_replication::Machine<Loaded = keystead_store::Store> {
    ShardMachine::empty(Shard::new(id, config))
}

/// A shard as the node that leads it sees it.
#[derive(Clone, Debug)]
pub struct Report(ShardReport);

impl Report {
    /// The shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        ShardId(self.0.shard)
    }

    /// True if the group is without `node`, by a configuration at least as new as that of `index`.
    #[must_use]
    pub fn excludes(&self, node: NodeId, index: LogIndex) -> bool {
        self.0.excludes(node, index)
    }
}

/// The metadata leader's decisions, as `reconcile` makes them; its memory is of one term of leadership.
#[derive(Default)]
pub struct Reconciler {
    memory: Memory,
}

/// Something that the metadata leader wants done.
#[derive(Clone, Debug)]
pub enum Order {
    /// Put this into the metadata log.
    Propose(Command),
    /// Ask a shard's leader for a change.
    Request(NodeId, Step),
}

impl Reconciler {
    /// What is to be done, given who answered and what they say; and whether every replica is there and level.
    pub fn decide(
        &mut self,
        topology: &Topology,
        up: BTreeSet<NodeId>,
        reports: Vec<(NodeId, Report)>,
        now: Monotonic,
    ) -> (bool, Vec<Order>) {
        let reports = reports.into_iter().map(|(node, report)| (node, report.0)).collect();
        let round = self.memory.decide(topology, &Seen { up, reports }, now);
        let orders = round.orders.into_iter().map(|order| match order {
            reconcile::Order::Propose(command) => Order::Propose(command),
            reconcile::Order::Request(leader, step) => Order::Request(leader, step),
        });
        (round.is_full, orders.collect())
    }
}

fn door_of(core: &Arc<Core>, wake: Arc<dyn Fn() + Send + Sync>) -> NodeDoor {
    let (status, view) = (Arc::new(Status::default), Arc::new(Arc::default));
    NodeDoor::new(Arc::clone(core), Arc::default(), wake, status, view)
}

/// As `Node::take_topology`, without connections to open.
fn take_topology(core: &Core, topology: Arc<Topology>) {
    let known = Arc::clone(&core.routes().topology);
    if topology.applied() > known.applied() || !known.is_founded() {
        core.set_topology(topology);
    }
}
