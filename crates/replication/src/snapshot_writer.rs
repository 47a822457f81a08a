//! Writes the snapshots that workers dump, on a thread of its own: workers never wait for a disk.
//!
//! Owns: the queue of pieces, the files being written, telling the groups how it went.
//! Never: decides when a snapshot is taken. The queue is bounded by the groups, each of which has a few
//! chunks under way at most (`Settings::snapshot_chunks_in_flight_max`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keystead_types::{LogIndex, ShardId, Term};
use keystead_wal::Disk;
use parking_lot::{Condvar, Mutex};

use crate::driver::SnapshotSink;
use crate::inbox::Inbox;
use crate::machine::Machine;
use crate::outputs::SnapshotWork;
use crate::snapshot_file::{
    self, SNAPSHOT_CHUNK_BYTES_MAX, SnapshotError, SnapshotId, SnapshotWriter,
};
use crate::worker::GroupInput;

/// Pieces of snapshots on their way to their files. Clones are the same queue; it outlives the thread.
#[derive(Clone, Default)]
pub struct SnapshotQueue {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    work: VecDeque<SnapshotWork>,
    /// Groups whose file is begun and not ended: if the writer falls they must be told.
    begun: BTreeSet<ShardId>,
    is_closing: bool,
}

impl SnapshotSink for SnapshotQueue {
    fn take(&mut self, work: SnapshotWork) {
        self.shared.state.lock().work.push_back(work);
        self.shared.wake.notify_one();
    }
}

impl SnapshotQueue {
    /// Asks the writer's thread to end.
    pub fn close(&self) {
        self.shared.state.lock().is_closing = true;
        self.shared.wake.notify_all();
    }

    fn next(&self) -> Option<SnapshotWork> {
        let mut state = self.shared.state.lock();
        loop {
            if state.is_closing {
                return None;
            }
            if let Some(work) = state.work.pop_front() {
                return Some(work);
            }
            self.shared.wake.wait(&mut state);
        }
    }

    /// Begins anew: what an earlier writer left unfinished is void. The groups concerned.
    fn reopen(&self) -> BTreeSet<ShardId> {
        let mut state = self.shared.state.lock();
        state.is_closing = false;
        state.work.clear();
        std::mem::take(&mut state.begun)
    }

    fn set_begun(&self, group: ShardId, is_begun: bool) {
        let mut state = self.shared.state.lock();
        if is_begun {
            state.begun.insert(group);
        } else {
            state.begun.remove(&group);
        }
    }
}

struct Open<D: Disk> {
    writer: SnapshotWriter<D>,
    index: LogIndex,
}

/// The writer's thread. `inbox_of` finds the worker of a group; `before_each` may panic, as a test asks.
pub fn write_snapshots<D: Disk, M: Machine>(
    disk: &D,
    dir: &Path,
    queue: &SnapshotQueue,
    inbox_of: impl Fn(ShardId) -> Inbox<M>,
    before_each: impl Fn(),
) {
    let tell = |group, told| inbox_of(group).push_for(group, GroupInput::from(told));
    for group in queue.reopen() {
        tell(group, Told::Failed);
    }
    let mut desk = SnapshotDesk::new(disk.clone(), dir.to_owned());
    while let Some(work) = queue.next() {
        before_each();
        let group = work.group();
        let step = desk.take(work);
        match &step {
            Step::Begun => queue.set_begun(group, true),
            Step::Written => {}
            Step::Ended | Step::Finished(_) | Step::Failed => queue.set_begun(group, false),
        }
        if let Some(told) = step.told() {
            tell(group, told);
        }
    }
}

/// The files that are being written, without a thread.
pub(crate) struct SnapshotDesk<D: Disk> {
    disk: D,
    dir: PathBuf,
    open: BTreeMap<ShardId, Open<D>>,
    /// One complete file before the newest is kept: a follower may be fetching it.
    previous: BTreeMap<ShardId, LogIndex>,
}

/// What a group is told of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A chunk was taken.
    ChunkWritten,
    /// The file is durable.
    Written(LogIndex),
    /// It could not be written.
    Failed,
}

impl<M: Machine> From<Told> for GroupInput<M> {
    fn from(told: Told) -> Self {
        match told {
            Told::ChunkWritten => Self::ChunkWritten,
            Told::Written(index) => Self::SnapshotWritten(index),
            Told::Failed => Self::SnapshotFailed,
        }
    }
}

impl SnapshotWork {
    /// Whose.
    pub(crate) const fn group(&self) -> ShardId {
        match self {
            Self::Begin { group, .. }
            | Self::Chunk { group, .. }
            | Self::Finish { group }
            | Self::Abort { group } => *group,
        }
    }
}

impl<D: Disk> SnapshotDesk<D> {
    /// A desk on which nothing is begun.
    pub(crate) const fn new(disk: D, dir: PathBuf) -> Self {
        Self { disk, dir, open: BTreeMap::new(), previous: BTreeMap::new() }
    }

    /// Does one piece of work.
    pub(crate) fn take(&mut self, work: SnapshotWork) -> Step {
        let group = work.group();
        match step(&self.disk, &self.dir, work, &mut self.open) {
            Ok(Step::Finished(index)) => {
                if let Some(keep) = self.previous.insert(group, index)
                    && let Err(error) =
                        snapshot_file::remove_older(&self.disk, &self.dir, group, keep)
                {
                    tracing::warn!(shard = %group, %error, "old snapshots stay");
                }
                Step::Finished(index)
            }
            Ok(step) => step,
            Err(error) => {
                tracing::error!(shard = %group, %error, "a snapshot could not be written; the log is kept instead");
                self.open.remove(&group);
                Step::Failed
            }
        }
    }
}

/// What came of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Begun,
    Written,
    Finished(LogIndex),
    Ended,
    Failed,
}

impl Step {
    /// What the group must hear of it.
    pub(crate) const fn told(self) -> Option<Told> {
        match self {
            Self::Begun | Self::Ended => None,
            Self::Written => Some(Told::ChunkWritten),
            Self::Finished(index) => Some(Told::Written(index)),
            Self::Failed => Some(Told::Failed),
        }
    }
}

fn step<D: Disk>(
    disk: &D,
    dir: &Path,
    work: SnapshotWork,
    open: &mut BTreeMap<ShardId, Open<D>>,
) -> Result<Step, SnapshotError> {
    match work {
        SnapshotWork::Begin { group, origin } => {
            open.remove(&group);
            let index = LogIndex(origin.index);
            let id = SnapshotId { shard: group, index, term: Term(origin.term) };
            let writer = SnapshotWriter::create(disk, dir, id, origin.write())?;
            open.insert(group, Open { writer, index });
            Ok(Step::Begun)
        }
        SnapshotWork::Chunk { group, bytes } => {
            // Pieces of a file that failed come after its end: nobody waits for them.
            if let Some(file) = open.get_mut(&group) {
                for piece in bytes.chunks(SNAPSHOT_CHUNK_BYTES_MAX) {
                    file.writer.chunk(piece)?;
                }
            }
            Ok(Step::Written)
        }
        SnapshotWork::Finish { group } => match open.remove(&group) {
            Some(file) => {
                file.writer.finish()?;
                Ok(Step::Finished(file.index))
            }
            None => Ok(Step::Ended),
        },
        SnapshotWork::Abort { group } => {
            open.remove(&group);
            Ok(Step::Ended)
        }
    }
}
