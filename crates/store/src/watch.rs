//! Watched keys: what WATCH registers and EXEC asks.
//! Owns: which watch covers which keys, and whether one of them changed. Never: connections; a watch
//! is a number that the node chose. Called by `keyspace.rs` for every change of a key.
//!
//! Watches are part of the replicated state: a transaction whose leader falls between WATCH and EXEC
//! is judged by the next leader as the last one would have.
//!
//! INV-W1: a watch that is not known (dropped, or lost with its registration) counts as dirty.

use std::collections::{BTreeMap, BTreeSet};

use keystead_types::{DatabaseId, UnixMillis};

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
    by_key: BTreeMap<DatabaseId, BTreeMap<Box<[u8]>, Vec<WatchId>>>,
    by_age: BTreeSet<(UnixMillis, WatchId)>,
    /// What marking changed since a script began.
    journal: Option<Vec<Marked>>,
}

/// One watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// When it was registered.
    pub(crate) since: UnixMillis,
    /// True once a watched key changed.
    pub(crate) is_dirty: bool,
    /// The watched keys.
    by_database: BTreeMap<DatabaseId, BTreeMap<Box<[u8]>, KeyAtWatch>>,
}

/// What a watched key was when the watch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyAtWatch {
    /// Visible, or absent altogether: whatever happens to it is a change.
    Plain,
    /// Expired but not removed yet: its removal is no change (as in Redis).
    Expired,
}

impl KeyAtWatch {
    /// What a key is whose entry, if there is one, is or is not visible.
    pub(crate) const fn of(is_visible: bool) -> Self {
        if is_visible { Self::Plain } else { Self::Expired }
    }
}

/// What marking changed: a watch that was clean, or a key of it that had expired.
type Marked = (WatchId, Option<(DatabaseId, Box<[u8]>)>);

/// Why a key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A command changed it.
    Command,
    /// Its time was up.
    Expiry,
}

impl Watch {
    /// One without keys.
    pub(crate) const fn new(since: UnixMillis, is_dirty: bool) -> Self {
        Self { since, is_dirty, by_database: BTreeMap::new() }
    }

    /// Adds a key; false if it is watched already, and is from now on as `was` says.
    pub(crate) fn add(&mut self, database: DatabaseId, key: &[u8], was: KeyAtWatch) -> bool {
        self.by_database.entry(database).or_default().insert(key.into(), was).is_none()
    }

    /// The watched keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (DatabaseId, &[u8], KeyAtWatch)> {
        self.by_database
            .iter()
            .flat_map(|(database, keys)| keys.iter().map(|(key, was)| (*database, &**key, *was)))
    }
}

impl Watches {
    /// Adds a key to a watch, which begins with its first key.
    pub(crate) fn add(
        &mut self,
        id: WatchId,
        now: UnixMillis,
        (database, key): (DatabaseId, &[u8]),
        was: KeyAtWatch,
    ) {
        let watch = self.watches.entry(id).or_insert_with(|| {
            self.by_age.insert((now, id));
            Watch::new(now, false)
        });
        if watch.add(database, key, was) {
            self.by_key.entry(database).or_default().entry(key.into()).or_default().push(id);
        }
        while self.watches.len() > WATCHES_MAX {
            let (_, oldest) = *self.by_age.first().expect("INV-W1: every watch has its age");
            self.remove(oldest);
        }
    }

    /// Puts back a watch from a snapshot.
    pub(crate) fn restore(&mut self, id: WatchId, watch: Watch) {
        self.remove(id);
        for (database, key, _) in watch.keys() {
            self.by_key.entry(database).or_default().entry(key.into()).or_default().push(id);
        }
        self.by_age.insert((watch.since, id));
        self.watches.insert(id, watch);
    }

    /// Ends a watch.
    pub(crate) fn remove(&mut self, id: WatchId) -> Option<Watch> {
        let watch = self.watches.remove(&id)?;
        self.by_age.remove(&(watch.since, id));
        for (database, key, _) in watch.keys() {
            let Some(keys) = self.by_key.get_mut(&database) else { continue };
            if let Some(ids) = keys.get_mut(key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    keys.remove(key);
                }
            }
            if keys.is_empty() {
                self.by_key.remove(&database);
            }
        }
        Some(watch)
    }

    /// Marks every watch on `key`.
    #[inline]
    pub(crate) fn mark(&mut self, database: DatabaseId, key: &[u8], cause: Cause) {
        if self.by_key.is_empty() {
            return;
        }
        let Some(ids) = self.by_key.get(&database).and_then(|keys| keys.get(key)) else { return };
        for id in ids {
            let Some(watch) = self.watches.get_mut(id) else { continue };
            let keys = watch.by_database.get_mut(&database);
            let was = keys.and_then(|keys| keys.get_mut(key));
            let was = was.expect("INV-W1: a watch knows its keys");
            match (cause, *was) {
                // From here on the key is absent, and its next appearance is a change.
                (Cause::Expiry, KeyAtWatch::Expired) => {
                    *was = KeyAtWatch::Plain;
                    if let Some(journal) = &mut self.journal {
                        journal.push((*id, Some((database, key.into()))));
                    }
                }
                _ => {
                    if let (Some(journal), false) = (&mut self.journal, watch.is_dirty) {
                        journal.push((*id, None));
                    }
                    watch.is_dirty = true;
                }
            }
        }
    }

    /// Begins to note what marking changes.
    pub(crate) fn begin_journal(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// Ends that.
    pub(crate) fn end_journal(&mut self) {
        self.journal = None;
    }

    /// Takes back what marking changed since the journal began.
    pub(crate) fn undo_journal(&mut self) {
        for (id, key) in self.journal.take().unwrap_or_default() {
            let Some(watch) = self.watches.get_mut(&id) else { continue };
            match key {
                None => watch.is_dirty = false,
                Some((database, key)) => {
                    let keys = watch.by_database.entry(database).or_default();
                    keys.insert(key, KeyAtWatch::Expired);
                }
            }
        }
    }

    /// Marks the watches on keys of a database whose keys are exchanged all at once, for none (FLUSHDB) or for those of
    /// another (SWAPDB). `look` says of a key whether it was there, expired or not, and what it is now if it is there.
    pub(crate) fn replaced(
        &mut self,
        database: DatabaseId,
        look: impl Fn(&[u8]) -> (bool, Option<KeyAtWatch>),
    ) {
        for watch in self.watches.values_mut() {
            let Some(keys) = watch.by_database.get_mut(&database) else { continue };
            for (key, was) in keys {
                match (look(key), *was) {
                    // Nothing for nothing, as clients see it. What was expired is gone, what is absent may expire.
                    ((false, None), _) => {}
                    ((_, None), KeyAtWatch::Expired) => *was = KeyAtWatch::Plain,
                    ((_, Some(KeyAtWatch::Expired)), KeyAtWatch::Expired) => {}
                    ((false, Some(KeyAtWatch::Expired)), KeyAtWatch::Plain) => {
                        *was = KeyAtWatch::Expired;
                    }
                    _ => watch.is_dirty = true,
                }
            }
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
