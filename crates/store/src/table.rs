//! A hash table whose entries stand in the order of their hashes: ordered linear probing
//! (Amble and Knuth, "Ordered hash tables", 1974).
//! Owns: where an entry stands, growth and shrinking. Never: expiry, slots, what a value means.
//! Used for the keys of a slot (`keyspace.rs`) and for the fields of a hash (`value/hash.rs`).
//!
//! The home of a key is `hash * capacity / 2^64`, which grows with the hash, so the whole array is
//! sorted by hash whatever its capacity. A cursor that is a hash therefore stays good across any
//! resize, and across a failover, since every replica hashes with the same seed.
//!
//! INV-T1: entries are sorted by (hash, key), vacant buckets between them.
//! INV-T2: no entry stands before its home, and no bucket from its home up to it is vacant.
//! INV-T3: home and order depend on the keys and the capacity alone, never on insertion order.
//!
//! Hashing is rapidhash under a secret seed that the cluster draws when it is founded. It is not
//! a cryptographic hash: an attacker who does not know the seed cannot choose colliding keys in
//! advance; one who can measure timings for long might learn some. The worst that collisions
//! cost is a long probe within one slot, never a wrong answer.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

use crate::allocation::granted;
use crate::entry::Entry;

/// Hashes keys with the cluster's secret seed.
#[derive(Clone)]
pub(crate) struct Hasher(RapidSecrets);

impl Hasher {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(RapidSecrets::seed(seed))
    }

    #[inline]
    pub(crate) const fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_seeded(key, &self.0)
    }
}

/// Entries in the order of their hashes.
#[derive(Default)]
pub(crate) struct Table {
    /// `capacity` homes and a tail for what is pushed past the last of them.
    buckets: Vec<Entry>,
    capacity: u32,
    len: u32,
}

/// Where a key is, or where it would be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The bucket that holds the key.
    Occupied(usize),
    /// The bucket before which the key belongs.
    Vacant(usize),
}

/// Homes of tables up to this size follow from the tag alone, so they grow without touching entries.
const TAG_HOMES_MAX: u32 = 4096;

impl Table {
    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Where `key` is or belongs.
    #[inline]
    pub(crate) fn find(&self, hasher: &Hasher, hash: u64, key: &[u8]) -> Place {
        let tag = tag_of(hash);
        let mut at = self.home(hash);
        while let Some(entry) = self.buckets.get(at) {
            if entry.is_vacant() || entry.tag() > tag {
                break;
            }
            if entry.tag() == tag {
                let other = entry.key();
                if other == key {
                    return Place::Occupied(at);
                }
                if (hasher.hash(other), other) > (hash, key) {
                    break;
                }
            }
            at += 1;
        }
        Place::Vacant(at)
    }

    /// The entry of `key`.
    #[inline]
    pub(crate) fn get(&self, hasher: &Hasher, hash: u64, key: &[u8]) -> Option<&Entry> {
        match self.find(hasher, hash, key) {
            Place::Occupied(at) => Some(&self.buckets[at]),
            Place::Vacant(_) => None,
        }
    }

    /// The entry in an occupied bucket.
    pub(crate) fn at(&self, bucket: usize) -> &Entry {
        &self.buckets[bucket]
    }

    /// The entry in an occupied bucket, for changing anything but its key.
    pub(crate) fn at_mut(&mut self, bucket: usize) -> &mut Entry {
        &mut self.buckets[bucket]
    }

    /// Puts in an entry whose key is not there yet; `vacant` is what [`find`](Self::find) said.
    pub(crate) fn insert(&mut self, hasher: &Hasher, hash: u64, mut entry: Entry, vacant: usize) {
        let mut at = vacant;
        if self.len >= load_max(self.capacity) {
            self.resize(hasher, grown(self.capacity));
            match self.find(hasher, hash, entry.key()) {
                Place::Vacant(place) => at = place,
                Place::Occupied(place) => panic!("INV-T1: key inserted twice, bucket {place}"),
            }
        }
        entry.set_tag(tag_of(hash));
        let free = (at..self.buckets.len()).find(|&i| self.buckets[i].is_vacant());
        match free {
            Some(free) => {
                self.buckets[at..=free].rotate_right(1);
                self.buckets[at] = entry;
            }
            None => {
                self.buckets.reserve_exact(1);
                self.buckets.insert(at, entry);
            }
        }
        self.len += 1;
    }

    /// Takes out the entry in an occupied bucket and closes the gap.
    pub(crate) fn remove(&mut self, hasher: &Hasher, bucket: usize) -> Entry {
        let entry = self.buckets[bucket].take();
        let mut end = bucket + 1;
        while let Some(next) = self.buckets.get(end)
            && !next.is_vacant()
            && self.home_of(hasher, next) < end
        {
            end += 1;
        }
        self.buckets[bucket..end].rotate_left(1);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if self.capacity > 16 && self.len < self.capacity / 4 {
            self.resize(hasher, self.len + self.len / 2 + 1);
        }
        entry
    }

    /// The entries in the order of their hashes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().filter(|entry| !entry.is_vacant())
    }

    /// All buckets, vacant ones included.
    pub(crate) fn buckets(&self) -> &[Entry] {
        &self.buckets
    }

    /// The entries whose hash is at least `hash`, in order.
    pub(crate) fn iter_from<'a>(
        &'a self,
        hasher: &'a Hasher,
        hash: u64,
    ) -> impl Iterator<Item = &'a Entry> {
        let home = self.home(hash).min(self.buckets.len());
        self.buckets[home..]
            .iter()
            .filter(|entry| !entry.is_vacant())
            .skip_while(move |entry| hasher.hash(entry.key()) < hash)
    }

    /// Makes room for `count` entries in all, so that loading them in order moves nothing.
    pub(crate) fn reserve(&mut self, hasher: &Hasher, count: u32) {
        if load_max(self.capacity) < count {
            self.resize(hasher, count + count / 4 + 2);
        }
    }

    /// Bytes of the bucket array.
    pub(crate) const fn bytes(&self) -> usize {
        if self.capacity == 0 { 0 } else { granted(self.buckets.capacity() * size_of::<Entry>()) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the home is below the capacity, a u32")]
    #[inline]
    fn home(&self, hash: u64) -> usize {
        if self.capacity <= TAG_HOMES_MAX {
            ((u64::from(tag_of(hash)) * u64::from(self.capacity)) >> 16) as usize
        } else {
            ((u128::from(hash) * u128::from(self.capacity)) >> 64) as usize
        }
    }

    fn home_of(&self, hasher: &Hasher, entry: &Entry) -> usize {
        if self.capacity <= TAG_HOMES_MAX {
            ((u64::from(entry.tag()) * u64::from(self.capacity)) >> 16) as usize
        } else {
            self.home(hasher.hash(entry.key()))
        }
    }

    /// Moves every entry, in order, to a new array.
    fn resize(&mut self, hasher: &Hasher, capacity: u32) {
        let old = std::mem::take(&mut self.buckets);
        let capacity = capacity.max(4);
        let tail = tail(capacity);
        // What the allocator would round up to anyway is used.
        let room = granted((capacity as usize + tail) * size_of::<Entry>()) / size_of::<Entry>();
        self.capacity = u32::try_from(room - tail).unwrap_or(capacity);
        let mut buckets = Vec::with_capacity(room);
        for entry in old {
            if entry.is_vacant() {
                continue;
            }
            let home = self.home_of(hasher, &entry);
            while buckets.len() < home {
                buckets.push(Entry::vacant());
            }
            buckets.push(entry);
        }
        buckets.resize_with(room.max(buckets.len()), Entry::vacant);
        self.buckets = buckets;
    }

    /// Checks INV-T1 and INV-T2 over the whole table.
    #[cfg(test)]
    fn check(&self, hasher: &Hasher) {
        let mut last: Option<(u64, &[u8])> = None;
        for (at, entry) in self.buckets.iter().enumerate().filter(|(_, e)| !e.is_vacant()) {
            let hash = hasher.hash(entry.key());
            assert_eq!(entry.tag(), tag_of(hash));
            assert!(last < Some((hash, entry.key())), "INV-T1");
            last = Some((hash, entry.key()));
            let home = self.home(hash);
            assert!(home <= at, "INV-T2: before its home");
            assert!(self.buckets[home..at].iter().all(|e| !e.is_vacant()), "INV-T2: gap");
        }
        assert_eq!(self.iter().count(), self.len());
    }
}

#[inline]
const fn tag_of(hash: u64) -> u16 {
    (hash >> 48) as u16
}

/// Entries that a table of this capacity may hold before it grows: four fifths.
const fn load_max(capacity: u32) -> u32 {
    capacity - capacity.div_ceil(5)
}

/// The next capacity: half more while small, then the next that is an allocator's size, a fifth more on the average,
/// so that little stands empty.
const fn grown(capacity: u32) -> u32 {
    let next = capacity + if capacity < 64 { capacity / 2 } else { 1 };
    if next < 4 { 4 } else { next }
}

/// Buckets behind the last home. One that is too short costs a reallocation, nothing else.
const fn tail(capacity: u32) -> usize {
    if capacity < 16 { 2 } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn insert(table: &mut Table, hasher: &Hasher, key: &[u8]) {
        let hash = hasher.hash(key);
        match table.find(hasher, hash, key) {
            Place::Vacant(at) => table.insert(hasher, hash, Entry::string(key, b"v", None), at),
            Place::Occupied(_) => panic!("key is there already"),
        }
    }

    /// INV-T3.
    #[test]
    fn places_do_not_depend_on_the_order_of_insertion() {
        let hasher = Hasher::new(9);
        let (mut forth, mut back) = (Table::default(), Table::default());
        for number in 0..1000u32 {
            insert(&mut forth, &hasher, &number.to_le_bytes());
            insert(&mut back, &hasher, &(999 - number).to_le_bytes());
        }
        let places = |table: &Table| -> Vec<Option<Vec<u8>>> {
            let key = |entry: &Entry| (!entry.is_vacant()).then(|| entry.key().to_vec());
            table.buckets.iter().map(key).collect()
        };
        let (forth, back) = (places(&forth), places(&back));
        let length = forth.len().min(back.len());
        assert_eq!(forth[..length], back[..length]);
        assert!(forth[length..].iter().chain(&back[length..]).all(Option::is_none));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// INV-T1 and INV-T2.
        #[test]
        fn a_table_equals_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..300), 1..600)) {
            let hasher = Hasher::new(1);
            let (mut table, mut model) = (Table::default(), BTreeSet::new());
            for (add, number) in steps {
                let key = number.to_le_bytes();
                let hash = hasher.hash(&key);
                match table.find(&hasher, hash, &key) {
                    Place::Occupied(at) => {
                        prop_assert!(model.contains(&key));
                        if !add { table.remove(&hasher, at); model.remove(&key); }
                    }
                    Place::Vacant(at) => {
                        prop_assert!(!model.contains(&key));
                        if add {
                            table.insert(&hasher, hash, Entry::string(&key, b"", None), at);
                            model.insert(key);
                        }
                    }
                }
            }
            table.check(&hasher);
            prop_assert_eq!(table.len(), model.len());
            for key in &model {
                prop_assert!(table.get(&hasher, hasher.hash(key), key).is_some());
            }
        }
    }

    #[test]
    fn large_tables_keep_their_order_and_their_load() {
        let hasher = Hasher::new(7);
        let mut table = Table::default();
        for number in 0..20_000u32 {
            insert(&mut table, &hasher, &number.to_le_bytes());
        }
        table.check(&hasher);
        assert!(
            table.bytes() / table.len() <= 13,
            "{} bytes per entry",
            table.bytes() / table.len()
        );
        for number in 0..19_990u32 {
            let key = number.to_le_bytes();
            let Place::Occupied(at) = table.find(&hasher, hasher.hash(&key), &key) else {
                panic!("lost {number}")
            };
            table.remove(&hasher, at);
        }
        table.check(&hasher);
        assert!(table.bytes() < 1000, "{} bytes for 10 entries", table.bytes());
    }

    #[test]
    fn a_cursor_meets_every_entry_that_stays_across_resizes() {
        let hasher = Hasher::new(3);
        let mut table = Table::default();
        for number in 0..500u32 {
            insert(&mut table, &hasher, &number.to_le_bytes());
        }
        let (mut seen, mut cursor) = (BTreeSet::new(), 0);
        for round in 0.. {
            let mut batch = table.iter_from(&hasher, cursor);
            seen.extend(batch.by_ref().take(10).map(|e| e.key().to_vec()));
            let Some(next) = batch.next() else { break };
            cursor = hasher.hash(next.key());
            drop(batch);
            for extra in 0..50u32 {
                insert(&mut table, &hasher, &(1000 + round * 50 + extra).to_le_bytes());
            }
        }
        assert!((0..500u32).all(|n| seen.contains(&n.to_le_bytes()[..])));
    }
}
