//! Walking over the keys of a database: SCAN, KEYS, RANDOMKEY, and glob patterns.
//! Owns: the cursor and its guarantee. Never: parses a command.
//!
//! A cursor is a place in the order of (slot, hash): `slot << 48 | upper 48 bits of the hash`. The next
//! step begins at the first key whose place is at least the cursor. A step never ends between two keys of
//! the same place.
//!
//! INV-S1: a key that stays throughout is met, whatever resizes, removals and failovers come between steps.

use keystead_types::{Slot, UnixMillis};

use crate::database::{Database, Position, is_visible};
use crate::entry::{Entry, Value};
use crate::table::{Hasher, Table};

mod glob;

pub use glob::glob_matches;

/// Where a step of SCAN begins. 0 is the beginning of the first slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanCursor(pub u64);

impl ScanCursor {
    /// The beginning of a slot.
    #[must_use]
    pub const fn start_of(slot: Slot) -> Self {
        Self(Position::new(slot, 0).0)
    }

    /// The slot that the cursor is in, hence the shard to ask; `None` if the number is no cursor.
    #[must_use]
    pub fn slot(self) -> Option<Slot> {
        Position(self.0).slot()
    }
}

/// What a step of SCAN looks for.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions<'a> {
    /// Glob pattern that keys must match.
    pub pattern: Option<&'a [u8]>,
    /// Keys to look at in this step (COUNT); at least 1.
    pub count: usize,
    /// The type that values must have, lower case as TYPE answers.
    pub kind: Option<&'a [u8]>,
}

impl Default for ScanOptions<'_> {
    fn default() -> Self {
        Self { pattern: None, count: 10, kind: None }
    }
}

/// The name that TYPE gives a value.
pub(crate) fn type_name(entry: &Entry) -> &'static str {
    match entry.value() {
        Value::String(_) => "string",
        Value::Collection(collection) => collection.type_name(),
    }
}

pub(crate) fn scan_keys(
    (database, hasher): (&Database, &Hasher),
    now: UnixMillis,
    cursor: ScanCursor,
    options: &ScanOptions<'_>,
    mut visit: impl FnMut(&[u8]),
) -> Option<ScanCursor> {
    let from = Position(cursor.0);
    let first = from.slot()?;
    let mut looked_at = 0;
    let mut last = None;
    for (slot, table) in database.slots.iter_from(first) {
        let hash = if slot == first { from.hash() } else { 0 };
        for entry in table.iter_from(hasher, hash) {
            let position = Position::new(slot, hasher.hash(entry.key()));
            if looked_at >= options.count && last != Some(position) {
                return Some(ScanCursor(position.0));
            }
            looked_at += 1;
            last = Some(position);
            if is_visible(entry, now) && is_wanted(entry, options) {
                visit(entry.key());
            }
        }
    }
    None
}

pub(crate) fn matching_keys(
    database: &Database,
    now: UnixMillis,
    pattern: &[u8],
    mut visit: impl FnMut(&[u8]),
) {
    let entries = database.slots.iter_from(Slot::default()).flat_map(|(_, table)| table.iter());
    for entry in entries {
        if (pattern == b"*" || glob_matches(pattern, entry.key())) && is_visible(entry, now) {
            visit(entry.key());
        }
    }
}

pub(crate) fn random_key(database: &Database, now: UnixMillis, chance: u64) -> Option<&[u8]> {
    let keys = database.counts.keys;
    if keys == 0 {
        return None;
    }
    let mut skip = usize::try_from((u128::from(chance) * u128::from(keys)) >> 64)
        .expect("a fraction of the number of keys is a usize");
    let mut start = None;
    for (slot, table) in database.slots.iter_from(Slot::default()) {
        if skip < table.len() {
            start = Some((slot, table));
            break;
        }
        skip -= table.len();
    }
    let (slot, table) = start?;
    let behind = database.slots.iter_from(slot).skip(1).flat_map(|(_, table)| table.iter());
    let before =
        database.slots.iter_from(Slot::default()).flat_map(|(_, table): (_, &Table)| table.iter());
    table
        .iter()
        .skip(skip)
        .chain(behind)
        .chain(before)
        .find(|entry| is_visible(entry, now))
        .map(Entry::key)
}

fn is_wanted(entry: &Entry, options: &ScanOptions<'_>) -> bool {
    options.pattern.is_none_or(|pattern| pattern == b"*" || glob_matches(pattern, entry.key()))
        && options.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(type_name(entry).as_bytes()))
}
