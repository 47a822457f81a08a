//! The directory of the log as a whole: which files are there, and the first one.
//! Owns: founding, tidying. Never: what stands in a segment (see `segment`, `recovery`), old segments (see `shelf`).
//! Called by `log` when it opens.

use std::collections::BTreeMap;
use std::path::Path;

use crate::batch::Position;
use crate::disk::Disk;
use crate::error::WalError;
use crate::ledger::Ledger;
use crate::log::LogOptions;
use crate::recovery::{Recovered, Reopened};
use crate::segment::{FIRST_BLOCK_OFFSET, Preparation, SpareOrder, Stage};

/// Size of the very first segment: a fresh node waits for its zeros, so it is smaller than the others.
const FIRST_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Removes half-made segments; returns the numbers of the used ones and of the spares.
pub(crate) fn tidy<D: Disk>(disk: &D, log_dir: &Path) -> Result<(Vec<u64>, Vec<u64>), WalError> {
    let names = disk.list(log_dir).map_err(WalError::io("list", log_dir))?;
    let (mut used, mut spares) = (Vec::new(), Vec::new());
    for name in names {
        match Stage::of_name(&name) {
            Some((Stage::Used, sequence)) => used.push(sequence),
            Some((Stage::Spare, sequence)) => spares.push(sequence),
            Some((Stage::Unready, _)) => {
                let path = log_dir.join(name);
                disk.remove(&path).map_err(WalError::io("remove", &path))?;
            }
            // The shelf's, or not ours: somebody may have put a note there.
            Some((Stage::Shelved, _)) | None => {}
        }
    }
    used.sort_unstable();
    Ok((used, spares))
}

/// A log without a past.
pub(crate) fn found<D: Disk>(
    disk: &D,
    log_dir: &Path,
    options: &LogOptions,
) -> Result<Reopened<D>, WalError> {
    let identity = options.identity_if_new;
    let order = SpareOrder {
        log_dir: log_dir.to_owned(),
        sequence: 1,
        identity,
        size_bytes: options.segment_bytes.min(FIRST_SEGMENT_BYTES),
        reserve_bytes: options.reserve_bytes,
    };
    let mut active = Preparation::begin(disk, order)?.finish(disk)?;
    let path = Stage::Used.path(log_dir, active.sequence);
    disk.rename(&active.path, &path).map_err(WalError::io("rename", &active.path))?;
    disk.sync_dir(log_dir).map_err(WalError::io("sync the directory", log_dir))?;
    active.path = path.clone();
    let mut ledger = Ledger::default();
    ledger.begin_segment(active.sequence, path, active.size_bytes);
    let recovered = Recovered {
        identity,
        groups: BTreeMap::new(),
        torn_tail: None,
        is_new: true,
        was_closed: false,
        bytes_read: 0,
    };
    let end = Position { segment: active.sequence, offset: FIRST_BLOCK_OFFSET };
    Ok(Reopened { active, end, next_block: 1, ledger, recovered })
}
