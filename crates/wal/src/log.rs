//! The log itself, without a thread: append, sync, purge, make ready the next segment.
//! Owns: [`Log`], the order of writes, fsyncs and renames. Never: threads, waiting, clocks, who asked (see `writer`).
//! Called by `writer` (its thread) and by the simulator (inline).
//!
//! INV-WAL6: after a write or an fsync failed, nothing is written or synced ever again through this log.
//! INV-WAL7: a block is written only into a segment whose name and header are durable.
//! INV-WAL8: an older segment is let go only when all that makes it superfluous is durable: the head of the newer
//! segment, with every group's state and snapshot carried forward, and the records that replace its entries.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{LogIndex, NodeId, ShardId, limits};

use crate::batch::{Batch, FLAG_CLOSED, Position, Seal};
use crate::directory::{found, tidy};
use crate::disk::{Disk, DiskFile, LockError};
use crate::error::WalError;
use crate::ledger::{Ledger, Pin, Retired};
use crate::recovery::{self, Recovered, Reopened};
use crate::segment::{
    FIRST_BLOCK_OFFSET, Identity, Preparation, SEGMENT_HEADER_BYTES, Segment, SegmentHeader,
    SpareOrder, Stage,
};
use crate::shelf::Shelf;

/// Settings of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Size of a segment. A block that is larger gets a larger segment.
    pub segment_bytes: u64,
    /// Free bytes on the disk that a new segment must leave alone.
    pub reserve_bytes: u64,
    /// Whose log it becomes if there is none yet; an existing log keeps the identity it has.
    pub identity_if_new: Identity,
}

impl LogOptions {
    /// The defaults for a node.
    #[must_use]
    pub fn new(node: NodeId, log_id: u64) -> Self {
        Self {
            segment_bytes: limits::SEGMENT_BYTES,
            reserve_bytes: limits::SEGMENT_BYTES,
            identity_if_new: Identity { node, log_id },
        }
    }
}

/// One segmented, checksummed log for all groups of a node.
///
/// ```
/// use keystead_types::{LogIndex, NodeId, ShardId};
/// use keystead_wal::{Batch, Log, LogOptions, MemoryDisk};
///
/// # fn main() -> Result<(), keystead_wal::WalError> {
/// let disk = MemoryDisk::new(1 << 20);
/// let options = LogOptions { segment_bytes: 4096, reserve_bytes: 0, ..LogOptions::new(NodeId(7), 42) };
/// let (mut log, _) = Log::open(disk.clone(), "/node".as_ref(), options.clone())?;
/// let mut batch = Batch::new();
/// batch.push_entry(ShardId(1), LogIndex(1), b"durable");
/// log.append(&mut batch)?;
/// log.sync()?;
/// batch.push_entry(ShardId(1), LogIndex(2), b"perhaps");
/// log.append(&mut batch)?;
///
/// disk.power_loss(3);
/// let (_, recovered) = Log::open(disk, "/node".as_ref(), options)?;
/// assert_eq!(recovered.groups[&ShardId(1)].entries[0].1, "durable");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: D,
    log_dir: PathBuf,
    options: LogOptions,
    identity: Identity,
    active: Segment<D::File>,
    /// Where the next block goes in `active`.
    end_offset: u64,
    next_block: u64,
    /// Segments that were left with blocks not synced yet, oldest first.
    unsynced: Vec<Segment<D::File>>,
    pending: Pending,
    synced: Position,
    /// What the last block says about `synced`.
    vouched: Position,
    spare: Option<Segment<D::File>>,
    ledger: Ledger,
    counters: Counters,
    is_poisoned: bool,
    scratch: Vec<u8>,
    carry: Batch,
    _lock: D::Lock,
}

/// What was written since the last sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// Only an empty block. Not worth a sync, but not durable either.
    Mark,
    Records,
}

#[derive(Debug, Default)]
struct Counters {
    blocks: u64,
    bytes: u64,
    syncs: u64,
}

/// The log in numbers, for metrics and the dashboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Segments on disk, the spare not counted.
    pub segments: usize,
    /// Their size.
    pub segment_bytes: u64,
    /// Blocks written since the log was opened.
    pub blocks_total: u64,
    /// Bytes written since the log was opened.
    pub bytes_total: u64,
    /// Fsyncs of the log since it was opened.
    pub syncs_total: u64,
    /// Where the next block goes.
    pub end: Position,
    /// Everything before this is durable.
    pub synced: Position,
    /// Who keeps the oldest segment from being removed, if it is not the one written to.
    pub oldest_pin: Option<Pin>,
}

impl<D: Disk> Log<D> {
    /// Opens the log in `data_dir`, or makes one, and returns it with what it held.
    ///
    /// What is returned is durable. Reads everything once; blocks for as long as that takes.
    ///
    /// # Errors
    /// [`Kind::Corrupt`](crate::Kind::Corrupt) if synced bytes are not what was written: nothing is changed then.
    /// [`Kind::Conflict`](crate::Kind::Conflict) if another process has the directory.
    pub fn open(
        disk: D,
        data_dir: &Path,
        options: LogOptions,
    ) -> Result<(Self, Recovered), WalError> {
        let log_dir = data_dir.join("log");
        disk.create_dir(&log_dir).map_err(WalError::io("create the directory", &log_dir))?;
        let lock_path = data_dir.join("lock");
        let lock = disk.lock(&lock_path).map_err(|error| match error {
            LockError::Held { pid } => WalError::Locked { path: lock_path.clone(), pid },
            LockError::Io(source) => {
                WalError::Io { operation: "lock", path: lock_path.clone(), source }
            }
        })?;
        let (used, spares) = tidy(&disk, &log_dir)?;
        let reopened = if used.is_empty() {
            found(&disk, &log_dir, &options)?
        } else {
            recovery::reopen(&disk, &log_dir, &used)?
        };
        let Reopened { active, end, next_block, ledger, recovered } = reopened;
        let mut log = Self {
            spare: None,
            end_offset: end.offset,
            synced: end,
            vouched: Position::default(),
            identity: recovered.identity,
            carry: Batch::new(),
            counters: Counters::default(),
            unsynced: Vec::new(),
            pending: Pending::Nothing,
            is_poisoned: false,
            scratch: Vec::new(),
            _lock: lock,
            disk,
            log_dir,
            options,
            active,
            next_block,
            ledger,
        };
        log.adopt_spare(&spares)?;
        Ok((log, recovered))
    }

    /// Appends one batch and takes its records out of it. Not durable until [`Log::sync`].
    ///
    /// Makes the next segment on the spot if none is ready.
    ///
    /// # Errors
    /// [`WalError::Full`] if there is no room: nothing was written, the batch is as it was.
    /// [`WalError::Append`] if the write failed: the log is poisoned.
    ///
    /// # Panics
    /// If the batch leaves a gap in a group's entries (INV-WAL3).
    pub fn append(&mut self, batch: &mut Batch) -> Result<Position, WalError> {
        loop {
            if self.append_all(std::slice::from_mut(batch))? == 1 {
                return Ok(self.end());
            }
            if self.spare.is_some() {
                // The spare is there but cannot grow to the size of this batch.
                return Err(self.full(batch.bytes() as u64));
            }
            self.prepare_segment()?;
        }
    }

    /// Appends as many of the batches as there is room for, in order, with as few writes as possible; takes the
    /// records out of those and returns how many they are.
    ///
    /// Fewer than all means that a new segment is needed and none is ready: [`Log::prepare_segment`].
    ///
    /// # Errors
    /// [`WalError::Append`] if a write failed: the log is poisoned, and of the batches nothing is known.
    ///
    /// # Panics
    /// If a batch leaves a gap in a group's entries (INV-WAL3).
    pub fn append_all<B: AsMut<Batch>>(&mut self, batches: &mut [B]) -> Result<usize, WalError> {
        self.refuse_if_poisoned()?;
        let mut written = 0;
        while written < batches.len() {
            let rest = &mut batches[written..];
            let room = self.active.size_bytes.saturating_sub(self.end_offset);
            let fitting = count_fitting(rest, room);
            if fitting == 0 {
                if !self.rotate(rest[0].as_mut().bytes() as u64)? {
                    break;
                }
                continue;
            }
            self.write_run(&mut rest[..fitting])?;
            written += fitting;
        }
        Ok(written)
    }

    /// Makes everything appended so far durable. Costs nothing if it already is.
    ///
    /// # Errors
    /// [`WalError::Sync`]: the log is poisoned; what was appended since the last sync is durable or lost.
    pub fn sync(&mut self) -> Result<(), WalError> {
        self.refuse_if_poisoned()?;
        if self.pending != Pending::Records {
            return Ok(());
        }
        let end = self.end();
        // ORDER: oldest first, so that what is durable is a prefix of the log at every moment.
        for segment in self.unsynced.iter().chain([&self.active]) {
            if let Err(source) = segment.file.sync()
                && !is_made(Mistake::FsyncErrorIgnored)
            {
                // INV-WAL6
                self.is_poisoned = true;
                return Err(WalError::Sync { path: segment.path.clone(), source });
            }
            self.counters.syncs += 1;
        }
        self.unsynced.clear();
        self.pending = Pending::Nothing;
        self.synced = end;
        Ok(())
    }

    /// Writes (and does not sync) an empty block, if there is something durable that no block vouches for yet.
    /// For a moment when the log is idle; see `recovery`.
    ///
    /// # Errors
    /// [`WalError::Append`] if the write failed: the log is poisoned.
    pub fn mark(&mut self) -> Result<(), WalError> {
        self.refuse_if_poisoned()?;
        if !self.wants_mark() {
            return Ok(());
        }
        self.write_mark(0)?;
        self.pending = Pending::Mark;
        Ok(())
    }

    /// Syncs, and says in the log that it was closed in order.
    ///
    /// # Errors
    /// As [`Log::append`] and [`Log::sync`].
    pub fn close(mut self) -> Result<(), WalError> {
        self.sync()?;
        self.write_mark(FLAG_CLOSED)?;
        self.pending = Pending::Records;
        self.sync()
    }

    /// Takes over which entry of which group is the first still needed, and takes the segments that nobody
    /// needs out of the log; some of their files are kept for the segments to come. A group that is not named keeps what it said before; one that never said anything keeps
    /// everything. Entries after a group's latest snapshot stay, whatever is said (INV-WAL1). While something is
    /// not synced nothing is removed (INV-WAL8); what was said is remembered for the next call.
    ///
    /// # Errors
    /// [`WalError::Io`] if a segment cannot be renamed or removed; nobody tries again until the log is reopened.
    pub fn purge(
        &mut self,
        first_needed: &BTreeMap<ShardId, LogIndex>,
    ) -> Result<Vec<Retired>, WalError> {
        let retired = self.retire(first_needed);
        self.shelf().let_go(&self.disk, &retired)?;
        Ok(retired)
    }

    /// As [`Log::purge`], but leaves it to the caller to take the segments out of the log, oldest first.
    pub(crate) fn retire(&mut self, first_needed: &BTreeMap<ShardId, LogIndex>) -> Vec<Retired> {
        self.ledger.need_from(first_needed);
        // INV-WAL8: the ledger already counts what was appended and not synced, so nothing of that kind may be there.
        if self.has_unsynced() {
            return Vec::new();
        }
        self.ledger.retire_before(self.active.sequence)
    }

    /// The group that keeps the oldest segment from being removed, and up to which entry: a snapshot of that
    /// group is what helps. `None` if only the segment being written is left.
    #[must_use]
    pub fn oldest_pinning_group(&self) -> Option<Pin> {
        self.ledger.oldest_pin()
    }

    /// Makes the next segment ready, if there is none; all at once.
    ///
    /// # Errors
    /// [`WalError::Full`] if the disk has no room for it; may be tried again. [`WalError::Io`].
    pub fn prepare_segment(&mut self) -> Result<(), WalError> {
        let Some(order) = self.spare_order() else { return Ok(()) };
        let segment = Preparation::begin(&self.disk, order)?.finish(&self.disk)?;
        self.install_spare(segment);
        Ok(())
    }

    /// What to make, if no spare is ready.
    pub(crate) fn spare_order(&self) -> Option<SpareOrder> {
        self.spare.is_none().then(|| SpareOrder {
            log_dir: self.log_dir.clone(),
            sequence: self.active.sequence + 1,
            identity: self.identity,
            size_bytes: self.options.segment_bytes,
            reserve_bytes: self.options.reserve_bytes,
        })
    }

    /// Where its retired segments go.
    pub(crate) fn shelf(&self) -> Shelf {
        Shelf {
            log_dir: self.log_dir.clone(),
            segment_bytes: self.options.segment_bytes,
            reserve_bytes: self.options.reserve_bytes,
        }
    }

    /// Takes a segment that was made to [`Log::spare_order`].
    pub(crate) fn install_spare(&mut self, segment: Segment<D::File>) {
        assert_eq!(
            segment.sequence,
            self.active.sequence + 1,
            "the spare follows the active segment"
        );
        self.spare = Some(segment);
    }

    /// The log in numbers.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        LogStats {
            segments: self.ledger.segments(),
            segment_bytes: self.ledger.segment_bytes(),
            blocks_total: self.counters.blocks,
            bytes_total: self.counters.bytes,
            syncs_total: self.counters.syncs,
            end: self.end(),
            synced: self.synced,
            oldest_pin: self.ledger.oldest_pin(),
        }
    }

    /// True if something was appended that is not synced.
    #[must_use]
    pub fn has_unsynced(&self) -> bool {
        self.pending == Pending::Records
    }

    /// True if the next block can vouch for something no block vouches for yet.
    pub(crate) fn wants_mark(&self) -> bool {
        self.vouched < self.synced && self.pending == Pending::Nothing
    }

    /// True if the batch fits behind the last block, without the next segment.
    pub(crate) fn fits(&self, batch: &Batch) -> bool {
        self.end_offset + batch.bytes() as u64 <= self.active.size_bytes
    }

    /// True if the next segment is ready.
    pub(crate) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// Why the next segment cannot be had, as an error with what the disk says now.
    pub(crate) fn full(&self, needed_bytes: u64) -> WalError {
        WalError::Full {
            path: Stage::Used.path(&self.log_dir, self.active.sequence + 1),
            needed_bytes: needed_bytes.max(self.options.segment_bytes),
            free_bytes: self.disk.free_bytes(&self.log_dir).unwrap_or(0),
            reserve_bytes: self.options.reserve_bytes,
        }
    }

    fn end(&self) -> Position {
        Position { segment: self.active.sequence, offset: self.end_offset }
    }

    fn refuse_if_poisoned(&self) -> Result<(), WalError> {
        if self.is_poisoned { Err(WalError::Poisoned) } else { Ok(()) }
    }

    /// Writes batches that fit into the active segment with one write.
    fn write_run<B: AsMut<Batch>>(&mut self, batches: &mut [B]) -> Result<(), WalError> {
        let start = self.end_offset;
        let synced_through = self.synced;
        let mut offset = start;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let is_alone = batches.len() == 1;
        let mut outcome = Ok(());
        for batch in &mut *batches {
            let batch = batch.as_mut();
            self.ledger.assert_follows(batch);
            self.ledger.note_batch(batch);
            let place = self.active.place(offset);
            let seal = Seal { place, number: self.next_block, synced_through, flags: 0 };
            let block = batch.seal(seal);
            self.next_block += 1;
            offset += block.len() as u64;
            if is_alone {
                outcome = self.active.file.write_at(block, start);
            } else {
                scratch.extend_from_slice(block);
            }
        }
        if !is_alone {
            outcome = self.active.file.write_at(&scratch, start);
        }
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
            self.scratch = scratch;
        }
        self.written(outcome, offset)?;
        self.counters.blocks += batches.len() as u64;
        self.pending = Pending::Records;
        for batch in batches {
            batch.as_mut().clear();
        }
        Ok(())
    }

    fn written(&mut self, outcome: io::Result<()>, end_offset: u64) -> Result<(), WalError> {
        if let Err(source) = outcome {
            // INV-WAL6
            self.is_poisoned = true;
            return Err(WalError::Append { path: self.active.path.clone(), source });
        }
        self.counters.bytes += end_offset - self.end_offset;
        self.end_offset = end_offset;
        self.vouched = self.synced;
        Ok(())
    }

    /// An empty block. If it does not fit, the segment's successor will vouch for this one.
    fn write_mark(&mut self, flags: u32) -> Result<(), WalError> {
        let mut mark = Batch::new();
        let end_offset = self.end_offset + mark.bytes() as u64;
        if end_offset > self.active.size_bytes {
            return Ok(());
        }
        let place = self.active.place(self.end_offset);
        let seal = Seal { place, number: self.next_block, synced_through: self.synced, flags };
        self.next_block += 1;
        let outcome = self.active.file.write_at(mark.seal(seal), self.end_offset);
        self.written(outcome, end_offset)
    }

    /// Goes on in the spare, which must take `block_bytes` behind the carried-forward states. False if there is no
    /// spare, or no room for it to grow.
    fn rotate(&mut self, block_bytes: u64) -> Result<bool, WalError> {
        let Some(mut spare) = self.spare.take() else { return Ok(false) };
        let mut carry = std::mem::take(&mut self.carry);
        carry.clear();
        self.ledger.carry_forward(&mut carry);
        let needed = FIRST_BLOCK_OFFSET + carry.bytes() as u64 + block_bytes;
        if spare.size_bytes < needed {
            if spare.file.allocate(needed).is_err() {
                self.spare = Some(spare);
                return Ok(false);
            }
            spare.size_bytes = needed;
        }
        // INV-WAL7
        let path = Stage::Used.path(&self.log_dir, spare.sequence);
        let renamed =
            self.disk.rename(&spare.path, &path).and_then(|()| self.disk.sync_dir(&self.log_dir));
        if let Err(source) = renamed {
            self.is_poisoned = true;
            return Err(WalError::Append { path, source });
        }
        spare.path = path;
        let previous = std::mem::replace(&mut self.active, spare);
        // Also for a mere mark: a block in the new segment must never vouch for one that may be lost. `synced`
        // stays in the old segment until the new one is synced: so a block that was last there is vouched for
        // by its end, not by "the beginning of the next segment", which a lost block would not contradict.
        if self.pending != Pending::Nothing {
            self.unsynced.push(previous);
        }
        self.end_offset = FIRST_BLOCK_OFFSET;
        self.ledger.begin_segment(
            self.active.sequence,
            self.active.path.clone(),
            self.active.size_bytes,
        );
        // Also if it is empty: a segment begins with a block of this kind, so its first block never waits for
        // a batch that is refused.
        self.write_run(std::slice::from_mut(&mut carry))?;
        self.carry = carry;
        Ok(true)
    }

    /// Uses a spare that was left from before, if it is the one that is needed; removes the others.
    fn adopt_spare(&mut self, spares: &[u64]) -> Result<(), WalError> {
        for sequence in spares.iter().copied() {
            let path = Stage::Spare.path(&self.log_dir, sequence);
            if sequence == self.active.sequence + 1
                && let Some(segment) = self.open_spare(&path)?
            {
                self.spare = Some(segment);
                continue;
            }
            self.disk.remove(&path).map_err(WalError::io("remove", &path))?;
        }
        Ok(())
    }

    fn open_spare(&self, path: &Path) -> Result<Option<Segment<D::File>>, WalError> {
        let file = self.disk.open(path).map_err(WalError::io("open", path))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        file.read_at(&mut bytes, 0).map_err(WalError::io("read", path))?;
        let size_bytes = file.size_bytes().map_err(WalError::io("read the size of", path))?;
        // A spare that cannot be read is made anew.
        let header = SegmentHeader::decode(&bytes, path, self.active.sequence + 1).ok();
        let ours = header.filter(|header| header.identity == self.identity);
        let whole = ours.filter(|_| size_bytes == self.options.segment_bytes);
        Ok(whole.map(|header| Segment::new(file, path.to_owned(), header, size_bytes)))
    }
}

/// A buffer for several blocks is kept for the next write up to this size.
const SCRATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many of the batches, from the first on, fit into `room`.
fn count_fitting<B: AsMut<Batch>>(batches: &mut [B], mut room: u64) -> usize {
    let mut fitting = 0;
    for batch in batches {
        let bytes = batch.as_mut().bytes() as u64;
        if bytes > room {
            break;
        }
        room -= bytes;
        fitting += 1;
    }
    fitting
}
