//! Fetching a snapshot file from a peer, in pieces, going on where an earlier try ended.
//!
//! Owns: the blocking loop [`fetch`], [`Abort`]. Never: loads the state, chooses the peer. Run by a
//! supervised thread of its own; a failed fetch is run again by whoever wants the snapshot, and loses
//! at most the piece that was under way.
//!
//! ```text
//! <name>.snap.partial there? ─> keep its header and whole chunks, whose checksums match
//!   └─> ask for the piece behind them ─> write ─> ... ─> all there
//!         └─ connection broke ─> connect again, if this one brought anything
//!   all there ─> verify the whole file ─> sync ─> rename to <name>.snap ─> sync the directory
//! ```
//!
//! Repeating a request is harmless here: a snapshot file never changes (INV-SNAP3).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keystead_types::limits::SNAPSHOT_CHUNK_BYTES;
use keystead_wal::{Disk, DiskFile};
use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use super::directory::{partial_name, remove_other_partials};
use super::{
    ChunkReply, ChunkRequest, SnapshotError, SnapshotFile, SnapshotId, SnapshotReader, io_error,
    sound_prefix,
};
use crate::transport::wire::DecodeError;
use crate::transport::{CallError, Caller, Hello};

/// Written bytes after which a sync is due: one large flush at the end would hold up the log's.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// What to fetch.
#[derive(Clone, Debug)]
pub struct FetchOrder {
    /// Which snapshot.
    pub id: SnapshotId,
    /// Where snapshots lie on this node.
    pub dir: PathBuf,
    /// Most bytes per second, if the network is to be spared.
    pub bytes_per_second_max: Option<u64>,
}

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// Bytes that are here, those of earlier tries included.
    pub fetched_bytes: u64,
    /// The file's size.
    pub file_bytes: u64,
}

/// Why a snapshot was not fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The peer does not have it (any more).
    #[error("the peer no longer has the {id}; its newest is {newest:?}")]
    Gone {
        /// What was wanted.
        id: SnapshotId,
        /// What it has instead.
        newest: Option<SnapshotId>,
    },
    /// The peer cannot be asked.
    #[error("cannot fetch the {id}: {source}")]
    Call {
        /// What was wanted.
        id: SnapshotId,
        /// Why not.
        source: CallError,
    },
    /// What the peer answered makes no sense.
    #[error("cannot fetch the {id}: the peer's answer is not one: {source}")]
    Garbled {
        /// What was wanted.
        id: SnapshotId,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The file changed its size, or is shorter than it said.
    #[error(
        "the {id} at the peer ends at byte {offset} of {file_bytes}; its file was changed or cut"
    )]
    Shrunk {
        /// What was wanted.
        id: SnapshotId,
        /// Where it ended.
        offset: u64,
        /// The size that was announced.
        file_bytes: u64,
    },
    /// It arrived, and is not sound; or it could not be written.
    #[error(transparent)]
    File(#[from] SnapshotError),
    /// It was called off.
    #[error("fetching the {id} was called off")]
    Aborted {
        /// What was wanted.
        id: SnapshotId,
    },
}

/// Calls a fetch off from another thread. It ends after the request under way, at the latest.
#[derive(Debug, Default)]
pub struct Abort {
    is_aborted: Mutex<bool>,
    bell: Condvar,
}

impl Abort {
    /// Not called off.
    #[must_use]
    pub const fn new() -> Self {
        Self { is_aborted: Mutex::new(false), bell: Condvar::new() }
    }

    /// Calls it off.
    pub fn abort(&self) {
        *self.is_aborted.lock() = true;
        self.bell.notify_all();
    }

    /// Waits, at most until `until`; true if it was called off.
    fn wait_until(&self, until: Instant) -> bool {
        let mut is_aborted = self.is_aborted.lock();
        while !*is_aborted && !self.bell.wait_until(&mut is_aborted, until).timed_out() {}
        *is_aborted
    }

    fn is_aborted(&self) -> bool {
        *self.is_aborted.lock()
    }
}

/// Where pieces come from.
pub trait ChunkSource {
    /// Sends a request and waits for its reply.
    ///
    /// # Errors
    /// [`CallError`]; the source is then of no more use.
    fn ask(&mut self, request: &[u8]) -> Result<Bytes, CallError>;
}

/// Pieces from a peer, over a connection for calls.
#[derive(Debug)]
pub struct PeerSource {
    caller: Caller,
    deadline: Duration,
}

impl PeerSource {
    /// Connects; every request then has `deadline`, too.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn connect(address: &str, hello: &Hello, deadline: Duration) -> Result<Self, CallError> {
        Ok(Self { caller: Caller::connect(address, hello, deadline)?, deadline })
    }
}

impl ChunkSource for PeerSource {
    fn ask(&mut self, request: &[u8]) -> Result<Bytes, CallError> {
        self.caller.call(request, self.deadline)
    }
}

/// Fetches a snapshot, blocking, and returns once it is whole, verified and durable.
///
/// `connect` makes a connection; it is called again when one broke after it had brought something.
/// `progress` is told of every piece.
///
/// # Errors
/// [`FetchError`]. What was fetched stays for the next try, except after [`FetchError::File`].
pub fn fetch<D: Disk, S: ChunkSource>(
    disk: &D,
    order: &FetchOrder,
    abort: &Abort,
    mut connect: impl FnMut() -> Result<S, CallError>,
    mut progress: impl FnMut(FetchProgress),
) -> Result<SnapshotFile, FetchError> {
    let id = order.id;
    remove_other_partials(disk, &order.dir, id)?;
    let mut partial = Partial::open(disk, order)?;
    let mut pace = Pace::new(order.bytes_per_second_max);
    while !partial.is_whole() {
        let began_with = partial.fetched_bytes;
        let mut source = connect().map_err(|source| FetchError::Call { id, source })?;
        while !partial.is_whole() {
            if abort.wait_until(pace.next()) {
                return Err(FetchError::Aborted { id });
            }
            match partial.step(disk, &mut source) {
                Ok(bytes) => pace.spend(bytes),
                Err(FetchError::Call { .. }) if partial.fetched_bytes > began_with => break,
                Err(error) => return Err(error),
            }
            progress(partial.progress());
        }
    }
    if abort.is_aborted() {
        return Err(FetchError::Aborted { id });
    }
    Ok(partial.finish(disk, order)?)
}

/// The file that grows.
#[derive(Debug)]
struct Partial<F> {
    id: SnapshotId,
    file: F,
    path: PathBuf,
    fetched_bytes: u64,
    synced_bytes: u64,
    /// Not known before the first reply.
    file_bytes: Option<u64>,
}

impl<F: DiskFile> Partial<F> {
    /// Opens what an earlier try left, or begins.
    fn open<D: Disk<File = F>>(disk: &D, order: &FetchOrder) -> Result<Self, SnapshotError> {
        let (id, path) = (order.id, order.dir.join(partial_name(order.id)));
        let (file, fetched_bytes) = match disk.open(&path) {
            Ok(file) => {
                let sound = sound_prefix(&file, &path, id)?;
                (file, sound)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (disk.create(&path).map_err(io_error("begin", &path))?, 0)
            }
            Err(source) => return Err(io_error("open", &path)(source)),
        };
        if fetched_bytes > 0 {
            tracing::info!(snapshot = %id, fetched_bytes, "fetching goes on where it ended");
        }
        let synced_bytes = fetched_bytes;
        Ok(Self { id, file, path, fetched_bytes, synced_bytes, file_bytes: None })
    }

    fn is_whole(&self) -> bool {
        self.file_bytes.is_some_and(|file_bytes| self.fetched_bytes >= file_bytes)
    }

    fn progress(&self) -> FetchProgress {
        let fetched_bytes = self.fetched_bytes;
        FetchProgress { fetched_bytes, file_bytes: self.file_bytes.unwrap_or(fetched_bytes) }
    }

    /// Asks for the next piece and writes it. Returns its length.
    fn step<D: Disk>(
        &mut self,
        disk: &D,
        source: &mut impl ChunkSource,
    ) -> Result<u64, FetchError> {
        let (id, offset) = (self.id, self.fetched_bytes);
        let mut request = Vec::new();
        ChunkRequest { id, offset, bytes_max: SNAPSHOT_CHUNK_BYTES as u64 }.encode(&mut request);
        let reply = source.ask(&request).map_err(|source| FetchError::Call { id, source })?;
        let reply =
            ChunkReply::decode(&reply).map_err(|source| FetchError::Garbled { id, source })?;
        let (file_bytes, content) = match reply {
            ChunkReply::Gone { newest } => return Err(FetchError::Gone { id, newest }),
            ChunkReply::Chunk { file_bytes, content } => (file_bytes, content),
        };
        let bytes = content.len() as u64;
        let is_same_size = self.file_bytes.is_none_or(|known| known == file_bytes);
        if bytes == 0 || !is_same_size || bytes > file_bytes.saturating_sub(offset) {
            return Err(FetchError::Shrunk { id, offset, file_bytes });
        }
        self.file_bytes = Some(file_bytes);
        self.write(&content).or_else(|error| self.discard(disk, error))?;
        Ok(bytes)
    }

    fn write(&mut self, content: &[u8]) -> Result<(), SnapshotError> {
        self.file.write_at(content, self.fetched_bytes).map_err(io_error("write", &self.path))?;
        self.fetched_bytes += content.len() as u64;
        if self.fetched_bytes - self.synced_bytes >= SYNC_EVERY_BYTES {
            self.file.sync().map_err(io_error("sync", &self.path))?;
            self.synced_bytes = self.fetched_bytes;
        }
        Ok(())
    }

    /// Removes the file, of which nobody knows what is on disk after a failed write or sync, and
    /// which would keep a full disk full; or which is damaged, and going on would lead here again.
    fn discard<D: Disk, T>(&self, disk: &D, error: SnapshotError) -> Result<T, SnapshotError> {
        disk.remove(&self.path).map_err(io_error("remove", &self.path))?;
        Err(error)
    }

    /// INV-SNAP1 and INV-SNAP2: verified, durable, then named.
    fn finish<D: Disk>(self, disk: &D, order: &FetchOrder) -> Result<SnapshotFile, SnapshotError> {
        let verified = SnapshotReader::open(disk, &self.path).and_then(|reader| {
            if reader.snapshot().id == self.id {
                return reader.verify();
            }
            let what = "it is another snapshot than was asked for";
            Err(SnapshotError::Damaged { path: self.path.clone(), offset: 0, what })
        });
        let snapshot = verified
            .and_then(|snapshot| {
                self.file.sync().map_err(io_error("sync", &self.path))?;
                Ok(snapshot)
            })
            .or_else(|error| self.discard(disk, error))?;
        let path = self.id.path(&order.dir);
        rename_durably(disk, &self.path, &path, &order.dir)?;
        Ok(SnapshotFile { path, ..snapshot })
    }
}

fn rename_durably<D: Disk>(
    disk: &D,
    from: &Path,
    to: &Path,
    dir: &Path,
) -> Result<(), SnapshotError> {
    disk.rename(from, to).map_err(io_error("name", to))?;
    disk.sync_dir(dir).map_err(io_error("name", to))
}

/// Spreads pieces over time.
struct Pace {
    bytes_per_second_max: Option<u64>,
    next: Instant,
}

impl Pace {
    fn new(bytes_per_second_max: Option<u64>) -> Self {
        Self { bytes_per_second_max, next: Instant::now() }
    }

    /// When the next piece may be asked for.
    fn next(&self) -> Instant {
        self.next
    }

    fn spend(&mut self, bytes: u64) {
        if let Some(rate) = self.bytes_per_second_max {
            let nanos = bytes.saturating_mul(1_000_000_000) / rate.max(1);
            self.next = self.next.max(Instant::now()) + Duration::from_nanos(nanos);
        }
    }
}
