//! One simulated node: a real worker over a real log on a disk in memory, with a crash in its life now and then.
//! Owns: starting from disk, running turns, writing the log in two steps (write, sync), snapshot files.
//! Never: chance or the network; the world calls it at the right moments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use keystead_types::{LogIndex, Monotonic, NodeId, ShardId, UnixMillis};
use keystead_wal::{Batch, Log, LogOptions, MemoryDisk};
use parking_lot::Mutex;

use super::machine::{History, Ledger, Window};
use crate::cell::GroupCell;
use crate::outputs::{Outputs, SnapshotWork};
use crate::recovery::{Found, Identity, Replica, SnapshotPlace};
use crate::settings::Settings;
use crate::worker::{GroupInput, Input, Worker};

const SEGMENT_BYTES: u64 = 16 * 1024;
const DISK_BYTES: u64 = 64 * 1024 * 1024;
/// Snapshot files kept of each group.
const FILES_KEPT: usize = 2;
/// Bytes of applied log that a replica keeps in memory when it comes back.
const REPLAYED_BYTES_KEPT: usize = 1024;

/// A snapshot file: its place and its bytes.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) place: SnapshotPlace,
    pub(super) bytes: Vec<u8>,
}

/// What of a node is in memory: gone after a crash.
pub(super) struct Running {
    id: NodeId,
    pub(super) worker: Worker<Ledger>,
    pub(super) inputs: Vec<Input<Ledger>>,
    pub(super) out: Outputs,
    pub(super) cells: BTreeMap<ShardId, Arc<GroupCell>>,
    pub(super) windows: BTreeMap<ShardId, Arc<Mutex<Window>>>,
    log: Log<MemoryDisk>,
    /// Batches for the log, oldest first, each with its token and whether it must be synced.
    queue: VecDeque<(Batch, bool, u64)>,
    /// The token up to which the log was written, while its sync is under way.
    pub(super) syncing: Option<u64>,
    /// Snapshots being written.
    files_begun: BTreeMap<ShardId, File>,
    /// Groups whose replica fell and is to be rebuilt.
    pub(super) fallen: BTreeSet<ShardId>,
}

/// See the module.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) disk: MemoryDisk,
    pub(super) files: BTreeMap<ShardId, BTreeMap<u64, File>>,
    pub(super) running: Option<Running>,
    /// Counts lives, so that what was meant for an earlier one is dropped.
    pub(super) life: u64,
    /// The node's clock: where it stood when the world began, and its rate in parts per thousand.
    pub(super) clock_rate: u64,
    pub(super) wall_ms: u64,
    settings: Settings,
}

impl Node {
    pub(super) fn new(id: NodeId, settings: Settings, clock_rate: u64) -> Self {
        let disk = MemoryDisk::new(DISK_BYTES);
        Self {
            id,
            disk,
            files: BTreeMap::new(),
            running: None,
            life: 0,
            clock_rate,
            wall_ms: 1_000_000,
            settings,
        }
    }

    /// Writes what a founder writes before its first start.
    pub(super) fn found(&self, groups: &[ShardId]) {
        let mut log = self.open().0;
        let mut records = Batch::new();
        for group in groups {
            Found::founding(self.id).record(*group, &mut records);
        }
        log.append(&mut records).expect("the disk has room");
        log.close().expect("the disk works");
        self.disk.process_exit();
    }

    fn open(&self) -> (Log<MemoryDisk>, keystead_wal::Recovered) {
        let options = LogOptions {
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: 0,
            ..LogOptions::new(self.id, 1)
        };
        Log::open(self.disk.clone(), Path::new("/node"), options)
            .expect("INV-WAL4: the log opens after any crash")
    }

    pub(super) fn monotonic(&self, now_us: u64) -> Monotonic {
        // Clocks of different nodes have nothing to do with each other.
        Monotonic(self.id.0 * 1_000_000_000_000 + now_us * self.clock_rate)
    }

    /// The moment at which this node's clock shows `at`.
    pub(super) fn world_us(&self, at: Monotonic) -> u64 {
        at.0.saturating_sub(self.id.0 * 1_000_000_000_000).div_ceil(self.clock_rate)
    }

    pub(super) fn unix(&self, now_us: u64) -> UnixMillis {
        UnixMillis(self.wall_ms + now_us / 1_000)
    }

    /// Starts from what the disk has.
    pub(super) fn start(&mut self, seed: u64) {
        self.life += 1;
        let (log, recovered) = self.open();
        let mut running = Running {
            id: self.id,
            worker: Worker::new(self.id, self.settings),
            inputs: Vec::new(),
            out: Outputs::default(),
            cells: BTreeMap::new(),
            windows: BTreeMap::new(),
            log,
            queue: VecDeque::new(),
            syncing: None,
            files_begun: BTreeMap::new(),
            fallen: BTreeSet::new(),
        };
        for (group, found) in recovered.groups {
            let found =
                Found { state: found.state, origin: found.snapshot, entries: found.entries };
            running.start_replica(group, found, self.newest_file(group), seed ^ u64::from(group.0));
        }
        self.running = Some(running);
    }

    fn newest_file(&self, group: ShardId) -> Option<File> {
        self.files.get(&group)?.values().next_back().cloned()
    }

    /// Rebuilds a group's replica after it fell, as its supervisor does.
    pub(super) fn rebuild(&mut self, group: ShardId, seed: u64) {
        let file = self.newest_file(group);
        let Some(running) = &mut self.running else { return };
        running.write_all();
        let found = keystead_wal::read_group(&self.disk, Path::new("/node"), group)
            .expect("the log can be read");
        match found {
            Some(found) => {
                let found =
                    Found { state: found.state, origin: found.snapshot, entries: found.entries };
                running.start_replica(group, found, file, seed);
            }
            None => running.start_guest(self.id, group, seed),
        }
    }

    /// Lets a replica go that was taken out of its group, and forgets what the disk has of it.
    pub(super) fn let_go(&mut self, group: ShardId, now_us: u64) {
        self.files.remove(&group);
        let (now, unix) = (self.monotonic(now_us), self.unix(now_us));
        let Some(running) = &mut self.running else { return };
        // One that has not begun yet must not begin after it was let go.
        running
            .inputs
            .retain(|input| !matches!(input, Input::Start(replica) if replica.id() == group));
        let mut stop = vec![Input::Stop(group, Box::new(|| {}))];
        running.worker.turn(&mut stop, now, unix, &mut running.out);
        running.take_log();
        let mut records = Batch::new();
        records.push_removed(group);
        running.queue.push_back((records, true, running.worker.token()));
        running.write_all();
        running.fallen.remove(&group);
        running.cells.remove(&group);
        running.windows.remove(&group);
    }

    /// Keeps a snapshot file durably.
    pub(super) fn keep_file(&mut self, group: ShardId, file: File) {
        let files = self.files.entry(group).or_default();
        files.insert(file.place.index().0, file);
        while files.len() > FILES_KEPT {
            files.pop_first();
        }
    }
}

impl Running {
    fn start_replica(&mut self, id: ShardId, found: Found, file: Option<File>, seed: u64) {
        let window = self.windows.entry(id).or_default();
        let state = file.as_ref().map(|file| History::load(&file.bytes)).unwrap_or_default();
        // The doom was that of an earlier incarnation.
        window.lock().is_doomed = false;
        let machine = Ledger::new(state, Arc::clone(window));
        let cell = Arc::clone(self.cells.entry(id).or_default());
        let identity =
            Identity { id, node: self.id, cell, seed, snapshot: file.map(|file| file.place) };
        let mut records = Batch::new();
        let mut replica = Replica::recover(identity, machine, found, &mut records)
            .expect("what the disk has fits together");
        replica
            .replay(REPLAYED_BYTES_KEPT)
            .expect("the machine applies what it has applied before");
        if !records.is_empty() {
            self.queue.push_back((records, true, self.worker.token()));
            self.write_all();
        }
        self.inputs.push(Input::Start(Box::new(replica)));
    }

    pub(super) fn start_guest(&mut self, node: NodeId, id: ShardId, seed: u64) {
        let window = Arc::clone(self.windows.entry(id).or_default());
        let cell = Arc::clone(self.cells.entry(id).or_default());
        let machine = Ledger::new(History::default(), window);
        self.inputs.push(Input::Start(Box::new(Replica::guest(id, node, machine, cell, seed))));
    }

    /// One turn over all inputs.
    pub(super) fn turn(&mut self, now: Monotonic, unix: UnixMillis) {
        self.worker.turn(&mut self.inputs, now, unix, &mut self.out);
        self.take_log();
    }

    fn take_log(&mut self) {
        let must_sync = std::mem::take(&mut self.out.must_sync);
        if !self.out.log.is_empty() {
            let batch = std::mem::take(&mut self.out.log);
            self.queue.push_back((batch, must_sync, self.worker.token()));
        }
    }

    pub(super) fn has_log_work(&self) -> bool {
        self.syncing.is_none() && !self.queue.is_empty()
    }

    /// Writes what is queued. True if a sync must follow before anybody hears of it.
    pub(super) fn write_log(&mut self) -> bool {
        let (mut must_sync, mut last) = (false, 0);
        while let Some((mut batch, must, token)) = self.queue.pop_front() {
            self.log.append(&mut batch).expect("the disk has room");
            must_sync |= must;
            last = token;
        }
        if must_sync {
            self.syncing = Some(last);
        } else {
            self.inputs.push(Input::Persisted(last));
        }
        must_sync
    }

    /// The sync is done.
    pub(super) fn sync_log(&mut self) {
        self.log.sync().expect("the disk works");
        if let Some(token) = self.syncing.take() {
            self.inputs.push(Input::Persisted(token));
        }
        drop(self.log.purge(&self.worker.first_needed()).expect("segments can be removed"));
    }

    fn write_all(&mut self) {
        self.sync_log();
        while !self.queue.is_empty() {
            self.write_log();
            self.sync_log();
        }
    }

    /// Does snapshot work; the files that became complete.
    pub(super) fn write_snapshots(&mut self) -> Vec<(ShardId, File)> {
        let mut complete = Vec::new();
        for work in self.out.snapshots.drain(..) {
            match work {
                SnapshotWork::Begin { group, origin } => {
                    self.files_begun
                        .insert(group, File { place: SnapshotPlace(origin), bytes: Vec::new() });
                }
                SnapshotWork::Chunk { group, bytes } => {
                    if let Some(file) = self.files_begun.get_mut(&group) {
                        file.bytes.extend_from_slice(&bytes);
                    }
                    self.inputs.push(Input::Group(group, GroupInput::ChunkWritten));
                }
                SnapshotWork::Finish { group } => {
                    complete.extend(self.files_begun.remove(&group).map(|file| (group, file)));
                }
                SnapshotWork::Abort { group } => {
                    self.files_begun.remove(&group);
                }
            }
        }
        complete
    }

    pub(super) fn snapshot_is_durable(&mut self, group: ShardId, index: LogIndex) {
        self.inputs.push(Input::Group(group, GroupInput::SnapshotWritten(index)));
    }

    pub(super) fn groups(&self) -> BTreeSet<ShardId> {
        self.cells.keys().copied().collect()
    }
}
