//! One file of the log: its name, its header, its place in the sequence.
//! Owns: [`Segment`], [`Identity`], the segment header, how a segment is made ready before it is needed.
//! Never: blocks (see `batch`), or the decision when a segment is made or removed (see `log`).
//!
//! ```text
//! DIR/log/0000000000000001.seg = | header, 64 bytes | block | block | ... | remains up to the file's size |
//! header: | magic, 8 bytes | version u32 | crc u32 | sequence u64 | node u64 | log id u64 | remains u32 | zeros |
//! ```
//! A segment is made of one that nobody needs any more (see `shelf`), or else filled with real zeros and synced ahead of
//! its use: fdatasync of blocks then changes no metadata (94 us instead of 129 us on the development machine), and a
//! full disk is so noticed while the segment before still has room. What stands behind its last block is
//! zeros (`remains` 0), or blocks of its earlier uses (`remains` 1), which can never be taken for blocks of this use: a
//! block's checksum covers the sequence, and no sequence is used twice for a file that had blocks under it.
//!
//! While it is made its name ends in `.tmp` (recovery removes it), when it is ready in `.spare`, and it gets its real
//! name, durably, before the first block is written to it. So a `.seg` always has its header, and a `.spare`
//! has no block of its own.

use std::io;
use std::path::{Path, PathBuf};

use keystead_types::NodeId;

use crate::batch::Place;
use crate::disk::{Disk, DiskFile};
use crate::error::WalError;
use crate::record::{u32_at, u64_at};
use crate::recovery::Fault;
use crate::shelf;

/// Bytes before a segment's first block.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Where a segment's first block stands.
pub(crate) const FIRST_BLOCK_OFFSET: u64 = SEGMENT_HEADER_BYTES as u64;
/// The version of the format that this program writes. It also reads version 1, in which segments were never used again.
pub const FORMAT_VERSION: u32 = 2;
const OLDEST_VERSION: u32 = 1;
/// Zeros written and synced at once: small enough that an fsync of the log beside it is not held up.
const ZERO_SLICE_BYTES: usize = 512 * 1024;
const SEGMENT_MAGIC: [u8; 8] = *b"KEYSTWAL";

/// Whose log it is. Stands in every segment and in every checksum of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node that the data directory belongs to.
    pub node: NodeId,
    /// Drawn at random when the log was made: tells two logs of one node apart.
    pub log_id: u64,
}

/// A segment that is open.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) file: F,
    pub(crate) path: PathBuf,
    pub(crate) sequence: u64,
    pub(crate) size_bytes: u64,
    seed: u32,
}

impl<F: DiskFile> Segment<F> {
    pub(crate) fn new(file: F, path: PathBuf, header: SegmentHeader, size_bytes: u64) -> Self {
        Self { file, path, sequence: header.sequence, size_bytes, seed: header.seed() }
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place { segment_seed: self.seed, offset }
    }
}

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
    pub(crate) remains: Remains,
}

/// What stands behind a segment's last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    Zeros,
    /// Blocks of earlier uses of the file.
    OlderBlocks,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.identity.node.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.identity.log_id.to_le_bytes());
        out[40..44].copy_from_slice(&u32::from(self.remains == Remains::OlderBlocks).to_le_bytes());
        let crc = header_crc(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the beginning of `bytes`, which come from `path` and should carry `sequence`.
    pub(crate) fn decode(bytes: &[u8], path: &Path, sequence: u64) -> Result<Self, WalError> {
        let damaged =
            |fault| Err(WalError::DamagedHead { path: path.to_owned(), offset: 0, fault });
        let Some(header) = bytes.get(..SEGMENT_HEADER_BYTES) else {
            return damaged(Fault::CutShort);
        };
        if header[..8] != SEGMENT_MAGIC {
            return damaged(Fault::NoHeader);
        }
        let found = u32_at(header, 8);
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&found) {
            return Err(WalError::Version {
                path: path.to_owned(),
                found,
                supported: FORMAT_VERSION,
            });
        }
        let identity = Identity { node: NodeId(u64_at(header, 24)), log_id: u64_at(header, 32) };
        if u32_at(header, 12) != header_crc(header) || u64_at(header, 16) != sequence {
            return damaged(Fault::HeaderChecksum);
        }
        let remains = if u32_at(header, 40) == 0 { Remains::Zeros } else { Remains::OlderBlocks };
        Ok(Self { sequence, identity, remains })
    }

    /// The checksum that every block of the segment starts from.
    pub(crate) fn seed(&self) -> u32 {
        let mut seed = crc32c::crc32c(&self.identity.node.0.to_le_bytes());
        seed = crc32c::crc32c_append(seed, &self.identity.log_id.to_le_bytes());
        crc32c::crc32c_append(seed, &self.sequence.to_le_bytes())
    }
}

fn header_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

/// What a segment is at, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Not ready: recovery removes it.
    Unready,
    /// Ready and empty.
    Spare,
    /// Part of the log.
    Used,
    /// Was part of the log, and waits to be used again.
    Shelved,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Unready => "tmp",
            Self::Spare => "spare",
            Self::Used => "seg",
            Self::Shelved => "old",
        }
    }

    /// The file of segment `sequence` at this stage.
    pub(crate) fn path(self, log_dir: &Path, sequence: u64) -> PathBuf {
        log_dir.join(format!("{sequence:016}.{}", self.suffix()))
    }

    /// The stage and the sequence in a file's name; `None` for files that are not ours.
    pub(crate) fn of_name(name: &str) -> Option<(Self, u64)> {
        let (digits, suffix) = name.split_once('.')?;
        let stages = [Self::Unready, Self::Spare, Self::Used, Self::Shelved];
        let stage = stages.into_iter().find(|stage| stage.suffix() == suffix)?;
        let is_number = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten().map(|sequence| (stage, sequence))
    }
}

/// The segment to make next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpareOrder {
    pub(crate) log_dir: PathBuf,
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
    pub(crate) size_bytes: u64,
    /// Free bytes that must remain on the disk once the segment is there.
    pub(crate) reserve_bytes: u64,
}

/// A segment on its way to being ready: one slice of zeros at each step.
pub(crate) struct Preparation<D: Disk> {
    order: SpareOrder,
    file: D::File,
    unready: PathBuf,
    remains: Remains,
    zeroed_bytes: u64,
}

/// How far a preparation came.
pub(crate) enum Prepared<D: Disk> {
    Further(Preparation<D>),
    Ready(Segment<D::File>),
}

impl<D: Disk> Preparation<D> {
    /// Takes a file from the shelf, or the space for a new one.
    pub(crate) fn begin(disk: &D, order: SpareOrder) -> Result<Self, WalError> {
        let unready = Stage::Unready.path(&order.log_dir, order.sequence);
        if let Some(file) = shelf::take(disk, &order.log_dir, order.size_bytes, &unready)? {
            let zeroed_bytes = order.size_bytes;
            return Ok(Self { order, file, unready, remains: Remains::OlderBlocks, zeroed_bytes });
        }
        let path = Stage::Used.path(&order.log_dir, order.sequence);
        let free_bytes = disk
            .free_bytes(&order.log_dir)
            .map_err(WalError::io("ask for free space in", &path))?;
        let full = || WalError::Full {
            path: path.clone(),
            needed_bytes: order.size_bytes,
            free_bytes,
            reserve_bytes: order.reserve_bytes,
        };
        if free_bytes < order.size_bytes.saturating_add(order.reserve_bytes) {
            return Err(full());
        }
        let file = disk.create(&unready).map_err(WalError::io("create", &unready))?;
        if let Err(source) = file.allocate(order.size_bytes) {
            drop(file);
            // Give the space back: somebody else may be waiting for it. What matters is the first error.
            drop(disk.remove(&unready));
            return Err(match source.kind() {
                io::ErrorKind::StorageFull => full(),
                _ => WalError::Io { operation: "take space for", path: unready, source },
            });
        }
        Ok(Self { order, file, unready, remains: Remains::Zeros, zeroed_bytes: 0 })
    }

    /// Writes and syncs the next slice of zeros; after the last one, the header and the name.
    pub(crate) fn step(mut self, disk: &D) -> Result<Prepared<D>, WalError> {
        const ZEROS: &[u8] = &[0; ZERO_SLICE_BYTES];
        let left = self.order.size_bytes - self.zeroed_bytes;
        if left > 0 {
            let slice = &ZEROS[..usize::try_from(left).map_or(ZEROS.len(), |n| n.min(ZEROS.len()))];
            self.file.write_at(slice, self.zeroed_bytes).map_err(self.failed("fill"))?;
            self.file.sync().map_err(self.failed("sync"))?;
            self.zeroed_bytes += slice.len() as u64;
            return Ok(Prepared::Further(self));
        }
        let SpareOrder { sequence, identity, .. } = self.order;
        let header = SegmentHeader { sequence, identity, remains: self.remains };
        let path = Stage::Spare.path(&self.order.log_dir, sequence);
        self.file.write_at(&header.encode(), 0).map_err(self.failed("write"))?;
        self.file.sync().map_err(self.failed("sync"))?;
        disk.rename(&self.unready, &path).map_err(self.failed("rename"))?;
        disk.sync_dir(&self.order.log_dir).map_err(self.failed("sync the directory of"))?;
        Ok(Prepared::Ready(Segment::new(self.file, path, header, self.order.size_bytes)))
    }

    /// All steps at once.
    pub(crate) fn finish(mut self, disk: &D) -> Result<Segment<D::File>, WalError> {
        loop {
            match self.step(disk)? {
                Prepared::Further(further) => self = further,
                Prepared::Ready(segment) => return Ok(segment),
            }
        }
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> WalError + use<D> {
        WalError::io(operation, self.unready.clone())
    }
}
