//! Which snapshot files count.
//!
//! Owns: the names in the directory of snapshots. Never: decides when a snapshot is old; never
//! touches a file whose name it does not understand. Called at start and after each snapshot.

use std::collections::BTreeMap;
use std::path::Path;

use keystead_types::{LogIndex, ShardId, Term};
use keystead_wal::Disk;

use super::{SnapshotError, SnapshotFile, SnapshotId, SnapshotReader, io_error};

/// Ending of a file that a peer is being asked for.
const PARTIAL: &str = ".partial";
/// Ending of a file that is being written.
const UNREADY: &str = ".tmp";

/// The newest complete snapshot of every shard in `dir`. Removes what a crash left unfinished;
/// what was fetched in part stays if it is newer than what is there, since fetching goes on there.
///
/// A file whose header or footer is not sound is passed over, with a warning: an older one may
/// stand behind it. Contents are verified where they are read. Run while nobody writes there.
///
/// # Errors
/// [`SnapshotError::Io`].
pub fn list<D: Disk>(
    disk: &D,
    dir: &Path,
) -> Result<BTreeMap<ShardId, SnapshotFile>, SnapshotError> {
    let mut newest = BTreeMap::<ShardId, SnapshotFile>::new();
    let names = disk.list(dir).map_err(io_error("list", dir))?;
    for name in &names {
        if name.strip_suffix(UNREADY).and_then(parse).is_some() {
            remove(disk, dir, name)?;
            continue;
        }
        let Some(id) = parse(name) else {
            continue;
        };
        match SnapshotReader::open(disk, &dir.join(name)) {
            Ok(reader) if reader.snapshot().id == id => {
                let found = reader.snapshot();
                let known = newest.entry(id.shard).or_insert_with(|| found.clone());
                if known.id < found.id {
                    *known = found.clone();
                }
            }
            Ok(reader) => tracing::warn!(file = name, holds = %reader.snapshot().id,
                "passing over a snapshot under another one's name"),
            Err(error @ SnapshotError::Io { .. }) => return Err(error),
            Err(error) => tracing::warn!(%error, "passing over a snapshot"),
        }
    }
    for name in &names {
        let is_behind = |id: SnapshotId| newest.get(&id.shard).is_some_and(|have| id <= have.id);
        if name.strip_suffix(PARTIAL).and_then(parse).is_some_and(is_behind) {
            remove(disk, dir, name)?;
        }
    }
    Ok(newest)
}

/// Removes the complete snapshots of `shard` before `keep`, and what was fetched in part of them.
///
/// # Errors
/// [`SnapshotError::Io`]; some may then be removed.
pub fn remove_older<D: Disk>(
    disk: &D,
    dir: &Path,
    shard: ShardId,
    keep: LogIndex,
) -> Result<(), SnapshotError> {
    remove_where(disk, dir, |id| id.shard == shard && id.index < keep)
}

/// Removes every snapshot of `shard`: its replica has left this node.
///
/// # Errors
/// [`SnapshotError::Io`]; some may then be removed.
pub fn remove_all<D: Disk>(disk: &D, dir: &Path, shard: ShardId) -> Result<(), SnapshotError> {
    remove_where(disk, dir, |id| id.shard == shard)
}

fn remove_where<D: Disk>(
    disk: &D,
    dir: &Path,
    is_old: impl Fn(SnapshotId) -> bool,
) -> Result<(), SnapshotError> {
    for name in disk.list(dir).map_err(io_error("list", dir))? {
        let id = parse(name.strip_suffix(PARTIAL).unwrap_or(&name));
        if id.is_some_and(&is_old) {
            remove(disk, dir, &name)?;
        }
    }
    Ok(())
}

/// Removes what was fetched in part of other snapshots than `id` of its shard: nobody will go on
/// with it.
pub(super) fn remove_other_partials<D: Disk>(
    disk: &D,
    dir: &Path,
    id: SnapshotId,
) -> Result<(), SnapshotError> {
    for name in disk.list(dir).map_err(io_error("list", dir))? {
        let other = name.strip_suffix(PARTIAL).and_then(parse);
        if other.is_some_and(|other| other.shard == id.shard && other != id) {
            remove(disk, dir, &name)?;
        }
    }
    Ok(())
}

/// The newest snapshot of `shard` by name alone: what has a name is complete (INV-SNAP1).
///
/// # Errors
/// [`SnapshotError::Io`].
pub fn newest<D: Disk>(
    disk: &D,
    dir: &Path,
    shard: ShardId,
) -> Result<Option<SnapshotId>, SnapshotError> {
    let names = disk.list(dir).map_err(io_error("list", dir))?;
    Ok(names.iter().filter_map(|name| parse(name)).filter(|id| id.shard == shard).max())
}

pub(super) fn partial_name(id: SnapshotId) -> String {
    id.file_name() + PARTIAL
}

fn remove<D: Disk>(disk: &D, dir: &Path, name: &str) -> Result<(), SnapshotError> {
    let path = dir.join(name);
    disk.remove(&path).map_err(io_error("remove", &path))
}

fn parse(name: &str) -> Option<SnapshotId> {
    let mut numbers = name.strip_suffix(".snap")?.split('-');
    let id = SnapshotId {
        shard: ShardId(numbers.next()?.parse().ok()?),
        index: LogIndex(numbers.next()?.parse().ok()?),
        term: Term(numbers.next()?.parse().ok()?),
    };
    // Spelled as we would spell it, so that one snapshot has one name.
    (numbers.next().is_none() && id.file_name() == name).then_some(id)
}
