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
    /// Groups whose snapshot the writer has come to and not ended: if it falls they must be told.
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
                // From here on: the writer may fall before the file is begun.
                if matches!(work, SnapshotWork::Begin { .. }) {
                    state.begun.insert(work.group());
                }
                return Some(work);
            }
            self.shared.wake.wait(&mut state);
        }
    }

    /// Begins anew: what an earlier writer left unfinished, or had not come to yet, is void. The groups
    /// concerned, each of which waits for the end of its snapshot before it takes another.
    fn reopen(&self) -> BTreeSet<ShardId> {
        let mut state = self.shared.state.lock();
        state.is_closing = false;
        let mut void = std::mem::take(&mut state.begun);
        let queued = state.work.drain(..).filter(|work| matches!(work, SnapshotWork::Begin { .. }));
        void.extend(queued.map(|work| work.group()));
        void
    }

    fn set_ended(&self, group: ShardId) {
        self.shared.state.lock().begun.remove(&group);
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
            Step::Begun | Step::Written => {}
            Step::Ended | Step::Finished(_) | Step::Failed => queue.set_ended(group),
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

#[cfg(test)]
mod tests {
    use keystead_types::UnixMillis;

    use super::*;
    use crate::entry::Origin;

    fn begin(group: u32) -> SnapshotWork {
        let origin = Origin { index: 1, term: 1, conf: Default::default(), now: UnixMillis(0) };
        SnapshotWork::Begin { group: ShardId(group), origin }
    }

    fn chunk(group: u32) -> SnapshotWork {
        SnapshotWork::Chunk { group: ShardId(group), bytes: Vec::new() }
    }

    /// A group that is not told waits for ever: it never takes a snapshot again, and its log grows.
    #[test]
    fn whoever_waits_for_a_writer_that_fell_is_told() {
        let mut queue = SnapshotQueue::default();
        for work in [begin(1), chunk(1), begin(2), begin(3), chunk(3)] {
            queue.take(work);
        }
        // The first one's file is begun; with the second the writer falls; to the third it never came.
        for _ in 0..3 {
            assert!(queue.next().is_some());
        }
        assert_eq!(queue.reopen(), [1, 2, 3].map(ShardId).into());
        assert_eq!(queue.reopen(), BTreeSet::new(), "they are told once");
        queue.take(begin(1));
        assert!(queue.next().is_some());
        queue.set_ended(ShardId(1));
        assert_eq!(queue.reopen(), BTreeSet::new(), "what has ended is not void");
    }
}
