//! What is appended at once: a run of records, encoded where it is made.
//! Owns: [`Batch`], the block around its records, what the block says about what was synced before it.
//! Never: I/O. Workers fill batches (and compute the records' checksums, off the writer's thread); `log` seals
//! and writes them; the writer gives them back for reuse.
//!
//! ```text
//! block:  | header, 56 bytes | record | record | ... | zeros up to a multiple of 8 |
//! header: | magic u32 | crc u32 | block number u64 | body bytes u64 | synced segment u64 | synced offset u64 |
//!         | records u32 | digest u32 | flags u32 | 0 u32 |                                       little endian
//! ```
//! `crc` covers the rest of the header and, without standing in it, the log's identity, the segment's number
//! and the block's offset: bytes that were copied to another place (by a client who stores a file of ours as a
//! value, or by a disk that writes to the wrong address) are not a block there. `digest` is the CRC-32C of the
//! records' checksums, so that a header vouches for exactly its records.

use std::ops::Range;

use keystead_types::{LogIndex, ShardId};

use crate::record::{self, Parts, Record, RecordKind, u32_at, u64_at};

/// Bytes before a block's first record.
pub(crate) const BLOCK_HEADER_BYTES: usize = 56;
/// Blocks begin at multiples of this, so that the search for a later block need not look at every byte.
pub(crate) const BLOCK_ALIGN: usize = 8;
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"KBLK");
/// The log was closed after this block; nothing follows it.
pub(crate) const FLAG_CLOSED: u32 = 1;
/// Batches keep their buffer for reuse up to this size; a larger one is given back to the allocator.
const KEPT_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A run of records that is written as one block. Reusable: the writer hands it back empty.
#[derive(Debug)]
pub struct Batch {
    /// Room for the block's header, then the records.
    bytes: Vec<u8>,
    records: u32,
    digest: u32,
    notes: Vec<Note>,
}

impl Batch {
    /// A batch without records.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: vec![0; BLOCK_HEADER_BYTES], records: 0, digest: 0, notes: Vec::new() }
    }

    /// Adds a log entry, which replaces everything the group had at `index` and after it.
    pub fn push_entry(&mut self, group: ShardId, index: LogIndex, payload: &[u8]) {
        self.push(Record::Entry { group, index, payload });
    }

    /// Adds the group's hard state, which replaces the one before.
    pub fn push_state(&mut self, group: ShardId, payload: &[u8]) {
        self.push(Record::State { group, payload });
    }

    /// Adds a snapshot the group made of itself: entries up to `index` are dropped, later ones stay.
    pub fn push_snapshot(&mut self, group: ShardId, index: LogIndex, payload: &[u8]) {
        self.push(Record::Snapshot { group, index, payload });
    }

    /// Adds a snapshot the group took over from another replica: all its entries are dropped.
    pub fn push_installed(&mut self, group: ShardId, index: LogIndex, payload: &[u8]) {
        self.push(Record::Installed { group, index, payload });
    }

    /// Forgets the group and everything it had.
    pub fn push_removed(&mut self, group: ShardId) {
        self.push(Record::Removed { group });
    }

    /// Adds any record.
    ///
    /// # Panics
    /// If the payload is 4 GiB or longer; `limits::ENTRY_BYTES_MAX` is far below.
    pub fn push(&mut self, record: Record<'_>) {
        let parts = Parts::from(record);
        let crc = record::encode(&parts, &mut self.bytes);
        let end = self.bytes.len();
        self.digest = crc32c::crc32c_append(self.digest, &crc.to_le_bytes());
        self.records += 1;
        Note::add(&mut self.notes, &parts, end - parts.payload.len()..end);
    }

    /// True if there is no record in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes it will take in the log.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len().next_multiple_of(BLOCK_ALIGN)
    }

    /// Records in it.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records as usize
    }

    /// Takes all records out; the buffer stays, unless it is very large.
    pub fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BUFFER_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(BLOCK_HEADER_BYTES, 0);
        self.records = 0;
        self.digest = 0;
        self.notes.clear();
    }

    /// Writes the header and returns the block; the batch must then be cleared before it is used again.
    pub(crate) fn seal(&mut self, seal: Seal) -> &[u8] {
        let body_bytes = (self.bytes.len() - BLOCK_HEADER_BYTES) as u64;
        self.bytes.resize(self.bytes(), 0);
        let header = BlockHeader {
            number: seal.number,
            body_bytes,
            synced_through: seal.synced_through,
            records: self.records,
            digest: self.digest,
            flags: seal.flags,
        };
        header.encode(seal.place, &mut self.bytes[..BLOCK_HEADER_BYTES]);
        &self.bytes
    }

    /// What the records are about, in order.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// A payload that a note points to.
    pub(crate) fn payload(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl AsMut<Self> for Batch {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// What the log's ledger must know about a record, or about a run of entries of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Entries { group: ShardId, first: LogIndex, last: LogIndex },
    State { group: ShardId, payload: Range<usize> },
    Snapshot { group: ShardId, index: LogIndex, payload: Range<usize> },
    Installed { group: ShardId, index: LogIndex, payload: Range<usize> },
    Removed { group: ShardId },
}

impl Note {
    pub(crate) fn group(&self) -> ShardId {
        match self {
            Self::Entries { group, .. }
            | Self::State { group, .. }
            | Self::Snapshot { group, .. }
            | Self::Installed { group, .. }
            | Self::Removed { group } => *group,
        }
    }

    fn add(notes: &mut Vec<Self>, parts: &Parts<'_>, payload: Range<usize>) {
        let (group, index) = (parts.group, parts.index);
        let note = match parts.kind {
            RecordKind::Entry => {
                if let Some(Self::Entries { group: same, last, .. }) = notes.last_mut()
                    && *same == group
                    && last.next() == index
                {
                    *last = index;
                    return;
                }
                Self::Entries { group, first: index, last: index }
            }
            RecordKind::State => Self::State { group, payload },
            RecordKind::Snapshot => Self::Snapshot { group, index, payload },
            RecordKind::Installed => Self::Installed { group, index, payload },
            RecordKind::Removed => Self::Removed { group },
        };
        notes.push(note);
    }
}

/// A place in the log: everything before it, in this and earlier segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from the segment's beginning.
    pub offset: u64,
}

/// Where a block stands, as its checksum sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Checksum of the log's identity and the segment's number.
    pub(crate) segment_seed: u32,
    pub(crate) offset: u64,
}

/// What a batch needs to become a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    pub(crate) place: Place,
    pub(crate) number: u64,
    pub(crate) synced_through: Position,
    pub(crate) flags: u32,
}

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Blocks count up by one through all segments.
    pub(crate) number: u64,
    pub(crate) body_bytes: u64,
    /// Everything before this was durable when the block was written.
    pub(crate) synced_through: Position,
    pub(crate) records: u32,
    pub(crate) digest: u32,
    pub(crate) flags: u32,
}

impl BlockHeader {
    pub(crate) fn encode(&self, place: Place, out: &mut [u8]) {
        out[..4].copy_from_slice(&BLOCK_MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..24].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[24..32].copy_from_slice(&self.synced_through.segment.to_le_bytes());
        out[32..40].copy_from_slice(&self.synced_through.offset.to_le_bytes());
        out[40..44].copy_from_slice(&self.records.to_le_bytes());
        out[44..48].copy_from_slice(&self.digest.to_le_bytes());
        out[48..52].copy_from_slice(&self.flags.to_le_bytes());
        out[52..56].fill(0);
        let crc = header_crc(place, out);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the beginning of `bytes`, if it is one and stands where it was written.
    pub(crate) fn decode(place: Place, bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..BLOCK_HEADER_BYTES)?;
        if u32_at(header, 0) != BLOCK_MAGIC || u32_at(header, 4) != header_crc(place, header) {
            return None;
        }
        Some(Self::read(header))
    }

    /// The fields of a header whose checksum was looked at.
    pub(crate) fn read(header: &[u8]) -> Self {
        Self {
            number: u64_at(header, 8),
            body_bytes: u64_at(header, 16),
            synced_through: Position { segment: u64_at(header, 24), offset: u64_at(header, 32) },
            records: u32_at(header, 40),
            digest: u32_at(header, 44),
            flags: u32_at(header, 48),
        }
    }
}

fn header_crc(place: Place, header: &[u8]) -> u32 {
    let seed = crc32c::crc32c_append(place.segment_seed, &place.offset.to_le_bytes());
    crc32c::crc32c_append(seed, &header[8..BLOCK_HEADER_BYTES])
}

/// Where the body and the whole of a block end, from its beginning; `None` if that is no sensible number.
pub(crate) fn block_ends(body_bytes: u64) -> Option<(usize, usize)> {
    let body_end = usize::try_from(body_bytes).ok()?.checked_add(BLOCK_HEADER_BYTES)?;
    Some((body_end, body_end.checked_next_multiple_of(BLOCK_ALIGN)?))
}
