//! What expires when, in order.
//! Owns: the ordered index of times to expire. Never: removes a key or a field itself, reads a clock.
//! Used once per store for keys (`keyspace.rs`) and once per large hash for fields (`value/hash.rs`).
//!
//! An item names its owner by a number derived from the hash, not by a copy of the key. Two owners
//! may share time and number (a collision of hashes), so items are counted.
//!
//! INV-X1: the index holds one count for every entry with a time to expire, and nothing else.

use std::collections::BTreeMap;

use keystead_types::UnixMillis;

/// Times to expire in order, with the number of the owner.
#[derive(Default)]
pub(crate) struct ExpiryIndex(BTreeMap<(UnixMillis, u64), u32>);

impl ExpiryIndex {
    /// The earliest time and its owner.
    pub(crate) fn first(&self) -> Option<(UnixMillis, u64)> {
        self.0.first_key_value().map(|(item, _)| *item)
    }

    /// All items in order; those of owners that share time and number once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (UnixMillis, u64)> {
        self.0.keys().copied()
    }

    /// Follows a change of one owner's time.
    pub(crate) fn change(&mut self, owner: u64, old: Option<UnixMillis>, new: Option<UnixMillis>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            let count =
                self.0.get_mut(&(at, owner)).expect("INV-X1: a timed entry is in the index");
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(at, owner));
            }
        }
        if let Some(at) = new {
            *self.0.entry((at, owner)).or_insert(0) += 1;
        }
    }

    /// Approximate bytes: an item costs 20 bytes, and B-tree nodes stand two thirds full.
    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * 32
    }
}
