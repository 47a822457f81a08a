//! What a script changes, so that it can be taken back if the script is stopped.
//! Owns: the entries as they were before. Never: decides that something is taken back.
//!
//! An entry is copied before its first change. What is too large to be copied for every script that touches it is not:
//! then nothing is taken back, and the reply says so. What is too large is said of the content (INV-LUA3): the memory
//! behind it differs between replicas.

use std::collections::BTreeMap;

use keystead_types::DatabaseId;

use crate::entry::Entry;
use crate::table::Hasher;

/// Largest value that is copied, bytes: every script that changes it pays for the copy.
const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// Bytes copied for one script at most.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Entries as they were, under their keys; nothing where nothing was.
pub(crate) type Before = BTreeMap<(DatabaseId, Box<[u8]>), Option<Entry>>;

/// What was counted before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) selected: DatabaseId,
    pub(crate) effects: usize,
    pub(crate) ready: usize,
    pub(crate) changes: u64,
    pub(crate) expired: u64,
}

/// What can be taken back.
pub(crate) struct Undo {
    marks: Marks,
    before: Before,
    bytes: usize,
    is_beyond: bool,
}

impl Undo {
    pub(crate) const fn new(marks: Marks) -> Self {
        Self { marks, before: Before::new(), bytes: 0, is_beyond: false }
    }

    /// Copies `entry`, unless its key is known already.
    pub(crate) fn remember(
        &mut self,
        (database, key): (DatabaseId, &[u8]),
        entry: Option<&Entry>,
        hasher: &Hasher,
    ) {
        let place = (database, Box::from(key));
        if self.is_beyond || self.before.contains_key(&place) {
            return;
        }
        let bytes = entry.map_or(0, Entry::content_bytes);
        self.bytes += bytes + key.len();
        if bytes > ENTRY_BYTES_MAX || self.bytes > BYTES_MAX {
            self.is_beyond = true;
            self.before.clear();
            return;
        }
        let copy = entry.map(|entry| entry.duplicate(key, hasher));
        self.before.insert(place, copy);
    }

    /// What was, if all of it is known.
    pub(crate) fn finish(self) -> Option<Before> {
        (!self.is_beyond).then_some(self.before)
    }

    /// What was so when it began.
    pub(crate) const fn marks(&self) -> Marks {
        self.marks
    }
}
