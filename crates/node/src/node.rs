//! A node: everything that outlives its children, and the children that do its work.
//!
//! Owns: [`Node`], opening a data directory, the registry of replicas here.
//! Never: a client connection. What runs stands in `children`; who is in the cluster in `membership`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use keystead_replication::snapshot_file::SnapshotError;
use keystead_replication::transport::{Identity as PeerIdentity, Outbox, Timing};
use keystead_replication::{GroupCell, Role, Settings};
use keystead_store::StoreConfig;
use keystead_topology::{NodeRecord, SlotRange};
use keystead_types::{Clock, DatabaseId, Monotonic, NodeId, ShardId, Slot};
use keystead_wal::{
    Handle, Log, LogOptions, Preparer, RealDisk, RecoveredGroup, WalError, Writer, WriterOptions,
};
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use crate::caller::Caller;
use crate::clock::NodeClock;
use crate::core::{Core, CoreSettings};
use crate::execute::NodeDoor;
use crate::footprint::Footprint;
use crate::identity::{Identity, IdentityError, Stage};
use crate::questions::Questions;
use crate::receiver::OutboxPost;
use crate::shard::Shard;
use crate::status::{ClusterView, Status};

/// Events of workers that may wait for the keeper; they come again if they are dropped.
const EVENTS_MAX: usize = 4096;

/// What a node is told when it is started.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// Where clients reach it, `HOST:PORT`, as told to others.
    pub client_address: String,
    /// Where it listens for other nodes.
    pub peer_listen: SocketAddr,
    /// Where other nodes reach it, `HOST:PORT`, as told to them; empty: where it listens.
    pub peer_address: String,
    /// Peer addresses through which it finds its cluster; empty: it founds one.
    pub join: Vec<String>,
    /// With `join`: how many fresh nodes found a cluster together.
    pub expect: Option<usize>,
    /// Shards of a cluster that this node founds.
    pub shards: u32,
    /// How long a node of a cluster that this node founds may stay away before its replicas are replaced.
    pub replace_after: Duration,
    /// What fails together with it.
    pub zone: String,
    /// Threads that drive shards.
    pub workers: usize,
    /// How its groups behave.
    pub replication: Settings,
    /// How it treats commands.
    pub core: CoreSettings,
    /// Size of a log segment, bytes.
    pub segment_bytes: u64,
    /// With `Durability::Replicated`: how long a write may stay out of the disks.
    pub background_sync: Duration,
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its log.
    #[error(transparent)]
    Log(#[from] WalError),
    /// Its snapshots.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// INV-I2.
    #[error(
        "{path} says that this node is a member of a cluster, but its log is missing; its votes and acknowledged writes \
         were in it. Move the data directory away and start again with --join: the node then joins as a new one"
    )]
    LogMissing {
        /// The data directory.
        path: PathBuf,
    },
    /// INV-I2, the other way round.
    #[error(
        "{path} holds the log of a node, but not its identity.json, which says who it is; restore that file from a copy of \
         this directory, or move the directory away and start again with --join: the node then joins as a new one"
    )]
    IdentityMissing {
        /// The data directory.
        path: PathBuf,
    },
    /// The data belong to a node of its own or of another cluster.
    #[error(
        "this node has data of its own (cluster {cluster:012x}) and --join names another cluster ({other:012x}): a node joins \
         only while it is fresh. To bring the data along, start it without --join, copy its keys with `keystead shell` or \
         any Redis migration tool, then join with an empty data directory"
    )]
    OtherCluster {
        /// The node's cluster.
        cluster: u64,
        /// The one it was told to join.
        other: u64,
    },
    /// The peer listener.
    #[error(
        "cannot listen for other nodes on {address}: {source}; choose another address with --peer"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The cluster as this node last heard of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) is_full: bool,
    pub(crate) leaders: BTreeMap<ShardId, NodeId>,
}

/// What a worker's event asks of the keeper.
#[derive(Debug)]
pub(crate) enum KeeperEvent {
    /// A peer speaks to a group without a replica here.
    Guest(ShardId),
    /// The topology or a group's members changed.
    Look,
}

/// A snapshot to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) shard: ShardId,
    pub(crate) from: NodeId,
    pub(crate) index: keystead_types::LogIndex,
    pub(crate) term: keystead_types::Term,
}

/// The bodies of the log's two threads, until they are started.
pub(crate) struct LogThreads {
    pub(crate) writer: Option<Writer<RealDisk>>,
    pub(crate) preparer: Option<Preparer<RealDisk>>,
}

/// See the module.
pub struct Node {
    /// What doors and workers share.
    pub core: Arc<Core>,
    pub(crate) settings: NodeSettings,
    pub(crate) outbox: Outbox,
    pub(crate) log: Handle,
    pub(crate) log_threads: Mutex<LogThreads>,
    /// What the log held of each group, until its replica is built.
    pub(crate) recovered: Mutex<BTreeMap<ShardId, RecoveredGroup>>,
    /// Calls of control tasks and of the embedded API.
    pub caller: Arc<Caller>,
    identity: Mutex<Identity>,
    shards: RwLock<BTreeMap<ShardId, Arc<Shard>>>,
    /// Told when a replica fails, by its child.
    pub(crate) exits: Mutex<BTreeMap<ShardId, oneshot::Sender<String>>>,
    pub(crate) keeper: mpsc::Sender<KeeperEvent>,
    pub(crate) keeper_events: Mutex<Option<mpsc::Receiver<KeeperEvent>>>,
    pub(crate) offers: Arc<Offers>,
    /// Replicas that may be built from disk at a time.
    pub(crate) builds: Semaphore,
    pub(crate) heard: RwLock<Arc<Heard>>,
    pub(crate) topology_changed: Notify,
    is_founded: AtomicBool,
    is_stopping: AtomicBool,
    /// Who waits for all replicas to be compared.
    pub(crate) questions: Arc<Questions>,
    started_at: Monotonic,
    pub(crate) footprint: Footprint,
    tree: Mutex<Option<keystead_supervisor::Tree>>,
    pub(crate) peer_listener: std::net::TcpListener,
    weak: std::sync::Weak<Self>,
}

/// Snapshots to be fetched, one a shard, the newest offer each.
#[derive(Default)]
pub(crate) struct Offers {
    state: Mutex<(BTreeMap<ShardId, Offer>, bool)>,
    wake: Condvar,
}

impl Offers {
    pub(crate) fn put(&self, offer: Offer) {
        self.state.lock().0.insert(offer.shard, offer);
        self.wake.notify_one();
    }

    /// Waits for an offer; `None`: the fetcher must end.
    pub(crate) fn next(&self) -> Option<Offer> {
        let mut state = self.state.lock();
        loop {
            if state.1 {
                return None;
            }
            if let Some((_, offer)) = state.0.pop_first() {
                return Some(offer);
            }
            self.wake.wait(&mut state);
        }
    }

    pub(crate) fn set_closed(&self, is_closed: bool) {
        self.state.lock().1 = is_closed;
        self.wake.notify_all();
    }
}

/// What opening a data directory gives.
struct Opened {
    listener: std::net::TcpListener,
    identity: Identity,
    log: Handle,
    log_threads: LogThreads,
    groups: BTreeMap<ShardId, RecoveredGroup>,
}

/// Binds the peer listener, and says where, if nobody did.
fn listen(settings: &mut NodeSettings) -> Result<std::net::TcpListener, StartError> {
    let address = settings.peer_listen;
    let failed = |source| StartError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    if settings.peer_address.is_empty() {
        settings.peer_address = listener.local_addr().map_err(failed)?.to_string();
    }
    Ok(listener)
}

impl Node {
    /// Opens the data directory: takes its lock, reads its log. Nothing runs yet.
    ///
    /// Blocks for as long as reading the log takes.
    ///
    /// # Errors
    /// [`StartError`]: nothing was changed.
    pub fn open(
        mut settings: NodeSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StartError> {
        let listener = listen(&mut settings)?;
        let known = Identity::load(&settings.data_dir)?;
        let mut identity = known.clone().unwrap_or_else(Identity::draw);
        let mut options = LogOptions::new(identity.node_id(), identity.log);
        options.segment_bytes = settings.segment_bytes;
        options.reserve_bytes = settings.segment_bytes;
        let (log, recovered) = Log::open(RealDisk, &settings.data_dir, options)?;
        if recovered.is_new && identity.stage == Stage::Member {
            return Err(StartError::LogMissing { path: settings.data_dir });
        }
        if known.is_none() && !recovered.groups.is_empty() {
            return Err(StartError::IdentityMissing { path: settings.data_dir });
        }
        // ORDER: written only now, under the log's lock: a second process on this directory got no further.
        identity.node = recovered.identity.node.0;
        identity.log = recovered.identity.log_id;
        identity.incarnation += 1;
        identity.save(&settings.data_dir)?;
        if let Some(torn) = &recovered.torn_tail {
            tracing::warn!(file = %torn.path.display(), offset = torn.offset, bytes = torn.bytes,
                "cut off what the last run had written but not synced; nothing of it was acknowledged");
        }
        let background_sync = settings.background_sync;
        let (writer, preparer, handle) =
            Writer::new(log, WriterOptions { background_sync, ..WriterOptions::default() });
        let log_threads = LogThreads { writer: Some(writer), preparer: Some(preparer) };
        std::fs::create_dir_all(settings.data_dir.join("snapshots")).map_err(|source| {
            IdentityError::Io { what: "create", path: settings.data_dir.join("snapshots"), source }
        })?;
        // Nobody writes there yet: what a crash left half done is cleared away.
        keystead_replication::snapshot_file::list(&RealDisk, &settings.data_dir.join("snapshots"))?;
        let opened =
            Opened { listener, identity, log: handle, log_threads, groups: recovered.groups };
        Ok(Self::assemble(settings, clock, opened))
    }

    fn assemble(settings: NodeSettings, clock: Arc<dyn Clock>, opened: Opened) -> Arc<Self> {
        let Opened { listener, identity, log, log_threads, groups } = opened;
        let me = identity.node_id();
        let peer_identity = PeerIdentity {
            node: me,
            cluster: identity.cluster,
            address: settings.peer_address.clone(),
        };
        let outbox = Outbox::new(peer_identity, Arc::clone(&clock), Timing::default());
        for (peer, address) in &identity.peers {
            outbox.set_peer(NodeId(*peer), address);
        }
        let post = Arc::new(OutboxPost(outbox.clone()));
        let node_clock = Arc::new(NodeClock::new(Arc::clone(&clock)));
        let life = (me, identity.incarnation);
        let core = Core::new(life, node_clock, settings.core, post, settings.workers);
        let (keeper, keeper_events) = mpsc::channel(EVENTS_MAX);
        let started_at = clock.monotonic_now();
        Arc::new_cyclic(|weak: &std::sync::Weak<Self>| {
            let questions = Arc::<Questions>::default();
            let caller = Caller::new(|wake| Self::door_of(&core, &questions, weak.clone(), wake));
            Self {
                caller,
                settings,
                outbox,
                log,
                log_threads: Mutex::new(log_threads),
                recovered: Mutex::new(groups),
                identity: Mutex::new(identity),
                shards: RwLock::default(),
                exits: Mutex::default(),
                keeper,
                keeper_events: Mutex::new(Some(keeper_events)),
                offers: Arc::default(),
                builds: Semaphore::new(available_parallelism().map_or(1, NonZero::get)),
                heard: RwLock::default(),
                topology_changed: Notify::new(),
                is_founded: AtomicBool::new(false),
                is_stopping: AtomicBool::new(false),
                started_at,
                footprint: Footprint::default(),
                tree: Mutex::default(),
                questions: Arc::clone(&questions),
                peer_listener: listener,
                weak: weak.clone(),
                core,
            }
        })
    }

    pub(crate) fn weak(&self) -> std::sync::Weak<Self> {
        self.weak.clone()
    }

    fn door_of(
        core: &Arc<Core>,
        questions: &Arc<Questions>,
        node: std::sync::Weak<Self>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> NodeDoor {
        let other = node.clone();
        let status = move || node.upgrade().map_or_else(Status::default, |node| node.status());
        let view = move || other.upgrade().map_or_else(Arc::default, |node| node.cluster_view());
        NodeDoor::new(
            Arc::clone(core),
            Arc::clone(questions),
            wake,
            Arc::new(status),
            Arc::new(view) as Arc<dyn Fn() -> Arc<ClusterView> + Send + Sync>,
        )
    }

    /// A door for one caller; `wake` is called, on any thread, when the door's completions have something.
    #[must_use]
    pub fn door(self: &Arc<Self>, wake: Arc<dyn Fn() + Send + Sync>) -> NodeDoor {
        Self::door_of(&self.core, &self.questions, Arc::downgrade(self), wake)
    }

    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// Changes the identity, durably.
    pub(crate) fn update_identity(
        &self,
        change: impl FnOnce(&mut Identity),
    ) -> Result<Identity, IdentityError> {
        let mut identity = self.identity.lock();
        let mut new = identity.clone();
        change(&mut new);
        if new != *identity {
            new.save(&self.settings.data_dir)?;
            *identity = new.clone();
        }
        Ok(new)
    }

    /// What the node says of itself when it joins or comes back.
    pub(crate) fn record(&self) -> NodeRecord {
        NodeRecord {
            id: self.core.me,
            client_addr: self.settings.client_address.clone(),
            peer_addr: self.settings.peer_address.clone(),
            zone: self.settings.zone.clone(),
            incarnation: self.identity.lock().incarnation,
        }
    }

    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.settings.data_dir.join("snapshots")
    }

    /// Where other nodes reach this one.
    #[must_use]
    pub fn peer_address(&self) -> &str {
        &self.settings.peer_address
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.settings.data_dir
    }

    pub(crate) fn store_config(&self) -> StoreConfig {
        let identity = self.identity.lock();
        StoreConfig { hash_seed: identity.hash_seed, has_every_slot: identity.shards == 1 }
    }

    /// The shard's place on this node, made if there is none.
    pub(crate) fn shard(&self, id: ShardId) -> Arc<Shard> {
        let known = self.shards.read().get(&id).map(Arc::clone);
        let shard = known.unwrap_or_else(|| self.new_shard(id));
        // Slots are laid out when a cluster is founded, by the number of shards alone.
        if let (Some(part), count @ 1..) = (id.0.checked_sub(1), self.identity.lock().shards) {
            let slots = SlotRange::nth_of(part.min(count - 1), count);
            shard.set_slots(slots.first..slots.end);
        }
        shard
    }

    fn new_shard(&self, id: ShardId) -> Arc<Shard> {
        let mut shards = self.shards.write();
        let shard = shards.entry(id).or_insert_with(|| Shard::new(id, self.store_config()));
        shard.set_core(&self.core);
        Arc::clone(shard)
    }

    /// The cell of a group that has a replica here.
    #[must_use]
    pub fn group(&self, id: ShardId) -> Option<Arc<GroupCell>> {
        if id.is_meta() {
            return Some(Arc::clone(&self.core.meta));
        }
        self.shards.read().get(&id).map(|shard| Arc::clone(&shard.cell))
    }

    /// The cell that a group's replica here shows itself in, made if there is none.
    pub(crate) fn cell(&self, id: ShardId) -> Arc<GroupCell> {
        if id.is_meta() { Arc::clone(&self.core.meta) } else { Arc::clone(&self.shard(id).cell) }
    }

    /// All groups with a replica here that runs.
    pub(crate) fn groups(&self) -> Vec<(ShardId, Arc<GroupCell>)> {
        let shards = self.shards.read();
        let all = shards.iter().map(|(id, shard)| (*id, Arc::clone(&shard.cell)));
        let all = all.chain([(ShardId::META, Arc::clone(&self.core.meta))]);
        all.filter(|(_, cell)| cell.role() != Role::Down).collect()
    }

    pub(crate) fn shards_here(&self) -> Vec<Arc<Shard>> {
        self.shards.read().values().cloned().collect()
    }

    pub(crate) fn forget_shard(&self, id: ShardId) {
        self.shards.write().remove(&id);
        self.core.set_local(id, None);
    }

    /// True if this node leads the metadata group.
    pub(crate) fn leads_meta(&self) -> bool {
        self.core.meta.role() == Role::Leader
    }

    /// Shows the string under `key` of a database if this node may answer at once: it leads the key's shard and holds a
    /// lease. `None`: it may not, or the key holds something else than a string; ask through a door.
    ///
    /// Linearizable; takes no hop and copies nothing.
    pub fn look<T>(
        &self,
        (database, key): (DatabaseId, &[u8]),
        look: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Option<T> {
        let slot = Slot::of_key(key);
        self.core.with_routes(|routes| {
            let shard = routes.local(routes.shard_of(slot)?)?;
            let (now, unix) = self.core.clock.now();
            shard.with_store(now, unix, |store, now| {
                let found = store.get(database, now, (slot, key)).ok()?;
                Some(look(found.as_deref()))
            })?
        })
    }

    /// True once the node knows the cluster it belongs to.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        self.is_founded.load(Ordering::Acquire)
    }

    pub(crate) fn set_founded(&self) {
        self.is_founded.store(true, Ordering::Release);
    }

    /// True once the node was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Hands every leadership over and waits, until `deadline` at the longest, until somebody has taken each.
    pub async fn resign(&self, within: Duration) {
        self.is_stopping.store(true, Ordering::Release);
        for inbox in self.core.workers() {
            inbox.push(keystead_replication::Input::ResignAll);
        }
        let deadline = tokio::time::Instant::now() + within;
        while self.has_heirs() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// True while this node leads a group that another node could lead.
    fn has_heirs(&self) -> bool {
        let groups = self.groups();
        let mut led = groups.iter().filter(|(_, cell)| cell.role() == Role::Leader);
        led.any(|(_, cell)| {
            let members = cell.members();
            cell.progress()
                .iter()
                .any(|p| p.node != self.core.me && p.is_active && members.voters.contains(&p.node))
        })
    }

    /// Milliseconds since the node was opened.
    pub(crate) fn uptime_ms(&self) -> u64 {
        let since = self.core.clock.monotonic_now().since(self.started_at);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Shows the node the supervision tree it runs in.
    pub fn set_tree(&self, tree: keystead_supervisor::Tree) {
        *self.tree.lock() = Some(tree);
    }

    pub(crate) fn tree_text(&self) -> String {
        self.tree.lock().as_ref().map_or_else(String::new, ToString::to_string)
    }
}
