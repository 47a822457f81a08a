//! Reading the log back: what is there, what was torn off, what is damaged.
//! Owns: the rule below, [`Recovered`], [`Fault`]. Never: opening for new writes (see `log`), or repairing damage.
//!
//! # The rule
//! A power failure may leave the last blocks that were written but not yet synced in any state: there, missing,
//! half there, a later one there and an earlier one missing. Nobody was told that they are durable, so they may be cut
//! off. A block that was synced must never be cut off: somebody was told, and a vote or an acknowledged write
//! hangs on it. Both look the same at first: a block that is not valid. What tells them apart is what stands behind:
//!
//! ```text
//!   synced ----------------------------> | written, not synced
//!   | block 7 | block 8 | block 9 | block 10 (synced through: end of 9) | XXXXXXXX | block 12 (through: end of 9) |
//!                                                                        ^ torn: no later block says that this
//!                                                                          place had been synced -> cut here
//!   | block 7 | XXXXXXX | block 9 (synced through: end of 8) | ...
//!              ^ damaged: block 9 says that block 8 was durable when 9 was written -> refuse
//! ```
//! Every block carries the place up to which the log was durable when it was written. The log is read in order; at
//! the first block that is not valid (checksum, number, length) all that follows, in this segment and in later
//! ones, is searched for block headers. If one of them says that the invalid place had been synced: refuse with
//! [`WalError::Damaged`], change nothing. Else it is a torn tail: everything from there on is zeroed durably, so
//! that no stale block can ever be read as the continuation of a newer one. In a file that was used before, everything
//! up to the last header of this use is: what follows are blocks of earlier uses, which nobody can take for newer ones.
//!
//! A later header is believed only where it was written: its checksum covers its place and the log's identity.
//!
//! # What the rule cannot see
//! The last synced block is vouched for by the block after it. If there is none, damage to it looks like a tear and is
//! cut off. Three things make this window small: the next block closes it; an idle log gets an empty block soon
//! after the last sync (`Log::mark`), which the operating system writes out in its own time; a clean shutdown writes
//! and syncs one. What remains: a disk that loses, in a power failure within that time, the very bytes it
//! had just confirmed. A single log cannot notice that; the group's other replicas still have them.
//!
//! # After reading
//! What was read may only be in the page cache: the process may have died between write and fsync, or even after
//! an fsync that failed, in which case the kernel takes those pages for clean and a new fsync would be a lie. So all that
//! no block vouches for is written again and synced before anybody hears of it.
//!
//! INV-WAL4: what was synced is recovered exactly, or the log refuses to open.
//! INV-WAL5: what is recovered is a prefix of what was appended.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use keystead_types::ShardId;
use keystead_types::mistakes::{Mistake, is_made};

use crate::batch::{
    BLOCK_ALIGN, BLOCK_HEADER_BYTES, BlockHeader, FLAG_CLOSED, Place, Position, block_ends,
};
use crate::buffer::{CHUNK_BYTES, SegmentBuffer, ZEROS};
use crate::disk::{Disk, DiskFile};
use crate::error::WalError;
use crate::ledger::Ledger;
use crate::record::{self, Frame};
use crate::replay::{RecoveredGroup, Replay};
use crate::segment::{
    FIRST_BLOCK_OFFSET, Identity, Remains, SEGMENT_HEADER_BYTES, Segment, SegmentHeader, Stage,
};

/// What the log held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// Whose log it is.
    pub identity: Identity,
    /// Each group that is not removed.
    pub groups: BTreeMap<ShardId, RecoveredGroup>,
    /// What was cut off, if the process before did not end cleanly.
    pub torn_tail: Option<TornTail>,
    /// True if the log was made just now.
    pub is_new: bool,
    /// True if the process before closed the log in order.
    pub was_closed: bool,
    /// Bytes read to get here.
    pub bytes_read: u64,
}

/// Unsynced bytes that were cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the log now ends.
    pub offset: u64,
    /// How many bytes of that segment behind it had been written.
    pub bytes: u64,
}

/// What is wrong with a block or a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no header at all.
    NoHeader,
    /// The header's checksum does not fit.
    HeaderChecksum,
    /// The file ends before the block does.
    CutShort,
    /// A record's checksum does not fit.
    RecordChecksum,
    /// The records are not the ones the header was written for.
    OtherRecords,
    /// A valid block, but not the one that should follow.
    OutOfOrder,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "no header is there",
            Self::HeaderChecksum => "the checksum of the header does not fit",
            Self::CutShort => "the file ends before it does",
            Self::RecordChecksum => "the checksum of a record does not fit",
            Self::OtherRecords => "the records are not those the block was written with",
            Self::OutOfOrder => "blocks are missing before it",
        })
    }
}

/// A log that was read and is ready to be written on.
pub(crate) struct Reopened<D: Disk> {
    pub(crate) active: Segment<D::File>,
    pub(crate) end: Position,
    pub(crate) next_block: u64,
    pub(crate) ledger: Ledger,
    pub(crate) recovered: Recovered,
}

/// Reads the segments in `sequences` (not empty, rising), cuts off a torn tail, makes the rest durable.
pub(crate) fn reopen<D: Disk>(
    disk: &D,
    log_dir: &Path,
    sequences: &[u64],
) -> Result<Reopened<D>, WalError> {
    for pair in sequences.windows(2) {
        if pair[0] + 1 != pair[1] {
            return Err(WalError::MissingSegment { path: Stage::Used.path(log_dir, pair[0] + 1) });
        }
    }
    let mut reader = Reader::new(disk, log_dir, sequences[0]);
    let mut sequences = sequences.iter().copied();
    let mut tail = None;
    let mut later = Vec::new();
    for sequence in sequences.by_ref() {
        let loaded = reader.load(sequence)?;
        let order = if tail.is_none() { Order::Oldest } else { Order::Later };
        match reader.walk(loaded, order)? {
            Walked::Joined(next) => {
                if let Some(before) = tail.replace(next) {
                    reader.buffer = before.loaded.buffer;
                }
            }
            Walked::Apart(loaded) => {
                later.push(loaded);
                break;
            }
        }
    }
    let tail = tail.expect("the first segment always joins, and there is one");
    for sequence in sequences {
        later.push(reader.load(sequence)?);
    }
    reader.refuse_damage(&tail, &later)?;
    let torn_tail = reader.cut(&tail, &later)?;
    reader.make_durable(&tail)?;
    reader.finish(tail, torn_tail)
}

/// What the log in `data_dir` has of one group, while a writer goes on appending for others.
///
/// For a group that fell and is built anew. Changes nothing. `None` if the log knows nothing of the group. Reads the
/// whole log: blocks for as long as opening it does.
///
/// What is read need not be durable, and what is on its way is not read. So first submit an empty batch with
/// `must_sync` and wait for its completion: then everything that was submitted before it is read, and is durable.
///
/// # Errors
/// [`WalError`] if a segment cannot be read, or vanished because it was purged meanwhile: try again then.
pub fn read_group<D: Disk>(
    disk: &D,
    data_dir: &Path,
    group: ShardId,
) -> Result<Option<RecoveredGroup>, WalError> {
    let log_dir = data_dir.join("log");
    let names = disk.list(&log_dir).map_err(WalError::io("list", &log_dir))?;
    let used = names.iter().filter_map(|name| match Stage::of_name(name) {
        Some((Stage::Used, sequence)) => Some(sequence),
        _ => None,
    });
    let mut sequences: Vec<u64> = used.collect();
    sequences.sort_unstable();
    let Some(first) = sequences.first() else { return Ok(None) };
    let mut reader = Reader::new(disk, &log_dir, *first);
    for (position, sequence) in sequences.iter().enumerate() {
        let loaded = reader.load(*sequence)?;
        // A segment that left the log may have become another while it was read; it lost its name before.
        let path = &loaded.segment.path;
        disk.open(path).map_err(WalError::io("open", path))?;
        let order = if position == 0 { Order::Oldest } else { Order::Later };
        // Behind the first block that is not valid the writer is at work.
        match reader.walk(loaded, order)? {
            Walked::Joined(tail) => reader.buffer = tail.loaded.buffer,
            Walked::Apart(_) => break,
        }
    }
    let (mut groups, _) = reader.replay.finish(&log_dir)?;
    Ok(groups.remove(&group))
}

/// A segment in memory.
struct Loaded<F> {
    segment: Segment<F>,
    buffer: SegmentBuffer,
    identity: Identity,
    remains: Remains,
}

impl<F: DiskFile> Loaded<F> {
    /// Behind this (at least `from`) nothing stands that was written in this use of the file, but for what no header
    /// leads to.
    fn written_end(&self, from: usize) -> usize {
        match self.remains {
            Remains::Zeros => self.buffer.nonzero_end().max(from),
            Remains::OlderBlocks => self.headers(from).last().map_or(from, |(offset, header)| {
                let whole = block_ends(header.body_bytes).map_or(BLOCK_HEADER_BYTES, |ends| ends.1);
                offset.saturating_add(whole).min(self.buffer.bytes().len())
            }),
        }
    }

    /// The block headers from `from` on, wherever they are.
    fn headers(&self, from: usize) -> impl Iterator<Item = (usize, BlockHeader)> {
        let from = from.next_multiple_of(BLOCK_ALIGN);
        (from..self.buffer.nonzero_end()).step_by(BLOCK_ALIGN).filter_map(|offset| {
            let place: Place = self.segment.place(offset as u64);
            let rest = self.buffer.bytes().get(offset..).unwrap_or_default();
            Some((offset, BlockHeader::decode(place, rest)?))
        })
    }
}

/// The last segment that the log runs through, and where it ends there.
struct Tail<F> {
    loaded: Loaded<F>,
    end: usize,
    fault: Fault,
}

/// Which segment is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Oldest,
    Later,
}

/// Whether a segment continues the log.
enum Walked<F> {
    Joined(Tail<F>),
    Apart(Loaded<F>),
}

struct Reader<'a, D: Disk> {
    disk: &'a D,
    log_dir: &'a Path,
    identity: Option<Identity>,
    next_block: Option<u64>,
    /// The furthest place that a block vouches for.
    vouched: Position,
    is_closed: bool,
    replay: Replay,
    bytes_read: u64,
    /// For the next segment.
    buffer: SegmentBuffer,
}

impl<'a, D: Disk> Reader<'a, D> {
    fn new(disk: &'a D, log_dir: &'a Path, first_sequence: u64) -> Self {
        Self {
            disk,
            log_dir,
            identity: None,
            // A whole log begins with block 1, also if that stands in the second segment because it did not fit
            // into the first; one that was purged begins with whatever its oldest segment does.
            next_block: (first_sequence == 1).then_some(1),
            vouched: Position { segment: first_sequence, offset: FIRST_BLOCK_OFFSET },
            is_closed: false,
            replay: Replay::default(),
            bytes_read: 0,
            buffer: SegmentBuffer::default(),
        }
    }

    /// Reads a whole segment and checks its header.
    fn load(&mut self, sequence: u64) -> Result<Loaded<D::File>, WalError> {
        let path = Stage::Used.path(self.log_dir, sequence);
        let file = self.disk.open(&path).map_err(WalError::io("open", &path))?;
        let size_bytes = file.size_bytes().map_err(WalError::io("read the size of", &path))?;
        let buffer = std::mem::take(&mut self.buffer);
        let buffer = buffer.read(&file, size_bytes).map_err(WalError::io("read", &path))?;
        self.bytes_read += size_bytes;
        let header = SegmentHeader::decode(buffer.bytes(), &path, sequence)?;
        if *self.identity.get_or_insert(header.identity) != header.identity {
            return Err(WalError::Foreign { path });
        }
        let segment = Segment::new(file, path, header, size_bytes);
        Ok(Loaded { segment, buffer, identity: header.identity, remains: header.remains })
    }

    /// Replays the segment's blocks up to the first that is not valid. A segment whose first block does not
    /// follow the last one read is left apart.
    fn walk(&mut self, loaded: Loaded<D::File>, order: Order) -> Result<Walked<D::File>, WalError> {
        let mut offset = SEGMENT_HEADER_BYTES;
        let mut records = Vec::new();
        let mut read = self.read_block(&loaded, offset, &mut records);
        if order == Order::Later && read.is_err() {
            return Ok(Walked::Apart(loaded));
        }
        if let Err(fault) = read
            && loaded.segment.sequence > 1
        {
            // INV-WAL8: the segments before it were let go only when its head was durable.
            let path = loaded.segment.path;
            return Err(WalError::DamagedHead { path, offset: FIRST_BLOCK_OFFSET, fault });
        }
        self.replay.begin_segment(&loaded.segment);
        loop {
            let (header, end) = match read {
                Ok(block) => block,
                Err(fault) => return Ok(Walked::Joined(Tail { loaded, end: offset, fault })),
            };
            self.next_block = Some(header.number + 1);
            self.vouched = self.vouched.max(header.synced_through);
            self.is_closed = header.flags & FLAG_CLOSED != 0;
            self.replay.block(loaded.buffer.bytes(), &records);
            offset = end;
            read = self.read_block(&loaded, offset, &mut records);
        }
    }

    /// Checks the block at `offset` as a whole and leaves its records in `records`.
    fn read_block(
        &self,
        loaded: &Loaded<D::File>,
        offset: usize,
        records: &mut Vec<(usize, Frame)>,
    ) -> Result<(BlockHeader, usize), Fault> {
        records.clear();
        let rest = loaded.buffer.bytes().get(offset..).unwrap_or_default();
        if rest.len() < BLOCK_HEADER_BYTES {
            return Err(Fault::NoHeader);
        }
        let place = loaded.segment.place(offset as u64);
        let Some(header) = BlockHeader::decode(place, rest) else {
            let is_blank = rest[..BLOCK_HEADER_BYTES].iter().all(|byte| *byte == 0);
            return Err(if is_blank { Fault::NoHeader } else { Fault::HeaderChecksum });
        };
        if self.next_block.is_some_and(|next| next != header.number) {
            return Err(Fault::OutOfOrder);
        }
        let (body_end, block_end) = block_ends(header.body_bytes)
            .filter(|(_, block_end)| *block_end <= rest.len())
            .ok_or(Fault::CutShort)?;
        let mut at = BLOCK_HEADER_BYTES;
        let mut digest = 0;
        while at < body_end {
            let frame = record::decode(&rest[at..body_end]).ok_or(Fault::RecordChecksum)?;
            digest = crc32c::crc32c_append(digest, &frame.crc.to_le_bytes());
            records.push((offset + at, frame));
            at += frame.frame_bytes();
        }
        if digest != header.digest || records.len() != header.records as usize {
            return Err(Fault::OtherRecords);
        }
        Ok((header, offset + block_end))
    }

    /// INV-WAL4: searches all that follows the end for a block that says this place had been synced.
    fn refuse_damage(
        &self,
        tail: &Tail<D::File>,
        later: &[Loaded<D::File>],
    ) -> Result<(), WalError> {
        if is_made(Mistake::TornMiddleAccepted) {
            return Ok(());
        }
        let end = Position { segment: tail.loaded.segment.sequence, offset: tail.end as u64 };
        let in_tail = witness(&tail.loaded, tail.end, end).map(|offset| (&tail.loaded, offset));
        let found = in_tail.or_else(|| {
            later.iter().find_map(|loaded| {
                let offset = witness(loaded, SEGMENT_HEADER_BYTES, end)?;
                Some((loaded, offset))
            })
        });
        let Some((witness, witness_offset)) = found else { return Ok(()) };
        // If nothing was written behind the segment's last valid block, the log went on in the next one, and it is
        // the beginning of that one which is damaged. A block that follows blocks which are missing is not.
        let in_next = later.first().filter(|_| tail.loaded.written_end(tail.end) == tail.end);
        let in_next = in_next.and_then(|next| {
            let fault = self.read_block(next, SEGMENT_HEADER_BYTES, &mut Vec::new()).err()?;
            let is_whole = fault == Fault::OutOfOrder && next.remains == Remains::OlderBlocks;
            (!is_whole).then_some((&next.segment.path, SEGMENT_HEADER_BYTES, fault))
        });
        let (path, offset, fault) =
            in_next.unwrap_or((&tail.loaded.segment.path, tail.end, tail.fault));
        Err(WalError::Damaged {
            path: path.clone(),
            offset: offset as u64,
            fault,
            witness: witness.segment.path.clone(),
            witness_offset: witness_offset as u64,
        })
    }

    /// Removes what lies behind the end, so that it can never be read as the continuation of newer blocks.
    fn cut(
        &self,
        tail: &Tail<D::File>,
        later: &[Loaded<D::File>],
    ) -> Result<Option<TornTail>, WalError> {
        // ORDER: later segments go first, newest first and durably. Should the power fail in between, the tear is
        // still there to be found, and a stale segment never stands behind blocks that are newer than it.
        for loaded in later.iter().rev() {
            let path = &loaded.segment.path;
            self.disk.remove(path).map_err(WalError::io("remove", path))?;
        }
        if !later.is_empty() {
            self.disk
                .sync_dir(self.log_dir)
                .map_err(WalError::io("sync the directory", self.log_dir))?;
        }
        let Segment { file, path, .. } = &tail.loaded.segment;
        let written_end = tail.loaded.written_end(tail.end);
        let mut at = tail.end;
        while at < written_end {
            let length = (written_end - at).min(CHUNK_BYTES);
            file.write_at(&ZEROS[..length], at as u64).map_err(WalError::io("zero", path))?;
            at += length;
        }
        let bytes = (written_end - tail.end) as u64;
        let has_later_blocks = later
            .iter()
            .any(|loaded| loaded.written_end(SEGMENT_HEADER_BYTES) > SEGMENT_HEADER_BYTES);
        if bytes == 0 && !has_later_blocks {
            return Ok(None);
        }
        file.sync().map_err(|source| WalError::Sync { path: path.clone(), source })?;
        Ok(Some(TornTail { path: path.clone(), offset: tail.end as u64, bytes }))
    }

    /// Writes again and syncs what no block vouches for: it may be in the page cache only.
    fn make_durable(&self, tail: &Tail<D::File>) -> Result<(), WalError> {
        let last = &tail.loaded.segment;
        for sequence in self.vouched.segment..last.sequence {
            let path = Stage::Used.path(self.log_dir, sequence);
            let file = self.disk.open(&path).map_err(WalError::io("open", &path))?;
            let end = file.size_bytes().map_err(WalError::io("read the size of", &path))?;
            rewrite(&file, &path, self.vouched_in(sequence)..end)?;
        }
        rewrite(&last.file, &last.path, self.vouched_in(last.sequence)..tail.end as u64)
    }

    fn vouched_in(&self, sequence: u64) -> u64 {
        if self.vouched.segment == sequence { self.vouched.offset } else { FIRST_BLOCK_OFFSET }
    }

    fn finish(
        self,
        tail: Tail<D::File>,
        torn_tail: Option<TornTail>,
    ) -> Result<Reopened<D>, WalError> {
        let end = Position { segment: tail.loaded.segment.sequence, offset: tail.end as u64 };
        let (groups, ledger) = self.replay.finish(self.log_dir)?;
        let recovered = Recovered {
            identity: tail.loaded.identity,
            groups,
            torn_tail,
            is_new: false,
            was_closed: self.is_closed,
            bytes_read: self.bytes_read,
        };
        let next_block = self.next_block.unwrap_or(1);
        Ok(Reopened { active: tail.loaded.segment, end, next_block, ledger, recovered })
    }
}

/// The first block header in `loaded` from `from` on which says that more than `end` had been synced.
fn witness<F: DiskFile>(loaded: &Loaded<F>, from: usize, end: Position) -> Option<usize> {
    let mut headers = loaded.headers(from);
    headers.find(|(_, header)| header.synced_through > end).map(|(offset, _)| offset)
}

fn rewrite<F: DiskFile>(
    file: &F,
    path: &Path,
    range: std::ops::Range<u64>,
) -> Result<(), WalError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length =
            usize::try_from(range.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = file.read_at(&mut buffer[..length], at).map_err(WalError::io("read", path))?;
        if read == 0 {
            break;
        }
        file.write_at(&buffer[..read], at)
            .map_err(|source| WalError::Append { path: path.to_owned(), source })?;
        at += read as u64;
    }
    file.sync().map_err(|source| WalError::Sync { path: path.to_owned(), source })
}
