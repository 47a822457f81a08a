//! The keys of a store: one table per slot, and the only doors through which they change.
//! Owns: the tables, the index of expiry, the watches, the running dump, the counts.
//! Never: parses a command, writes a reply, reads a clock (`now` is an argument everywhere).
//!
//! Every change passes [`Keyspace::set_string`], [`insert`](Keyspace::insert), [`edit`](Keyspace::edit),
//! [`take`](Keyspace::take), [`remove_due`](Keyspace::remove_due), [`load`](Keyspace::load) or [`clear`](Keyspace::clear), and these
//! do what a change entails: copy the slot out if a dump has yet to write it, keep index and counts level,
//! mark watches. A command cannot forget any of it.
//!
//! INV-K1: a key lies in the table of its slot.
//! INV-K2: the index of expiry holds, per key, its own expiry and the earliest of its fields.
//! INV-K3: no empty collection stays in a table (a stream may be without entries and is not empty).
//! INV-D1: a slot is changed only after a running dump has written it (see `snapshot.rs`).

use keystead_types::{SLOT_COUNT, Slot, UnixMillis};

use crate::effect::{Effects, EventClass};
use crate::entry::{Entry, Value};
use crate::expiry::ExpiryIndex;
use crate::snapshot::Dump;
use crate::store::StoreConfig;
use crate::table::{Hasher, Place, Table};
use crate::value::Collection;
use crate::watch::{Cause, KeyAtWatch, WatchId, Watches};

const SLOTS_PER_PAGE: usize = 256;

/// What Redis 7.4 calls it when fields of a hash were removed because their time was up.
const FIELDS_EXPIRED: &str = "hexpired";

/// All keys of a store.
pub(crate) struct Keyspace {
    pub(crate) hasher: Hasher,
    pub(crate) slots: Slots,
    pub(crate) watches: Watches,
    pub(crate) effects: Effects,
    /// See [`StoreConfig::has_every_slot`].
    pub(crate) has_every_slot: bool,
    expiries: ExpiryIndex,
    dump: Option<Box<Dump>>,
    counts: Counts,
    changes: u64,
}

/// What is counted as it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Keys, expired ones included until they are removed.
    pub(crate) keys: u64,
    /// Keys with a time to expire.
    pub(crate) timed_keys: u64,
    /// Hashes in which some field expires.
    pub(crate) timed_hashes: u64,
    /// Bytes of keys and values, the allocator's headers included.
    pub(crate) entry_bytes: u64,
    /// Keys and fields removed because their time was up, since the store was made.
    pub(crate) expired: u64,
}

/// The tables of all slots, made in pages: a shard's slots are neighbours.
pub(crate) struct Slots(Vec<Option<Box<[Table]>>>);

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

/// A key's place among all keys: `slot << 48 | upper 48 bits of the hash`. It is also the SCAN cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    const HASH_BITS: u32 = 48;

    pub(crate) const fn new(slot: Slot, hash: u64) -> Self {
        Self(((slot.number() as u64) << Self::HASH_BITS) | (hash >> 16))
    }

    /// The slot; `None` if the number came from a client and names none.
    pub(crate) fn slot(self) -> Option<Slot> {
        u16::try_from(self.0 >> Self::HASH_BITS).ok().and_then(Slot::new)
    }

    /// The lowest hash with this position.
    pub(crate) const fn hash(self) -> u64 {
        self.0 << 16
    }
}

/// The times at which an entry asks to be looked at.
#[derive(Clone, Copy)]
struct Times {
    key: Option<UnixMillis>,
    field: Option<UnixMillis>,
    bytes: usize,
}

impl Times {
    const NONE: Self = Self { key: None, field: None, bytes: 0 };

    fn of(entry: &Entry) -> Self {
        let field = entry.as_collection().and_then(Collection::next_expiry);
        Self { key: entry.expiry(), field, bytes: entry.bytes() }
    }
}

impl Keyspace {
    pub(crate) fn new(config: StoreConfig) -> Self {
        Self {
            hasher: Hasher::new(config.hash_seed),
            has_every_slot: config.has_every_slot,
            slots: Slots::new(),
            watches: Watches::default(),
            effects: Effects::default(),
            expiries: ExpiryIndex::default(),
            dump: None,
            counts: Counts::default(),
            changes: 0,
        }
    }

    /// The entry that is visible under `key` at `now`.
    #[inline]
    pub(crate) fn get(&self, now: UnixMillis, key: &[u8]) -> Option<&Entry> {
        self.get_in(Slot::of_key(key), now, key)
    }

    /// As [`get`](Self::get) where the slot is known already.
    #[inline]
    pub(crate) fn get_in(&self, slot: Slot, now: UnixMillis, key: &[u8]) -> Option<&Entry> {
        let table = self.slots.get(slot)?;
        let entry = table.get(&self.hasher, self.hasher.hash(key), key)?;
        is_visible(entry, now).then_some(entry)
    }

    /// The string under `key`, whatever was there before.
    pub(crate) fn set_string(&mut self, key: &[u8], value: &[u8], expiry: Option<UnixMillis>) {
        let slot = Slot::of_key(key);
        let hash = self.hasher.hash(key);
        let table = before_change(&mut self.dump, &mut self.slots, slot);
        let (old, new) = match table.find(&self.hasher, hash, key) {
            Place::Occupied(at) => {
                let entry = table.at_mut(at);
                let old = Times::of(entry);
                entry.set_string(value, expiry);
                (old, Times::of(entry))
            }
            Place::Vacant(at) => {
                let entry = Entry::string(key, value, expiry);
                let new = Times::of(&entry);
                table.insert(&self.hasher, hash, entry, at);
                self.counts.keys += 1;
                self.effects.notify(EventClass::New, "new", key);
                (Times::NONE, new)
            }
        };
        self.follow(Position::new(slot, hash), old, new);
        self.changed(key, Cause::Command);
    }

    /// Puts `entry` under its key, whatever was there before. A collection is not empty (INV-K3).
    pub(crate) fn insert(&mut self, mut entry: Entry) {
        let slot = Slot::of_key(entry.key());
        let hash = self.hasher.hash(entry.key());
        let new = Times::of(&entry);
        self.watches.mark(entry.key(), Cause::Command);
        self.effects.touched(entry.key());
        let table = before_change(&mut self.dump, &mut self.slots, slot);
        let mut old = Times::NONE;
        match table.find(&self.hasher, hash, entry.key()) {
            Place::Occupied(at) => {
                entry.set_tag(table.at(at).tag());
                old = Times::of(table.at(at));
                *table.at_mut(at) = entry;
            }
            Place::Vacant(at) => {
                self.effects.notify(EventClass::New, "new", entry.key());
                table.insert(&self.hasher, hash, entry, at);
                self.counts.keys += 1;
            }
        }
        self.changes += 1;
        self.follow(Position::new(slot, hash), old, new);
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
        let slot = Slot::of_key(key);
        let hash = self.hasher.hash(key);
        let Place::Occupied(at) = self.slots.get(slot)?.find(&self.hasher, hash, key) else {
            return None;
        };
        let table = before_change(&mut self.dump, &mut self.slots, slot);
        if !is_visible(table.at(at), now) {
            self.remove_at(slot, at, Cause::Expiry);
            return None;
        }
        let entry = table.at_mut(at);
        let old = Times::of(entry);
        let due = entry.collection_mut().map_or(0, |c| c.remove_due(&self.hasher, now, usize::MAX));
        self.counts.expired += due as u64;
        if due > 0 {
            self.effects.notify(EventClass::Hash, FIELDS_EXPIRED, key);
        }
        let (change, result) = f(entry, &self.hasher);
        let is_empty = entry.as_collection().is_some_and(Collection::is_empty);
        let new = Times::of(entry);
        self.follow(Position::new(slot, hash), old, new);
        if is_empty {
            self.remove_at(slot, at, Cause::Command);
        } else if change == Change::Changed || due > 0 {
            self.changed(key, Cause::Command);
        }
        Some(result)
    }

    /// Takes the entry out; `None` if none is visible at `now`.
    pub(crate) fn take(&mut self, now: UnixMillis, key: &[u8]) -> Option<Entry> {
        let slot = Slot::of_key(key);
        let hash = self.hasher.hash(key);
        let Place::Occupied(at) = self.slots.get(slot)?.find(&self.hasher, hash, key) else {
            return None;
        };
        let was_visible = is_visible(self.slots.get(slot)?.at(at), now);
        let cause = if was_visible { Cause::Command } else { Cause::Expiry };
        let entry = self.remove_at(slot, at, cause);
        was_visible.then_some(entry)
    }

    /// Removes what has expired by `now`, earliest first, at most `limit` keys and fields.
    pub(crate) fn remove_due(&mut self, now: UnixMillis, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit
            && let Some((at, position)) = self.expiries.first()
            && at <= now
        {
            removed += self.remove_due_at(Position(position), at, now, limit - removed);
        }
        removed
    }

    /// Puts in an entry of a snapshot under a key of `slot`; false if the key is there already. Nobody watches, and no
    /// dump runs: the store is only being made.
    pub(crate) fn load(&mut self, slot: Slot, entry: Entry) -> bool {
        let hash = self.hasher.hash(entry.key());
        let new = Times::of(&entry);
        let table = self.slots.get_mut(slot);
        let Place::Vacant(at) = table.find(&self.hasher, hash, entry.key()) else { return false };
        table.insert(&self.hasher, hash, entry, at);
        self.counts.keys += 1;
        self.follow(Position::new(slot, hash), Times::NONE, new);
        true
    }

    /// Makes room for `count` keys of a slot, so that loading them in order moves nothing.
    pub(crate) fn reserve(&mut self, slot: Slot, count: u32) {
        if count > 0 {
            before_change(&mut self.dump, &mut self.slots, slot).reserve(&self.hasher, count);
        }
    }

    /// The earliest time at which a key or a field expires.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        self.expiries.first().map(|(at, _)| at)
    }

    /// Removes every key.
    pub(crate) fn clear(&mut self) {
        let slots = std::mem::replace(&mut self.slots, Slots::new());
        self.watches.mark_all(|key| {
            let table = slots.get(Slot::of_key(key));
            table.is_some_and(|t| t.get(&self.hasher, self.hasher.hash(key), key).is_some())
        });
        if let Some(dump) = &mut self.dump {
            dump.freeze(slots);
        }
        self.effects.cleared();
        self.changes += self.counts.keys;
        self.expiries = ExpiryIndex::default();
        self.counts = Counts { expired: self.counts.expired, ..Counts::default() };
    }

    /// Registers a watch on `key` as it is at `now`.
    pub(crate) fn watch(&mut self, id: WatchId, now: UnixMillis, key: &[u8]) {
        let table = self.slots.get(Slot::of_key(key));
        let entry = table.and_then(|t| t.get(&self.hasher, self.hasher.hash(key), key));
        let is_expired = entry.is_some_and(|entry| !is_visible(entry, now));
        let was = if is_expired { KeyAtWatch::Expired } else { KeyAtWatch::Plain };
        self.watches.add(id, now, key, was);
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
            || watch.keys.iter().any(|(key, was)| {
                let table = self.slots.get(Slot::of_key(key));
                let entry = table.and_then(|t| t.get(&self.hasher, self.hasher.hash(key), key));
                *was == KeyAtWatch::Plain && entry.is_some_and(has_expired)
            })
    }

    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Changes since the store was made, one per key and command; who needs a number takes differences.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of the bucket arrays.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.slots.bytes() as u64
    }

    /// Bytes of the index of expiry.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.expiries.bytes() as u64
    }

    /// Bytes that a running dump holds back.
    pub(crate) fn dump_pending_bytes(&self) -> u64 {
        self.dump.as_ref().map_or(0, |dump| dump.pending_bytes() as u64)
    }

    /// Sets or takes the running dump.
    pub(crate) const fn dump_mut(&mut self) -> &mut Option<Box<Dump>> {
        &mut self.dump
    }

    /// The running dump and the tables that it reads.
    pub(crate) const fn dump_and_slots(&mut self) -> (&mut Option<Box<Dump>>, &Slots) {
        (&mut self.dump, &self.slots)
    }

    fn remove_due_at(
        &mut self,
        position: Position,
        at: UnixMillis,
        now: UnixMillis,
        limit: usize,
    ) -> usize {
        let slot = position.slot().expect("INV-K2: the index holds places of this store");
        let table = before_change(&mut self.dump, &mut self.slots, slot);
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
        self.counts.expired += removed as u64;
        self.follow(Position::new(slot, hash), old, new);
        self.effects.notify(EventClass::Hash, FIELDS_EXPIRED, &key);
        if is_empty {
            self.remove_at(slot, bucket, Cause::Expiry);
        } else {
            self.changed(&key, Cause::Expiry);
        }
        removed
    }

    fn remove_at(&mut self, slot: Slot, bucket: usize, cause: Cause) -> Entry {
        let table = before_change(&mut self.dump, &mut self.slots, slot);
        let entry = table.remove(&self.hasher, bucket);
        let position = Position::new(slot, self.hasher.hash(entry.key()));
        self.counts.keys -= 1;
        self.counts.expired += u64::from(cause == Cause::Expiry);
        self.follow(position, Times::of(&entry), Times::NONE);
        self.changed(entry.key(), cause);
        if cause == Cause::Expiry {
            self.effects.notify(EventClass::Expired, "expired", entry.key());
        }
        entry
    }

    fn changed(&mut self, key: &[u8], cause: Cause) {
        self.changes += 1;
        self.watches.mark(key, cause);
        self.effects.touched(key);
    }

    /// Keeps index and counts level with an entry that went from `old` to `new`.
    fn follow(&mut self, position: Position, old: Times, new: Times) {
        self.counts.entry_bytes = self.counts.entry_bytes + new.bytes as u64 - old.bytes as u64;
        if old.key != new.key {
            self.expiries.change(position.0, old.key, new.key);
            self.counts.timed_keys += u64::from(new.key.is_some());
            self.counts.timed_keys -= u64::from(old.key.is_some());
        }
        if old.field != new.field {
            self.expiries.change(position.0, old.field, new.field);
            self.counts.timed_hashes += u64::from(new.field.is_some());
            self.counts.timed_hashes -= u64::from(old.field.is_some());
        }
    }
}

impl Slots {
    fn new() -> Self {
        let pages = usize::from(SLOT_COUNT) / SLOTS_PER_PAGE;
        Self(std::iter::repeat_with(|| None).take(pages).collect())
    }

    /// The slot's table, if it ever held a key.
    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Table> {
        let page = self.0[slot.index() / SLOTS_PER_PAGE].as_ref()?;
        Some(&page[slot.index() % SLOTS_PER_PAGE])
    }

    fn get_mut(&mut self, slot: Slot) -> &mut Table {
        let page = self.0[slot.index() / SLOTS_PER_PAGE].get_or_insert_with(|| {
            std::iter::repeat_with(Table::default).take(SLOTS_PER_PAGE).collect()
        });
        &mut page[slot.index() % SLOTS_PER_PAGE]
    }

    /// The tables that hold keys, from `first` on, in the order of their slots.
    pub(crate) fn iter_from(&self, first: Slot) -> impl Iterator<Item = (Slot, &Table)> {
        let filled = move |page: usize| {
            let tables = self.0[page].as_deref().unwrap_or_default();
            tables.iter().enumerate().map(move |(at, table)| {
                let number = u16::try_from(page * SLOTS_PER_PAGE + at).ok().and_then(Slot::new);
                (number.expect("pages cover the slots and no more"), table)
            })
        };
        (first.index() / SLOTS_PER_PAGE..self.0.len())
            .flat_map(filled)
            .filter(move |(slot, table)| *slot >= first && table.len() > 0)
    }

    fn bytes(&self) -> usize {
        let pages = self.0.iter().flatten();
        pages.map(|p| size_of_val(&**p) + p.iter().map(Table::bytes).sum::<usize>()).sum()
    }
}

/// The table of a slot, for changing; the one place where INV-D1 is kept.
#[inline]
fn before_change<'a>(
    dump: &mut Option<Box<Dump>>,
    slots: &'a mut Slots,
    slot: Slot,
) -> &'a mut Table {
    let table = slots.get_mut(slot);
    if let Some(dump) = dump {
        dump.before_change(slot, table);
    }
    table
}

/// True if a client sees the entry at `now`: neither it nor all of its fields have expired.
#[inline]
pub(crate) fn is_visible(entry: &Entry, now: UnixMillis) -> bool {
    if entry.expiry().is_some_and(|at| at <= now) {
        return false;
    }
    match entry.value() {
        Value::String(_) => true,
        Value::Collection(collection) => !collection.is_empty_at(now),
    }
}
