//! Snapshot files: the state of one shard at one place of its log.
//!
//! Owns: their format, writing, reading, and (in the folder) which of them count, handing them out
//! piece by piece, and fetching them from a peer. Never: what the state in them means (chunks are
//! opaque, their borders are kept), when one is taken.
//! Called by the snapshot writer of each worker, by recovery, by the control plane.
//!
//! ```text
//! header   "KSTDSNAP"  version:u32  shard:u32  index:u64  term:u64
//!          place_bytes:u32  place  crc32c:u32 (of all before it)
//! chunk*   bytes:u32 (not 0)  crc32c:u32  content
//! footer   0:u32  chunks:u64  file_bytes:u64  crc32c:u32 (of all before it)  "KSTDSEND"
//! ```
//!
//! All numbers little endian. *Place* is what the log needs to go on behind the snapshot (replica
//! set, time); opaque here. The file is `DIR/snapshots/<shard>-<index>-<term>.snap`.
//!
//! INV-SNAP1: a file has its name only when all of it is durable, so a crash leaves no half snapshot.
//! INV-SNAP2: no content is handed out before its checksum was compared, and a snapshot counts as read
//! only when its footer was reached and every byte of the file stood under a checksum.
//! INV-SNAP3: a file never changes once it has its name: pieces fetched at different times fit.

mod chunk;
mod directory;
mod fetch;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use keystead_types::limits::FRAME_BYTES_MAX;
use keystead_types::{LogIndex, ShardId, Term};
use keystead_wal::{Disk, DiskFile, DurableFile};
use thiserror::Error;

pub use chunk::{CHUNK_REQUEST_TAG, ChunkReply, ChunkRequest, serve_chunk};
pub use directory::{list, newest, remove_all, remove_older};
pub use fetch::{Abort, ChunkSource, FetchError, FetchOrder, FetchProgress, PeerSource, fetch};

/// Version of the file format.
pub const SNAPSHOT_VERSION: u32 = 1;
/// Longest place, bytes: a replica set and a time take far less.
pub const PLACE_BYTES_MAX: usize = 64 * 1024;
/// Longest chunk, bytes: one value of the greatest size and what belongs to it.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = FRAME_BYTES_MAX;

const MAGIC: [u8; 8] = *b"KSTDSNAP";
const END_MAGIC: [u8; 8] = *b"KSTDSEND";
/// The header up to the place.
const HEAD_BYTES: usize = 36;
const FOOTER_BYTES: usize = 32;

/// Which snapshot: the name of a file and the first thing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// Whose state.
    pub shard: ShardId,
    /// Index of the last entry that is in it.
    pub index: LogIndex,
    /// That entry's term.
    pub term: Term,
}

impl SnapshotId {
    /// The file's name.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.snap", self.shard.0, self.index.0, self.term.0)
    }

    /// The file's path in the directory of snapshots.
    #[must_use]
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.file_name())
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot of {} at index {} of term {}", self.shard, self.index, self.term.0)
    }
}

/// A complete snapshot on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Which.
    pub id: SnapshotId,
    /// What the log needs to go on behind it.
    pub place: Bytes,
    /// Where.
    pub path: PathBuf,
    /// The file's size.
    pub bytes: u64,
}

/// Why a snapshot cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file system refused.
    #[error("cannot {doing} the snapshot at {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not as it was written.
    #[error(
        "the snapshot at {path} is damaged at byte {offset}: {what}; remove the file, and this replica takes the state from another one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How that shows.
        what: &'static str,
    },
    /// Of another format.
    #[error(
        "the snapshot at {path} has format {version}, this program reads {SNAPSHOT_VERSION}; start the version that wrote it"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// A chunk or place is empty or longer than may be.
    #[error("a snapshot cannot hold a piece of {bytes} bytes, 1 to {max} are allowed")]
    Size {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl SnapshotError {
    /// True if the file is of no use, to this version or any.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// Turns an I/O error into ours.
fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { doing, path, source }
}

/// Writes one snapshot, chunk after chunk. Dropped before [`finish`](Self::finish), it leaves nothing.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    file: DurableFile<D>,
    id: SnapshotId,
    place: Bytes,
    path: PathBuf,
    checksum: u32,
    chunks: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins the file in `dir`, which exists.
    ///
    /// # Errors
    /// [`SnapshotError::Io`], or [`SnapshotError::Size`] if the place is too long.
    pub fn create(
        disk: &D,
        dir: &Path,
        id: SnapshotId,
        place: Bytes,
    ) -> Result<Self, SnapshotError> {
        let (bytes, max) = (place.len(), PLACE_BYTES_MAX);
        let place_bytes = match u32::try_from(bytes) {
            Ok(place_bytes) if bytes <= max => place_bytes,
            _ => return Err(SnapshotError::Size { bytes, max }),
        };
        let path = id.path(dir);
        let file =
            DurableFile::create(disk, dir, &id.file_name()).map_err(io_error("begin", &path))?;
        let mut writer = Self { file, id, place, path, checksum: 0, chunks: 0 };
        let mut head = Vec::with_capacity(HEAD_BYTES + bytes + 4);
        head.extend(MAGIC);
        head.extend(SNAPSHOT_VERSION.to_le_bytes());
        head.extend(id.shard.0.to_le_bytes());
        head.extend(id.index.0.to_le_bytes());
        head.extend(id.term.0.to_le_bytes());
        head.extend(place_bytes.to_le_bytes());
        head.extend(&writer.place);
        head.extend(crc32c::crc32c(&head).to_le_bytes());
        writer.put(&head)?;
        Ok(writer)
    }

    /// Appends a chunk of 1 to [`SNAPSHOT_CHUNK_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`SnapshotError::Io`] or [`SnapshotError::Size`]; the writer is then of no more use.
    pub fn chunk(&mut self, content: &[u8]) -> Result<(), SnapshotError> {
        let (bytes, max) = (content.len(), SNAPSHOT_CHUNK_BYTES_MAX);
        let length = match u32::try_from(bytes) {
            Ok(length) if (1..=max).contains(&bytes) => length,
            _ => return Err(SnapshotError::Size { bytes, max }),
        };
        self.put(&length.to_le_bytes())?;
        self.put(&crc32c::crc32c(content).to_le_bytes())?;
        self.put(content)?;
        self.chunks += 1;
        Ok(())
    }

    /// Bytes given to the file so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Makes the file durable, then its name (INV-SNAP1).
    ///
    /// # Errors
    /// [`SnapshotError::Io`]; the snapshot is then not there.
    pub fn finish(mut self) -> Result<SnapshotFile, SnapshotError> {
        let bytes = self.file.bytes() + FOOTER_BYTES as u64;
        self.put(&0_u32.to_le_bytes())?;
        self.put(&self.chunks.to_le_bytes())?;
        self.put(&bytes.to_le_bytes())?;
        self.put(&self.checksum.to_le_bytes())?;
        self.put(&END_MAGIC)?;
        let Self { file, id, place, path, .. } = self;
        let path = file.finish().map_err(io_error("finish", &path))?;
        Ok(SnapshotFile { id, place, path, bytes })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.file.write_all(bytes).map_err(io_error("write", &self.path))
    }
}

/// Reads one snapshot from front to back and verifies it on the way.
#[derive(Debug)]
pub struct SnapshotReader<D: Disk> {
    file: D::File,
    snapshot: SnapshotFile,
    footer: Footer,
    at: u64,
    checksum: u32,
    chunks: u64,
    is_finished: bool,
}

#[derive(Clone, Copy, Debug)]
struct Footer {
    chunks: u64,
    checksum: u32,
}

impl<D: Disk> SnapshotReader<D> {
    /// Opens a file, and checks its header and that its footer is there.
    ///
    /// # Errors
    /// [`SnapshotError`]; [`SnapshotError::Damaged`] also if the file was never finished.
    pub fn open(disk: &D, path: &Path) -> Result<Self, SnapshotError> {
        let file = disk.open(path).map_err(io_error("open", path))?;
        let bytes = file.size_bytes().map_err(io_error("measure", path))?;
        let mut source = Source { file: &file, path, at: 0, checksum: 0, bytes };
        let (id, place) = source.head()?;
        let (at, checksum) = (source.at, source.checksum);
        let footer = source.footer()?;
        let snapshot = SnapshotFile { id, place, path: path.to_owned(), bytes };
        Ok(Self { file, snapshot, footer, at, checksum, chunks: 0, is_finished: false })
    }

    /// What the file says of itself.
    #[must_use]
    pub const fn snapshot(&self) -> &SnapshotFile {
        &self.snapshot
    }

    /// How far reading has come, in bytes of the file.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.at
    }

    /// The next chunk; `None` once the whole file was read and found sound (INV-SNAP2).
    ///
    /// # Errors
    /// [`SnapshotError`]; what was read before must then not be used either.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        if self.is_finished {
            return Ok(None);
        }
        let SnapshotFile { path, bytes, .. } = &self.snapshot;
        let (at, checksum) = (self.at, self.checksum);
        let mut source = Source { file: &self.file, path, at, checksum, bytes: *bytes };
        if let Some(content) = source.chunk()? {
            (self.at, self.checksum) = (source.at, source.checksum);
            self.chunks += 1;
            return Ok(Some(content));
        }
        source.take(FOOTER_BYTES - 4 - 4 - END_MAGIC.len())?;
        if source.checksum != self.footer.checksum || self.chunks != self.footer.chunks {
            return Err(source.damaged("the footer does not match what stands before it"));
        }
        source.take(4 + END_MAGIC.len())?;
        if source.at != *bytes {
            return Err(source.damaged("something follows the end"));
        }
        self.at = source.at;
        self.is_finished = true;
        Ok(None)
    }

    /// Reads and verifies everything that is left, keeping nothing.
    ///
    /// # Errors
    /// As [`next_chunk`](Self::next_chunk).
    pub fn verify(mut self) -> Result<SnapshotFile, SnapshotError> {
        while self.next_chunk()?.is_some() {}
        Ok(self.snapshot)
    }
}

/// A position in a file being read, with the checksum of all that was read before it.
struct Source<'a, F: DiskFile> {
    file: &'a F,
    path: &'a Path,
    at: u64,
    checksum: u32,
    bytes: u64,
}

impl<F: DiskFile> Source<'_, F> {
    fn damaged(&self, what: &'static str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.to_owned(), offset: self.at, what }
    }

    /// The next `bytes` bytes, which are allocated only if the file has them.
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, SnapshotError> {
        if bytes as u64 > self.bytes.saturating_sub(self.at) {
            return Err(self.damaged("the file ends too early"));
        }
        let mut taken = vec![0; bytes];
        let read = self.file.read_at(&mut taken, self.at).map_err(io_error("read", self.path))?;
        if read != bytes {
            return Err(self.damaged("the file ends too early"));
        }
        self.checksum = crc32c::crc32c_append(self.checksum, &taken);
        self.at += bytes as u64;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(SnapshotId, Bytes), SnapshotError> {
        let head = self.take(HEAD_BYTES)?;
        if head[..8] != MAGIC {
            self.at = 0;
            return Err(self.damaged("it does not begin like a snapshot"));
        }
        let version = u32_at(&head, 8);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version { path: self.path.to_owned(), version });
        }
        let shard = ShardId(u32_at(&head, 12));
        let (index, term) = (LogIndex(u64_at(&head, 16)), Term(u64_at(&head, 24)));
        let place_bytes = u32_at(&head, 32) as usize;
        if place_bytes > PLACE_BYTES_MAX {
            return Err(self.damaged("the header announces too much"));
        }
        let place = self.take(place_bytes)?;
        let computed = self.checksum;
        if u32_at(&self.take(4)?, 0) != computed {
            return Err(self.damaged("the header's checksum does not match"));
        }
        Ok((SnapshotId { shard, index, term }, place.into()))
    }

    /// The next chunk, or `None` if the footer begins here; its first word is then read.
    fn chunk(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let start = self.at;
        let length = u32_at(&self.take(4)?, 0) as usize;
        if length == 0 {
            return Ok(None);
        }
        let announced = u32_at(&self.take(4)?, 0);
        if length > SNAPSHOT_CHUNK_BYTES_MAX {
            self.at = start;
            return Err(self.damaged("a chunk announces too much"));
        }
        let content = self.take(length)?;
        if crc32c::crc32c(&content) != announced {
            self.at = start;
            return Err(self.damaged("a chunk's checksum does not match"));
        }
        Ok(Some(content.into()))
    }

    /// The footer, read from the end of the file.
    fn footer(&mut self) -> Result<Footer, SnapshotError> {
        self.at = self.bytes.saturating_sub(FOOTER_BYTES as u64).max(self.at);
        let start = self.at;
        let footer = self.take(FOOTER_BYTES)?;
        let is_sound = u32_at(&footer, 0) == 0
            && u64_at(&footer, 12) == self.bytes
            && footer[24..] == END_MAGIC;
        if !is_sound {
            self.at = start;
            return Err(self.damaged("it does not end like a snapshot"));
        }
        Ok(Footer { chunks: u64_at(&footer, 4), checksum: u32_at(&footer, 20) })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}

/// How many bytes from the start of an unfinished file of snapshot `id` are whole and sound: its
/// header and the chunks behind it. 0 if not even the header is.
fn sound_prefix<F: DiskFile>(file: &F, path: &Path, id: SnapshotId) -> Result<u64, SnapshotError> {
    let bytes = file.size_bytes().map_err(io_error("measure", path))?;
    let mut source = Source { file, path, at: 0, checksum: 0, bytes };
    let mut sound = 0;
    loop {
        let step = if sound == 0 {
            source.head().map(|(found, _)| found == id)
        } else {
            source.chunk().map(|chunk| chunk.is_some())
        };
        match step {
            Ok(true) => sound = source.at,
            Ok(false) | Err(SnapshotError::Damaged { .. } | SnapshotError::Version { .. }) => {
                return Ok(sound);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
