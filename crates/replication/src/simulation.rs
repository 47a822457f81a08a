//! A worker without a thread, for a simulator that is everything around it.
//!
//! Owns: [`InlineWorker`], which does what `driver` does around a worker, but hands out what the driver would carry
//! out itself; [`SnapshotFiles`], the snapshot writer without its thread. Never: decides anything about a group.
//! Only there with the feature `simulation`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use keystead_types::{LogIndex, Monotonic, NodeId, ShardId, Term, UnixMillis};
use keystead_wal::{Batch, Disk};

use crate::driver::deliver;
use crate::inbox::Inbox;
use crate::machine::Machine;
use crate::outputs::{Event, Outputs, SnapshotWork};
use crate::snapshot_writer::{SnapshotDesk, Told};
use crate::transport::message;
use crate::worker::{GroupInput, Input, Worker};

/// A worker that takes a turn when it is told to.
pub struct InlineWorker<M: Machine> {
    worker: Worker<M>,
    inbox: Inbox<M>,
    inputs: Vec<Input<M>>,
    out: Outputs,
}

/// What a turn asks for, once replies were delivered.
#[derive(Default)]
pub struct Asked {
    /// Messages for peers, encoded as they travel.
    pub frames: Vec<RaftFrame>,
    /// Records for the log.
    pub log: Option<LogWork>,
    /// Work for the snapshot writer, in order.
    pub snapshots: Vec<SnapshotPiece>,
    /// What the node should know.
    pub events: Vec<Event>,
    /// What was applied.
    pub applied: Vec<Applied>,
}

/// One message to one replica.
#[derive(Clone, Debug)]
pub struct RaftFrame {
    /// The replica's node.
    pub to: NodeId,
    /// Its group.
    pub group: ShardId,
    /// The payload of a frame of kind `RAFT`.
    pub payload: Bytes,
}

/// Records of one turn.
#[derive(Debug)]
pub struct LogWork {
    /// The records.
    pub batch: Batch,
    /// True if they must be durable before they count.
    pub must_sync: bool,
    /// Under which the worker hears of it.
    pub token: u64,
}

/// An entry that a replica applied, or a snapshot that took the place of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The group.
    pub group: ShardId,
    /// The entry's index, or the snapshot's.
    pub index: LogIndex,
    /// The entry's term, or the snapshot's.
    pub term: Term,
    /// A checksum of the entry's bytes; `None` for a snapshot.
    pub entry: Option<u32>,
}

/// What a group holds in memory, for whoever watches bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Bytes of its log in memory.
    pub log_bytes: usize,
    /// Bytes of commands that wait to be proposed.
    pub queue_bytes: usize,
    /// Entries whose fate somebody awaits.
    pub entries_awaited: usize,
    /// Readies that wait for the log.
    pub unpersisted: usize,
    /// The last index in its log.
    pub last: LogIndex,
}

impl Applied {
    pub(crate) fn of(group: ShardId, entry: &raft::eraftpb::Entry) -> Self {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&entry.data), &entry.context);
        let (index, term) = (LogIndex(entry.index), Term(entry.term));
        Self { group, index, term, entry: Some(checksum) }
    }
}

impl<M: Machine> InlineWorker<M> {
    /// Drives `worker`, which is fed through `inbox`.
    #[must_use]
    pub fn new(worker: Worker<M>, inbox: Inbox<M>) -> Self {
        inbox.open();
        Self { worker, inbox, inputs: Vec::new(), out: Outputs::default() }
    }

    /// True if something waits to be taken in.
    #[must_use]
    pub fn has_inputs(&self) -> bool {
        self.inbox.has_inputs()
    }

    /// When a turn must be taken if nothing comes in before.
    #[must_use]
    pub const fn next_tick(&self) -> Monotonic {
        self.worker.next_tick()
    }

    /// The log has every record up to this token.
    pub fn persisted(&self, token: u64) {
        self.inbox.push(Input::Persisted(token));
    }

    /// The snapshot writer has something to say.
    pub fn tell(&self, group: ShardId, told: SnapshotTold) {
        self.inbox.push_for(group, GroupInput::from(told.0));
    }

    /// Takes in all there is and does what follows. Replies are delivered; the rest is handed out.
    pub fn turn(&mut self, now: Monotonic, unix: UnixMillis, is_disk_full: bool) -> Asked {
        self.worker.set_disk_full(is_disk_full);
        self.inbox.take(&mut self.inputs, &mut 0);
        self.worker.turn(&mut self.inputs, now, unix, &mut self.out);
        let token = self.worker.token();
        let out = &mut self.out;
        let must_sync = std::mem::take(&mut out.must_sync);
        let log = (!out.log.is_empty()).then(|| LogWork {
            batch: std::mem::take(&mut out.log),
            must_sync,
            token,
        });
        let frames = out.messages.drain(..).map(|(group, message)| {
            let mut payload = Vec::new();
            message::encode(group, &message, &mut payload);
            RaftFrame { to: NodeId(message.to), group, payload: payload.into() }
        });
        let frames = frames.collect();
        deliver(out);
        Asked {
            frames,
            log,
            snapshots: out.snapshots.drain(..).map(SnapshotPiece).collect(),
            events: std::mem::take(&mut out.events),
            applied: std::mem::take(&mut out.applied),
        }
    }

    /// A token behind every turn so far, for records that others put into the log.
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

    /// Has whoever keeps the log long take a snapshot; the next turn hands it out.
    pub fn relieve_log(&mut self, log: &keystead_wal::LogStats) {
        self.worker.relieve_log(log, &mut self.out);
    }

    /// What each group holds.
    #[must_use]
    pub fn gauges(&self) -> BTreeMap<ShardId, Gauges> {
        self.worker.gauges()
    }
}

/// A step of writing a snapshot file.
pub struct SnapshotPiece(SnapshotWork);

/// What a group must hear of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTold(Told);

impl SnapshotTold {
    /// The file will not be.
    #[must_use]
    pub const fn failed() -> Self {
        Self(Told::Failed)
    }

    /// True if a file became durable.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        matches!(self.0, Told::Written(_))
    }
}

/// The snapshot writer without its thread.
pub struct SnapshotFiles<D: Disk> {
    desk: SnapshotDesk<D>,
}

impl<D: Disk> SnapshotFiles<D> {
    /// Writes into `dir`, which exists.
    #[must_use]
    pub const fn new(disk: D, dir: PathBuf) -> Self {
        Self { desk: SnapshotDesk::new(disk, dir) }
    }

    /// Does one piece of work; whose it was, and what that group must hear.
    pub fn take(&mut self, piece: SnapshotPiece) -> (ShardId, Option<SnapshotTold>) {
        let group = piece.0.group();
        (group, self.desk.take(piece.0).told().map(SnapshotTold))
    }
}
