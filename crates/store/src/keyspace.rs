//! The keys of a store, in numbered databases, and the only doors through which they change.
//! Owns: the databases, which of them is selected, the watches, the running dump, the counts.
//! Never: parses a command, writes a reply, reads a clock (`now` is an argument everywhere).
//!
//! Every change passes [`Keyspace::set_string`], [`insert`](Keyspace::insert), [`edit`](Keyspace::edit),
//! [`take`](Keyspace::take), [`remove_due`](Keyspace::remove_due), [`load`](Keyspace::load), [`clear`](Keyspace::clear)
//! or [`swap`](Keyspace::swap), and these do what a change entails: copy the slot out if a dump has yet to write it, keep
//! index and counts level, mark watches, signal who waits. A command cannot forget any of it.
//!
//! The doors work on the selected database; whoever runs commands selects one first, and whoever selects another in the
//! midst of them goes back. Which one is selected is no part of the state.
//!
//! INV-K1: a key lies in the table of its slot.
//! INV-K2: the index of expiry holds, per key, its own expiry and the earliest of its fields.
//! INV-K3: no empty collection stays in a table (a stream may be without entries and is not empty).
//! INV-K4: what a command does is in the selected database; only MOVE, COPY, SWAPDB and FLUSHALL reach into others.
//! INV-K5: what is rolled back leaves no trace: entries, watches, effects and counts are as they were.

use std::ops::Range;

use keystead_types::{DatabaseId, SLOT_COUNT, Slot, UnixMillis};

use crate::database::{Counts, Database, Position, Times, is_visible};
use crate::effect::{Effects, EventClass};
use crate::entry::Entry;
use crate::eviction::Uses;
use crate::functions::Functions;
use crate::scripts::Scripts;
use crate::snapshot::{DumpStep, RunningDump};
use crate::store::StoreConfig;
use crate::table::{Hasher, Place};
use crate::undo::{Marks, Undo};
use crate::value::Collection;
use crate::value::stream::Stream;
use crate::waiters::{Key, Waiters};
use crate::watch::{Cause, KeyAtWatch, WatchId, Watches};

/// What Redis 7.4 calls it when fields of a hash were removed because their time was up.
const FIELDS_EXPIRED: &str = "hexpired";

/// All keys of a store.
pub(crate) struct Keyspace {
    pub(crate) hasher: Hasher,
    pub(crate) watches: Watches,
    pub(crate) waiters: Waiters,
    pub(crate) effects: Effects,
    /// See [`StoreConfig::has_every_slot`].
    pub(crate) has_every_slot: bool,
    /// How uses of keys are noted; no part of the state.
    pub(crate) uses: Uses,
    /// Keys removed to make room, since the store was made.
    pub(crate) evicted: u64,
    pub(crate) scripts: Scripts,
    pub(crate) functions: Functions,
    /// True while scripts are told that memory is full; no part of the state: whoever applies says so.
    pub(crate) is_full: bool,
    /// Numbers of the slots that the shard serves.
    served: Range<u16>,
    undo: Option<Box<Undo>>,
    /// Up to the highest that was selected so far; at least the first.
    databases: Vec<Database>,
    /// What readers find in a database that is not made yet.
    vacant: Database,
    /// Always below the number of `databases`.
    selected: usize,
    dump: Option<Box<RunningDump>>,
    expired: u64,
    changes: u64,
}

/// What an edit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Something that a watch must notice.
    Changed,
    /// Nothing.
    Unchanged,
}

impl Change {
    /// A change if `is_changed`.
    pub(crate) const fn of(is_changed: bool) -> Self {
        if is_changed { Self::Changed } else { Self::Unchanged }
    }
}

impl Keyspace {
    pub(crate) fn new(config: StoreConfig) -> Self {
        Self {
            hasher: Hasher::new(config.hash_seed),
            has_every_slot: config.has_every_slot,
            watches: Watches::default(),
            waiters: Waiters::default(),
            effects: Effects::default(),
            uses: Uses::default(),
            evicted: 0,
            scripts: Scripts::default(),
            functions: Functions::default(),
            is_full: false,
            served: 0..SLOT_COUNT,
            undo: None,
            databases: vec![Database::default()],
            vacant: Database::default(),
            selected: 0,
            dump: None,
            expired: 0,
            changes: 0,
        }
    }

    /// Selects the database on which all that follows works.
    pub(crate) fn select(&mut self, database: DatabaseId) {
        self.make(database);
        self.selected = database.index();
        self.effects.database = database;
    }

    /// The selected database.
    #[inline]
    pub(crate) const fn selected(&self) -> DatabaseId {
        self.effects.database
    }

    /// The keys of a database, for reading.
    #[inline]
    pub(crate) fn database(&self, database: DatabaseId) -> &Database {
        self.databases.get(database.index()).unwrap_or(&self.vacant)
    }

    /// The databases that were ever selected, and those below them.
    pub(crate) fn databases(&self) -> impl Iterator<Item = (DatabaseId, &Database)> {
        (0u16..).map(DatabaseId).zip(&self.databases)
    }

    /// The entry that is visible under `key` at `now`.
    #[inline]
    pub(crate) fn get(&self, now: UnixMillis, key: &[u8]) -> Option<&Entry> {
        self.current().visible(&self.hasher, (Slot::of_key(key), key), now)
    }

    /// The string under `key`, whatever was there before.
    pub(crate) fn set_string(&mut self, key: &[u8], value: &[u8], expiry: Option<UnixMillis>) {
        self.remember(key);
        let slot = Slot::of_key(key);
        let hash = self.hasher.hash(key);
        let database = &mut self.databases[self.selected];
        let table = database.table_mut(slot);
        let (old, new) = match table.find(&self.hasher, hash, key) {
            Place::Occupied(at) => {
                let entry = table.at_mut(at);
                let old = Times::of(entry);
                // Whoever reads for a group learns that there is none any more.
                if !self.waiters.is_empty() && entry.as_kind::<Stream>().is_some() {
                    self.waiters.signal((self.effects.database, key.into()));
                }
                entry.set_string(value, expiry);
                self.uses.note(entry);
                (old, Times::of(entry))
            }
            Place::Vacant(at) => {
                let entry = Entry::string(key, value, expiry);
                let new = Times::of(&entry);
                self.uses.note_new(&entry);
                table.insert(&self.hasher, hash, entry, at);
                database.counts.keys += 1;
                self.effects.notify(EventClass::New, "new", key);
                (Times::NONE, new)
            }
        };
        database.follow(Position::new(slot, hash), old, new);
        self.changed(key, Cause::Command);
    }

    /// Puts `entry` under its key, whatever was there before. A collection is not empty (INV-K3).
    pub(crate) fn insert(&mut self, mut entry: Entry) {
        self.remember(entry.key());
        let slot = Slot::of_key(entry.key());
        let hash = self.hasher.hash(entry.key());
        let new = Times::of(&entry);
        self.watches.mark(self.selected(), entry.key(), Cause::Command);
        self.effects.touched(entry.key());
        self.signal(entry.key());
        let database = &mut self.databases[self.selected];
        let table = database.table_mut(slot);
        let mut old = Times::NONE;
        match table.find(&self.hasher, hash, entry.key()) {
            Place::Occupied(at) => {
                entry.set_tag(table.at(at).tag());
                entry.set_uses(table.at(at).uses());
                self.uses.note(&entry);
                old = Times::of(table.at(at));
                *table.at_mut(at) = entry;
            }
            Place::Vacant(at) => {
                self.effects.notify(EventClass::New, "new", entry.key());
                self.uses.note_new(&entry);
                table.insert(&self.hasher, hash, entry, at);
                database.counts.keys += 1;
            }
        }
        self.changes += 1;
        database.follow(Position::new(slot, hash), old, new);
    }

    /// Changes the entry under `key` in place; `None` if none is visible at `now`.
    ///
    /// An expired entry, and expired fields of a hash, are removed first; a collection that `f` leaves
    /// empty is removed after.
    pub(crate) fn edit<R>(
        &mut self,
        now: UnixMillis,
        key: &[u8],
        f: impl FnOnce(&mut Entry, &Hasher) -> (Change, R),
    ) -> Option<R> {
        self.remember(key);
        let slot = Slot::of_key(key);
        let hash = self.hasher.hash(key);
        let database = &mut self.databases[self.selected];
        let Place::Occupied(at) = database.slots.get(slot)?.find(&self.hasher, hash, key) else {
            return None;
        };
        let table = database.table_mut(slot);
        if !is_visible(table.at(at), now) {
            self.remove_at(slot, at, Cause::Expiry);
            return None;
        }
        let entry = table.at_mut(at);
        self.uses.note(entry);
        let old = Times::of(entry);
        let due = entry.collection_mut().map_or(0, |c| c.remove_due(&self.hasher, now, usize::MAX));
        self.expired += due as u64;
        if due > 0 {
            self.effects.notify(EventClass::Hash, FIELDS_EXPIRED, key);
        }
        let (change, result) = f(entry, &self.hasher);
        let is_empty = entry.as_collection().is_some_and(Collection::is_empty);
        let new = Times::of(entry);
        database.follow(Position::new(slot, hash), old, new);
        if is_empty {
            self.remove_at(slot, at, Cause::Command);
        } else if change == Change::Changed || due > 0 {
            self.changed(key, Cause::Command);
            self.signal(key);
        }
        Some(result)
    }

    /// Takes the entry out; `None` if none is visible at `now`.
    pub(crate) fn take(&mut self, now: UnixMillis, key: &[u8]) -> Option<Entry> {
        self.remember(key);
        let slot = Slot::of_key(key);
        let hash = self.hasher.hash(key);
        let table = self.current().slots.get(slot)?;
        let Place::Occupied(at) = table.find(&self.hasher, hash, key) else {
            return None;
        };
        let was_visible = is_visible(table.at(at), now);
        let cause = if was_visible { Cause::Command } else { Cause::Expiry };
        let entry = self.remove_at(slot, at, cause);
        was_visible.then_some(entry)
    }

    /// Removes what has expired by `now` in any database, earliest first, at most `limit` keys and fields.
    pub(crate) fn remove_due(&mut self, now: UnixMillis, limit: usize) -> usize {
        let before = self.selected();
        let mut removed = 0;
        while removed < limit
            && let Some((at, database, position)) = self.first_expiry()
            && at <= now
        {
            self.select(database);
            removed += self.remove_due_at(Position(position), at, now, limit - removed);
        }
        self.select(before);
        removed
    }

    /// Puts in an entry of a snapshot under a key of `slot` in the selected database; false if the key is there already.
    /// Nobody watches, and no dump runs: the store is only being made.
    pub(crate) fn load(&mut self, slot: Slot, entry: Entry) -> bool {
        let hash = self.hasher.hash(entry.key());
        let new = Times::of(&entry);
        let database = &mut self.databases[self.selected];
        let table = database.table_mut(slot);
        let Place::Vacant(at) = table.find(&self.hasher, hash, entry.key()) else { return false };
        table.insert(&self.hasher, hash, entry, at);
        database.counts.keys += 1;
        database.follow(Position::new(slot, hash), Times::NONE, new);
        true
    }

    /// Makes room for `count` keys of a slot, so that loading them in order moves nothing.
    pub(crate) fn reserve(&mut self, slot: Slot, count: u32) {
        if count > 0 {
            self.databases[self.selected].table_mut(slot).reserve(&self.hasher, count);
        }
    }

    /// The earliest time at which a key or a field of any database expires.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.first_expiry().map(|(at, ..)| at)
    }

    /// Removes every key of the selected database.
    pub(crate) fn clear(&mut self) {
        let database = &mut self.databases[self.selected];
        self.changes += database.counts.keys;
        let slots = database.clear();
        let hasher = &self.hasher;
        self.watches.replaced(self.effects.database, |key| {
            let table = slots.get(Slot::of_key(key));
            let was_there = table.is_some_and(|it| it.get(hasher, hasher.hash(key), key).is_some());
            (was_there, None)
        });
        // Whoever reads for a group of a stream that goes learns that there is none any more.
        let was_stream = |(database, key): &&Key| {
            let table = slots.get(Slot::of_key(key)).filter(|_| *database == self.effects.database);
            let entry = table.and_then(|it| it.get(hasher, hasher.hash(key), key));
            entry.is_some_and(|entry| entry.as_kind::<Stream>().is_some())
        };
        let gone: Vec<Key> = self.waiters.keys().filter(was_stream).cloned().collect();
        gone.into_iter().for_each(|key| self.waiters.signal(key));
        if let Some(dump) = &mut database.dump {
            dump.freeze(slots);
        }
        self.effects.cleared();
    }

    /// Removes every key of every database.
    pub(crate) fn clear_all(&mut self) {
        let before = self.selected();
        for number in (0u16..).take(self.databases.len()) {
            self.select(DatabaseId(number));
            self.clear();
        }
        self.select(before);
    }

    /// Exchanges the keys of two databases. O(1), and O(keys) of those that are watched.
    pub(crate) fn swap(&mut self, now: UnixMillis, one: DatabaseId, other: DatabaseId) {
        self.make(one.max(other));
        for (emptied, filled) in [(one, other), (other, one)] {
            let (old, new) = (&self.databases[emptied.index()], &self.databases[filled.index()]);
            let hasher = &self.hasher;
            self.watches.replaced(emptied, |key| {
                let slot = Slot::of_key(key);
                let entry = new.entry(hasher, slot, key);
                let now_there = entry.map(|entry| KeyAtWatch::of(is_visible(entry, now)));
                (old.entry(hasher, slot, key).is_some(), now_there)
            });
        }
        self.databases.swap(one.index(), other.index());
        // Who waits for a key there may find another one now.
        let keys = self.waiters.keys().filter(|(database, _)| [one, other].contains(database));
        let keys: Vec<Key> = keys.cloned().collect();
        keys.into_iter().for_each(|key| self.waiters.signal(key));
        self.effects.cleared();
        self.changes += 1;
    }

    /// Notes that who waits for `key` of the selected database may be served; at the price of a look where nobody waits.
    #[inline]
    pub(crate) fn signal(&mut self, key: &[u8]) {
        if !self.waiters.is_empty() {
            self.waiters.signal((self.selected(), key.into()));
        }
    }

    /// Registers a watch on `key` of the selected database as it is at `now`.
    pub(crate) fn watch(&mut self, id: WatchId, now: UnixMillis, key: &[u8]) {
        let entry = self.current().entry(&self.hasher, Slot::of_key(key), key);
        let was = KeyAtWatch::of(entry.is_none_or(|entry| is_visible(entry, now)));
        self.watches.add(id, now, (self.selected(), key), was);
    }

    /// True if EXEC must abort: a watched key changed or expired since, or the watch is not known.
    ///
    /// A field that expired since counts as a change of its key, whether it is removed yet or not.
    pub(crate) fn is_watch_dirty(&self, id: WatchId, now: UnixMillis) -> bool {
        let Some(watch) = self.watches.get(id) else { return true };
        let has_expired = |entry: &Entry| {
            let has_lost = |held: &Collection| held.has_expired_since(watch.since, now);
            !is_visible(entry, now) || entry.as_collection().is_some_and(has_lost)
        };
        watch.is_dirty
            || watch.keys().any(|(database, key, was)| {
                let entry = self.database(database).entry(&self.hasher, Slot::of_key(key), key);
                was == KeyAtWatch::Plain && entry.is_some_and(has_expired)
            })
    }

    /// Says which slots the shard serves; all of them unless it says so.
    pub(crate) fn serve(&mut self, slots: Range<u16>) {
        self.served = slots;
    }

    /// True if keys of the slot belong here.
    pub(crate) fn serves(&self, slot: Slot) -> bool {
        self.served.contains(&slot.number())
    }

    /// Begins to remember what is changed.
    pub(crate) fn begin_undo(&mut self) {
        self.watches.begin_journal();
        self.undo = Some(Box::new(Undo::new(Marks {
            selected: self.selected(),
            effects: self.effects.len(),
            ready: self.waiters.ready_len(),
            changes: self.changes,
            expired: self.expired,
        })));
    }

    /// Forgets what was remembered. The database that was selected before is so again.
    pub(crate) fn end_undo(&mut self) {
        self.watches.end_journal();
        if let Some(undo) = self.undo.take() {
            self.select(undo.marks().selected);
        }
    }

    /// Puts everything back as it was, effects included; false if that cannot be, and then nothing is put back.
    pub(crate) fn roll_back(&mut self, now: UnixMillis) -> bool {
        let Some(undo) = self.undo.take() else { return false };
        let marks = undo.marks();
        let before = undo.finish();
        let is_whole = before.is_some();
        for ((database, key), entry) in before.into_iter().flatten() {
            self.select(database);
            match entry {
                Some(entry) => self.insert(entry),
                None => drop(self.take(now, &key)),
            }
        }
        self.select(marks.selected);
        if is_whole {
            self.watches.undo_journal();
            self.effects.truncate(marks.effects);
            self.waiters.forget_ready(marks.ready);
            self.changes = marks.changes;
            self.expired = marks.expired;
        } else {
            self.watches.end_journal();
        }
        is_whole
    }

    /// Remembers what stands under `key`, visible or not, if somebody may want it back.
    #[inline]
    fn remember(&mut self, key: &[u8]) {
        if self.undo.is_some() {
            self.copy_before(key);
        }
    }

    #[cold]
    fn copy_before(&mut self, key: &[u8]) {
        let Some(mut undo) = self.undo.take() else { return };
        let entry = self.current().entry(&self.hasher, Slot::of_key(key), key);
        undo.remember((self.selected(), key), entry, &self.hasher);
        self.undo = Some(undo);
    }

    /// The counts of all databases together.
    pub(crate) fn counts(&self) -> Counts {
        self.databases.iter().fold(Counts::default(), |sum, database| sum.with(database.counts))
    }

    /// Keys and fields removed because their time was up, since the store was made.
    pub(crate) const fn expired(&self) -> u64 {
        self.expired
    }

    /// Changes since the store was made, one per key and command; who needs a number takes differences.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of the bucket arrays.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.databases.iter().map(|database| database.slots.bytes() as u64).sum()
    }

    /// Bytes of the index of expiry.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.databases.iter().map(|database| database.expiries.bytes() as u64).sum()
    }

    /// Bytes that a running dump holds back.
    pub(crate) fn dump_pending_bytes(&self) -> u64 {
        let dumps = self.databases.iter().filter_map(|database| database.dump.as_ref());
        let own = self.dump.as_ref().map_or(0, |dump| dump.pending_bytes());
        (own + dumps.map(|dump| dump.pending_bytes()).sum::<usize>()) as u64
    }

    /// Begins a dump of all databases; one that was running is given up.
    pub(crate) fn begin_dump(&mut self) {
        let parts = (&self.watches, &self.waiters, &self.scripts, &self.functions);
        self.dump = Some(Box::new(RunningDump::begin(parts, &mut self.databases)));
    }

    /// See [`Store::dump_step`](crate::Store::dump_step).
    pub(crate) fn dump_step(&mut self, out: &mut Vec<u8>, bytes_target: usize) -> DumpStep {
        let Some(running) = &mut self.dump else { return DumpStep::Done };
        let step = running.step(&mut self.databases, out, bytes_target);
        if step == DumpStep::Done {
            self.dump = None;
        }
        step
    }

    /// Gives up the running dump.
    pub(crate) fn abort_dump(&mut self) {
        self.dump = None;
        self.databases.iter_mut().for_each(|database| database.dump = None);
    }

    /// The selected database.
    #[inline]
    fn current(&self) -> &Database {
        &self.databases[self.selected]
    }

    /// Makes sure that there is such a database.
    #[inline]
    fn make(&mut self, database: DatabaseId) {
        if database.index() >= self.databases.len() {
            self.databases.resize_with(database.index() + 1, Database::default);
        }
    }

    /// What expires first: when, in which database, and its place there. Of what expires together, the lowest database.
    fn first_expiry(&self) -> Option<(UnixMillis, DatabaseId, u64)> {
        let first = |(id, database): (DatabaseId, &Database)| {
            database.expiries.first().map(|(at, position)| (at, id, position))
        };
        self.databases().filter_map(first).min()
    }

    fn remove_due_at(
        &mut self,
        position: Position,
        at: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> usize {
        let slot = position.slot().expect("INV-K2: the index holds places of this store");
        let database = &mut self.databases[self.selected];
        let table = database.table_mut(slot);
        let due = table
            .iter_from(&self.hasher, position.hash())
            .find(|entry| {
                let times = Times::of(entry);
                times.key == Some(at) || times.field == Some(at)
            })
            .expect("INV-K2: whoever stands in the index is in the table");
        let (key, is_due) = (due.key().to_vec(), due.expiry() == Some(at));
        let hash = self.hasher.hash(&key);
        let Place::Occupied(bucket) = table.find(&self.hasher, hash, &key) else {
            unreachable!("INV-T1: an entry just seen is found")
        };
        if is_due {
            self.remove_at(slot, bucket, Cause::Expiry);
            return 1;
        }
        let entry = table.at_mut(bucket);
        let old = Times::of(entry);
        let fields = entry.collection_mut().expect("INV-K2: only a hash has a field's time");
        let removed = fields.remove_due(&self.hasher, now, limit);
        let is_empty = fields.is_empty();
        let new = Times::of(entry);
        self.expired += removed as u64;
        database.follow(Position::new(slot, hash), old, new);
        self.effects.notify(EventClass::Hash, FIELDS_EXPIRED, &key);
        if is_empty {
            self.remove_at(slot, bucket, Cause::Expiry);
        } else {
            self.changed(&key, Cause::Expiry);
        }
        removed
    }

    fn remove_at(&mut self, slot: Slot, bucket: usize, cause: Cause) -> Entry {
        let database = &mut self.databases[self.selected];
        let entry = database.table_mut(slot).remove(&self.hasher, bucket);
        let position = Position::new(slot, self.hasher.hash(entry.key()));
        database.counts.keys -= 1;
        database.follow(position, Times::of(&entry), Times::NONE);
        self.expired += u64::from(cause == Cause::Expiry);
        self.changed(entry.key(), cause);
        // Whoever reads for a group learns that there is none any more; others go on waiting.
        if !self.waiters.is_empty() && entry.as_kind::<Stream>().is_some() {
            self.signal(entry.key());
        }
        if cause == Cause::Expiry {
            self.effects.notify(EventClass::Expired, "expired", entry.key());
        }
        entry
    }

    fn changed(&mut self, key: &[u8], cause: Cause) {
        self.changes += 1;
        self.watches.mark(self.effects.database, key, cause);
        self.effects.touched(key);
    }
}
