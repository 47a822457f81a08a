//! Files of others (snapshots) made durable: nobody but this crate calls fsync.
//! Owns: [`DurableFile`], which is there whole or not at all. Never: formats, checksums, retries.
//! Called by whoever writes snapshots.
//!
//! INV-WAL9: the file has its name only once all of its bytes are durable.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 256 * 1024;
/// Written bytes after which a sync is due, so that the last one has little to do: a large flush holds up
/// the log's fsync on the same disk.
const SYNC_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// A file that is written from front to back and appears under its name with [`DurableFile::finish`].
///
/// Dropped before that, it is removed.
#[derive(Debug)]
pub struct DurableFile<D: Disk> {
    disk: D,
    dir: PathBuf,
    name: String,
    file: D::File,
    buffer: Vec<u8>,
    written_bytes: u64,
    synced_bytes: u64,
    is_finished: bool,
}

impl<D: Disk> DurableFile<D> {
    /// Begins the file `name` in `dir`, which exists. Until it is finished it is called `name.tmp`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn create(disk: &D, dir: &Path, name: &str) -> io::Result<Self> {
        let file = disk.create(&unready_path(dir, name))?;
        Ok(Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            name: name.to_owned(),
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written_bytes: 0,
            synced_bytes: 0,
            is_finished: false,
        })
    }

    /// Bytes given to it so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written_bytes + self.buffer.len() as u64
    }

    /// Makes the bytes durable, then the name; returns the file's path.
    ///
    /// # Errors
    /// Whatever the operating system says; the file is then not there.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        self.write_out()?;
        self.file.sync()?;
        let path = self.dir.join(&self.name);
        // ORDER: INV-WAL9, the name comes after the bytes.
        self.disk.rename(&unready_path(&self.dir, &self.name), &path)?;
        self.is_finished = true;
        self.disk.sync_dir(&self.dir)?;
        Ok(path)
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written_bytes)?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written_bytes - self.synced_bytes >= SYNC_EVERY_BYTES {
            self.file.sync()?;
            self.synced_bytes = self.written_bytes;
        }
        Ok(())
    }
}

impl<D: Disk> io::Write for DurableFile<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        let taken = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Hands the bytes to the operating system; only [`DurableFile::finish`] makes them durable.
    fn flush(&mut self) -> io::Result<()> {
        self.write_out()
    }
}

impl<D: Disk> Drop for DurableFile<D> {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nobody can do anything about an error here; the name says that the file is not ready.
            drop(self.disk.remove(&unready_path(&self.dir, &self.name)));
        }
    }
}

/// Writes a whole file, which is there, durably and with all of its bytes, or not at all.
///
/// # Errors
/// What `fill` returned, or whatever the operating system says.
pub fn write_durably<D: Disk>(
    disk: &D,
    dir: &Path,
    name: &str,
    fill: impl FnOnce(&mut DurableFile<D>) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let mut file = DurableFile::create(disk, dir, name)?;
    fill(&mut file)?;
    file.finish()
}

fn unready_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.tmp"))
}
