//! The door to the file system: what the log asks of a disk.
//! Owns: the traits [`Disk`] and [`DiskFile`]. Never: formats, retries, or a decision about an error.
//! Two implementations: [`RealDisk`] and, for simulation and tests, [`MemoryDisk`], which forgets what was
//! not synced.
//!
//! A name that was created, renamed or removed is durable after [`Disk::sync_dir`]; bytes (and the size they
//! need) after [`DiskFile::sync`]. Nothing else is promised, and [`MemoryDisk`] promises nothing else.

pub mod memory;
pub mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use memory::MemoryDisk;
pub use real::RealDisk;

/// A file system. Clones are handles to the same one.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Holds a lock until dropped.
    type Lock: Debug + Send + 'static;

    /// Creates the directory and those above it, if they are not there, and makes their names durable.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process has it.
    fn lock(&self, path: &Path) -> Result<Self::Lock, LockError>;
    /// Creates an empty file for reading and writing; one of that name is emptied.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// The names of the files in `dir`, sorted.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name in the same directory; one of that name is replaced.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes names created, renamed and removed in `dir` durable.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that may still be written under `dir`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file, read and written by position.
pub trait DiskFile: Debug + Send + 'static {
    /// The file's size.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn size_bytes(&self) -> io::Result<u64>;
    /// Reads what fits into `buffer` from `offset` on; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Whatever the operating system says; part of the bytes may then be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Grows the file to `size` with the space for it taken from the disk; the new bytes read as zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if the disk has no room; the file is then as it was or longer.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// Says that all of the file will be written soon, in small pieces: its pages may be read ahead, since a piece of a
    /// page that is not in memory would wait for it. Only advice.
    fn expect_writes(&self) {}
    /// Makes the bytes written so far durable (fdatasync). Must not be called again after it failed.
    ///
    /// # Errors
    /// Whatever the operating system says; what had been written is then lost or not, nobody knows.
    fn sync(&self) -> io::Result<()>;
}

/// Why a lock was not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("held by another process")]
    Held {
        /// Who, if the lock file says so.
        pid: Option<u32>,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}
