//! One numbered database: the keys that SELECT leads to, and what is kept level with them.
//! Owns: the tables of its slots, its index of expiry, its counts, its part of a running dump.
//! Never: watches, effects, other databases (`keyspace.rs`). Called by `keyspace.rs` to change,
//! by readers to look.
//!
//! INV-D1: a slot is changed only after a running dump has written it (see `snapshot.rs`).

use keystead_types::{DatabaseId, SLOT_COUNT, Slot, UnixMillis};

use crate::entry::{Entry, Value};
use crate::expiry::ExpiryIndex;
use crate::snapshot::Dump;
use crate::table::{Hasher, Table};
use crate::value::Collection;

const SLOTS_PER_PAGE: usize = 256;
const PAGES: usize = SLOT_COUNT as usize / SLOTS_PER_PAGE;

/// The keys of one database.
#[derive(Default)]
pub(crate) struct Database {
    pub(crate) slots: Slots,
    pub(crate) expiries: ExpiryIndex,
    pub(crate) dump: Option<Box<Dump>>,
    pub(crate) counts: Counts,
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
}

/// The tables of all slots, made in pages: a shard's slots are neighbours. Nothing is made before the first key.
#[derive(Default)]
pub(crate) struct Slots(Vec<Option<Box<[Table]>>>);

/// A key's place among the keys of its database: `slot << 48 | upper 48 bits of the hash`. It is also the SCAN cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) u64);

/// The times at which an entry asks to be looked at.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) key: Option<UnixMillis>,
    pub(crate) field: Option<UnixMillis>,
    bytes: usize,
}

impl Database {
    /// What lies under `key`, expired or not.
    #[inline]
    pub(crate) fn entry(&self, hasher: &Hasher, slot: Slot, key: &[u8]) -> Option<&Entry> {
        self.slots.get(slot)?.get(hasher, hasher.hash(key), key)
    }

    /// The entry that is visible under `key` at `now`.
    #[inline]
    pub(crate) fn visible(
        &self,
        hasher: &Hasher,
        (slot, key): (Slot, &[u8]),
        now: UnixMillis,
    ) -> Option<&Entry> {
        self.entry(hasher, slot, key).filter(|entry| is_visible(entry, now))
    }

    /// The table of a slot, for changing; the one place where INV-D1 is kept.
    #[inline]
    pub(crate) fn table_mut(&mut self, slot: Slot) -> &mut Table {
        let table = self.slots.get_mut(slot);
        if let Some(dump) = &mut self.dump {
            dump.before_change(slot, table);
        }
        table
    }

    /// Takes all keys out. A running dump goes on with them as they were.
    pub(crate) fn clear(&mut self) -> Slots {
        let slots = std::mem::take(&mut self.slots);
        self.expiries = ExpiryIndex::default();
        self.counts = Counts::default();
        slots
    }

    /// When the part of a running dump goes out: parts in their order, before databases that have none.
    pub(crate) fn dump_order(&self) -> (bool, Option<DatabaseId>) {
        (self.dump.is_none(), self.dump.as_ref().map(|dump| dump.database))
    }

    /// Keeps index and counts level with an entry that went from `old` to `new`.
    pub(crate) fn follow(&mut self, position: Position, old: Times, new: Times) {
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

impl Counts {
    /// The counts of two databases together.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            timed_keys: self.timed_keys + other.timed_keys,
            timed_hashes: self.timed_hashes + other.timed_hashes,
            entry_bytes: self.entry_bytes + other.entry_bytes,
        }
    }
}

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

impl Times {
    pub(crate) const NONE: Self = Self { key: None, field: None, bytes: 0 };

    pub(crate) fn of(entry: &Entry) -> Self {
        let field = entry.as_collection().and_then(Collection::next_expiry);
        Self { key: entry.expiry(), field, bytes: entry.bytes() }
    }
}

impl Slots {
    /// The slot's table, if it ever held a key.
    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Table> {
        let page = self.0.get(slot.index() / SLOTS_PER_PAGE)?.as_ref()?;
        Some(&page[slot.index() % SLOTS_PER_PAGE])
    }

    #[inline]
    fn get_mut(&mut self, slot: Slot) -> &mut Table {
        let at = slot.index() / SLOTS_PER_PAGE;
        if at >= self.0.len() {
            self.make_pages();
        }
        let page = self.0[at].get_or_insert_with(|| {
            std::iter::repeat_with(Table::default).take(SLOTS_PER_PAGE).collect()
        });
        &mut page[slot.index() % SLOTS_PER_PAGE]
    }

    #[cold]
    fn make_pages(&mut self) {
        self.0 = std::iter::repeat_with(|| None).take(PAGES).collect();
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

    pub(crate) fn bytes(&self) -> usize {
        let pages = self.0.iter().flatten();
        pages.map(|p| size_of_val(&**p) + p.iter().map(Table::bytes).sum::<usize>()).sum()
    }
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
