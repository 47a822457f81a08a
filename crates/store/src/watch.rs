//! Watched keys: what WATCH registers and EXEC asks.
//! Owns: which watch covers which keys, and whether one of them changed. Never: connections; a watch
//! is a number that the node chose. Called by `keyspace.rs` for every change of a key.
//!
//! Watches are part of the replicated state: a transaction whose leader falls between WATCH and EXEC
//! is judged by the next leader as the last one would have.
//!
//! INV-W1: a watch that is not known (dropped, or lost with its registration) counts as dirty.

use std::collections::{BTreeMap, BTreeSet};

use keystead_types::UnixMillis;

/// Most watches of one store; beyond it the oldest is dropped and its EXEC aborts.
pub const WATCHES_MAX: usize = 65_536;
/// A watch older than this, milliseconds, is dropped and its EXEC aborts: a node that died between
/// WATCH and EXEC leaves watches behind that nobody will ever take back.
pub const WATCH_AGE_MS_MAX: u64 = 3_600_000;

/// A watch, unique within the cluster; the node that registers it chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// The watches of a store.
#[derive(Default)]
pub(crate) struct Watches {
    watches: BTreeMap<WatchId, Watch>,
    by_key: BTreeMap<Box<[u8]>, Vec<WatchId>>,
    by_age: BTreeSet<(UnixMillis, WatchId)>,
}

/// One watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// When it was registered.
    pub(crate) since: UnixMillis,
    /// True once a watched key changed.
    pub(crate) is_dirty: bool,
    /// The watched keys.
    pub(crate) keys: BTreeMap<Box<[u8]>, KeyAtWatch>,
}

/// What a watched key was when the watch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyAtWatch {
    /// Visible, or absent altogether: whatever happens to it is a change.
    Plain,
    /// Expired but not removed yet: its removal is no change (as in Redis).
    Expired,
}

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A command changed it.
    Command,
    /// Its time was up.
    Expiry,
}

impl Watches {
    /// Adds keys to a watch, which begins with its first key.
    pub(crate) fn add(&mut self, id: WatchId, now: UnixMillis, key: &[u8], was: KeyAtWatch) {
        let watch = self.watches.entry(id).or_insert_with(|| {
            self.by_age.insert((now, id));
            Watch { since: now, is_dirty: false, keys: BTreeMap::new() }
        });
        if watch.keys.insert(key.into(), was).is_none() {
            self.by_key.entry(key.into()).or_default().push(id);
        }
        while self.watches.len() > WATCHES_MAX {
            let (_, oldest) = *self.by_age.first().expect("INV-W1: every watch has its age");
            self.remove(oldest);
        }
    }

    /// Puts back a watch from a snapshot.
    pub(crate) fn restore(&mut self, id: WatchId, watch: Watch) {
        self.remove(id);
        for key in watch.keys.keys() {
            self.by_key.entry(key.clone()).or_default().push(id);
        }
        self.by_age.insert((watch.since, id));
        self.watches.insert(id, watch);
    }

    /// Ends a watch.
    pub(crate) fn remove(&mut self, id: WatchId) -> Option<Watch> {
        let watch = self.watches.remove(&id)?;
        self.by_age.remove(&(watch.since, id));
        for key in watch.keys.keys() {
            if let Some(ids) = self.by_key.get_mut(key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        Some(watch)
    }

    /// Marks every watch on `key`.
    #[inline]
    pub(crate) fn mark(&mut self, key: &[u8], cause: Cause) {
        if self.by_key.is_empty() {
            return;
        }
        let Some(ids) = self.by_key.get(key) else { return };
        for id in ids {
            let Some(watch) = self.watches.get_mut(id) else { continue };
            let was = watch.keys.get_mut(key).expect("INV-W1: a watch knows its keys");
            match (cause, *was) {
                // From here on the key is absent, and its next appearance is a change.
                (Cause::Expiry, KeyAtWatch::Expired) => *was = KeyAtWatch::Plain,
                _ => watch.is_dirty = true,
            }
        }
    }

    /// Marks every watch on a key that `existed`: what FLUSHALL changes.
    pub(crate) fn mark_all(&mut self, existed: impl Fn(&[u8]) -> bool) {
        for watch in self.watches.values_mut() {
            watch.is_dirty |= watch.keys.keys().any(|key| existed(key));
        }
    }

    /// Drops watches that are too old; returns how many.
    pub(crate) fn remove_old(&mut self, now: UnixMillis, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some(&(since, id)) = self.by_age.first()
            && since.0.saturating_add(WATCH_AGE_MS_MAX) <= now.0
        {
            self.remove(id);
            removed += 1;
        }
        removed
    }

    /// When the oldest watch will be too old.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        let (since, _) = self.by_age.first()?;
        Some(UnixMillis(since.0.saturating_add(WATCH_AGE_MS_MAX)))
    }

    pub(crate) fn get(&self, id: WatchId) -> Option<&Watch> {
        self.watches.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WatchId, &Watch)> {
        self.watches.iter().map(|(id, watch)| (*id, watch))
    }

    pub(crate) fn len(&self) -> usize {
        self.watches.len()
    }
}
