//! Segments that nobody needs any more, kept to be used again.
//! Owns: how a retired segment leaves the log, which of them are kept, how one becomes the next segment's file.
//! Never: what stands in them (nobody reads it again), or which segments are retired (see `ledger`).
//! Called by `log` and by the writer's preparer.
//!
//! INV-WAL12: no file is used twice under one sequence, so blocks of an earlier use are never read as blocks of a later
//! one: what is retired lies behind the log's end, sequences rise, and segments that recovery cuts off are not kept.
//!
//! A new segment costs every byte of it twice: zeros through the page cache to the disk, then blocks; and its fsyncs,
//! which allocate blocks of the disk, hold up those of the log beside them. A file that was a segment before has its
//! blocks on the disk and its pages in the cache. PostgreSQL recycles its log segments for the same reasons (its
//! documentation, "WAL Configuration").
//!
//! ```text
//!   7.seg --(retired: rename, sync the directory)--> 7.old --(rename)--> 12.tmp --(header, sync, rename)--> 12.spare
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::WalError;
use crate::ledger::Retired;
use crate::segment::Stage;

/// Segments that are kept at most: they go in bursts, when a snapshot sets many free at once.
const SHELVED_MAX: usize = 8;
/// Segments that must still fit on the disk for one to be kept; else its space is given back.
const ROOM_SEGMENTS: u64 = 8;

/// Where a log's retired segments go.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) log_dir: PathBuf,
    /// Only segments of this size are kept.
    pub(crate) segment_bytes: u64,
    /// Free bytes on the disk that are none of ours.
    pub(crate) reserve_bytes: u64,
}

impl Shelf {
    /// Takes segments that nobody needs out of the log, oldest first and each durably: a crash in between leaves no hole.
    pub(crate) fn let_go<D: Disk>(&self, disk: &D, retired: &[Retired]) -> Result<(), WalError> {
        for segment in retired {
            let path = &segment.path;
            let (operation, outcome) = match self.place_for(disk, segment)? {
                Some(shelved) => ("rename", disk.rename(path, &shelved)),
                None => ("remove", disk.remove(path)),
            };
            match outcome {
                // Gone by an earlier try whose directory sync failed.
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(WalError::io(operation, path))?,
            }
            let log_dir = &self.log_dir;
            disk.sync_dir(log_dir).map_err(WalError::io("sync the directory", log_dir))?;
        }
        Ok(())
    }

    /// The name under which a segment is kept, if it is.
    fn place_for<D: Disk>(&self, disk: &D, segment: &Retired) -> Result<Option<PathBuf>, WalError> {
        let name = segment.path.file_name().and_then(|name| name.to_str());
        let Some((Stage::Used, sequence)) = name.and_then(Stage::of_name) else { return Ok(None) };
        if segment.size_bytes != self.segment_bytes
            || shelved(disk, &self.log_dir)?.len() >= SHELVED_MAX
        {
            return Ok(None);
        }
        let free_bytes = disk
            .free_bytes(&self.log_dir)
            .map_err(WalError::io("ask for free space in", &self.log_dir))?;
        let needed = self.reserve_bytes.saturating_add(self.segment_bytes * ROOM_SEGMENTS);
        Ok((free_bytes >= needed).then(|| Stage::Shelved.path(&self.log_dir, sequence)))
    }
}

/// A file of `size_bytes` from the shelf, renamed to `unready`. What is of no use there is removed.
pub(crate) fn take<D: Disk>(
    disk: &D,
    log_dir: &Path,
    size_bytes: u64,
    unready: &Path,
) -> Result<Option<D::File>, WalError> {
    for path in shelved(disk, log_dir)? {
        let file = disk.open(&path).map_err(WalError::io("open", &path))?;
        if file.size_bytes().map_err(WalError::io("read the size of", &path))? == size_bytes {
            disk.rename(&path, unready).map_err(WalError::io("rename", &path))?;
            file.expect_writes();
            return Ok(Some(file));
        }
        drop(file);
        disk.remove(&path).map_err(WalError::io("remove", &path))?;
    }
    Ok(None)
}

/// The files that are kept, oldest first.
fn shelved<D: Disk>(disk: &D, log_dir: &Path) -> Result<Vec<PathBuf>, WalError> {
    let names = disk.list(log_dir).map_err(WalError::io("list", log_dir))?;
    let is_shelved = |name: &String| matches!(Stage::of_name(name), Some((Stage::Shelved, _)));
    Ok(names.into_iter().filter(is_shelved).map(|name| log_dir.join(name)).collect())
}
