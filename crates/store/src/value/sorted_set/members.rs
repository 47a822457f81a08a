//! The members of a large sorted set: names and scores under short numbers, found by name.
//! Owns: the numbers (ids), the index from a name to its id. Never: the order by score, see [`order`](super::order).
//!
//! An id stays what it is while the member is there, so that the order may name members by it. Which id a member has
//! depends on history and never shows. The index is an ordered hash table like [`crate::table`], of which it differs
//! in that a bucket holds the upper half of the hash beside the id: growing touches no member.
//!
//! INV-Z3: buckets are sorted by (hash, name), none stands before its home, and none between its home and it is vacant.

use crate::allocation::granted;
use crate::entry::Entry;
use crate::table::Hasher;

/// Members with their scores.
#[derive(Default)]
pub(super) struct Members {
    slots: Vec<Member>,
    free: Vec<u32>,
    /// `tag << 32 | id`; `capacity` homes and a tail for what is pushed past the last of them.
    buckets: Vec<u64>,
    capacity: u32,
    len: u32,
    name_bytes: usize,
}

struct Member {
    /// A string without a value; vacant if the slot is free.
    name: Entry,
    score: f64,
}

/// Where a name is in the index, or where it would be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The bucket that names it, and its id.
    Occupied(usize, u32),
    /// The bucket before which it belongs.
    Vacant(usize),
}

const VACANT: u64 = u64::MAX;
/// Buckets behind the last home. One that is too short costs a reallocation, nothing else.
const TAIL: u32 = 8;

const fn bucket(tag: u32, id: u32) -> u64 {
    (tag as u64) << 32 | id as u64
}

/// The upper half of a hash: what a bucket keeps of it.
pub(super) const fn tag_of(hash: u64) -> u32 {
    (hash >> 32) as u32
}

const fn tag_in(bucket: u64) -> u32 {
    (bucket >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half of a bucket is its id")]
const fn id_in(bucket: u64) -> u32 {
    bucket as u32
}

impl Members {
    /// Number of members.
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    /// True if most slots are free, so that moving the rest together is worth its cost.
    pub(super) const fn is_sparse(&self) -> bool {
        self.slots.len() > 64 && self.len() < self.slots.len() / 4
    }

    /// The name of a member that is there.
    #[inline]
    pub(super) fn name(&self, id: u32) -> &[u8] {
        self.slots[id as usize].name.key()
    }

    /// The score of a member that is there.
    #[inline]
    pub(super) fn score(&self, id: u32) -> f64 {
        self.slots[id as usize].score
    }

    /// Gives a member that is there another score.
    pub(super) fn set_score(&mut self, id: u32, score: f64) {
        self.slots[id as usize].score = score;
    }

    /// Where `name` is or belongs.
    #[inline]
    pub(super) fn find(&self, hasher: &Hasher, hash: u64, name: &[u8]) -> Place {
        let tag = tag_of(hash);
        let mut at = self.home(tag);
        while let Some(&found) = self.buckets.get(at) {
            if found == VACANT || tag_in(found) > tag {
                break;
            }
            if tag_in(found) == tag {
                let other = self.name(id_in(found));
                if other == name {
                    return Place::Occupied(at, id_in(found));
                }
                if (hasher.hash(other), other) > (hash, name) {
                    break;
                }
            }
            at += 1;
        }
        Place::Vacant(at)
    }

    /// Puts in a member that is not there yet, `vacant` being what [`find`](Self::find) said; returns its id.
    pub(super) fn insert(
        &mut self,
        hasher: &Hasher,
        (name, score): (&[u8], f64),
        vacant: usize,
    ) -> u32 {
        let hash = hasher.hash(name);
        let mut at = vacant;
        if self.len >= self.capacity - self.capacity.div_ceil(5) {
            self.resize(self.capacity + (self.capacity / 4).max(8));
            let Place::Vacant(place) = self.find(hasher, hash, name) else {
                unreachable!(
                    "INV-Z3: a name that was not found before a resize is not found after it"
                )
            };
            at = place;
        }
        let id = self.take_slot(Member { name: Entry::string(name, b"", None), score });
        let free = (at..self.buckets.len()).find(|&i| self.buckets[i] == VACANT);
        let new = bucket(tag_of(hash), id);
        match free {
            Some(free) => {
                self.buckets.copy_within(at..free, at + 1);
                self.buckets[at] = new;
            }
            None => self.buckets.insert(at, new),
        }
        self.len += 1;
        id
    }

    /// Takes out the member that an occupied bucket names.
    pub(super) fn remove(&mut self, at: usize) {
        let id = id_in(self.buckets[at]);
        let mut end = at + 1;
        while let Some(&next) = self.buckets.get(end)
            && next != VACANT
            && self.home(tag_in(next)) < end
        {
            end += 1;
        }
        self.buckets.copy_within(at + 1..end, at);
        self.buckets[end - 1] = VACANT;
        let name = self.slots[id as usize].name.take();
        self.name_bytes -= name.bytes();
        self.free.push(id);
        self.len -= 1;
    }

    /// The ids from the first whose hash begins with `tag` on, in the order of the hashes, each with its tag.
    pub(super) fn ids_from(&self, tag: u32) -> impl Iterator<Item = (u32, u32)> {
        let home = self.home(tag).min(self.buckets.len());
        self.buckets[home..]
            .iter()
            .filter(move |bucket| **bucket != VACANT && tag_in(**bucket) >= tag)
            .map(|bucket| (tag_in(*bucket), id_in(*bucket)))
    }

    /// Makes room for `count` members in all.
    pub(super) fn reserve(&mut self, count: u32) {
        self.slots.reserve_exact((count as usize).saturating_sub(self.slots.len()));
        if self.capacity - self.capacity.div_ceil(5) < count {
            self.resize(count.saturating_add(count / 4 + 2));
        }
    }

    /// Bytes of memory behind it; O(1).
    pub(super) const fn bytes(&self) -> usize {
        let slots = granted(self.slots.capacity() * size_of::<Member>());
        let buckets = granted(self.buckets.capacity() * size_of::<u64>());
        slots + buckets + self.free.capacity() * size_of::<u32>() + self.name_bytes
    }

    /// Bytes of the names, as their allocations are asked for.
    pub(super) const fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    fn take_slot(&mut self, member: Member) -> u32 {
        self.name_bytes += member.name.bytes();
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = member;
            return id;
        }
        if self.slots.len() == self.slots.capacity() {
            // A quarter, not half more: what stands empty is memory, too.
            self.slots.reserve_exact(self.slots.len() / 4 + 8);
        }
        let id =
            u32::try_from(self.slots.len()).expect("2^32 members need more than a node's memory");
        self.slots.push(member);
        id
    }

    #[inline]
    const fn home(&self, tag: u32) -> usize {
        ((tag as u64 * self.capacity as u64) >> 32) as usize
    }

    /// Moves every bucket, in order, to a new array.
    fn resize(&mut self, capacity: u32) {
        let old = std::mem::take(&mut self.buckets);
        self.capacity = capacity;
        let room = (capacity + TAIL) as usize;
        let mut buckets = Vec::with_capacity(room);
        for bucket in old.into_iter().filter(|bucket| *bucket != VACANT) {
            let home = self.home(tag_in(bucket));
            while buckets.len() < home {
                buckets.push(VACANT);
            }
            buckets.push(bucket);
        }
        buckets.resize(room.max(buckets.len()), VACANT);
        self.buckets = buckets;
    }

    /// Checks INV-Z3 over the whole index.
    #[cfg(test)]
    pub(super) fn check(&self, hasher: &Hasher) {
        let mut last: Option<(u64, &[u8])> = None;
        for (at, found) in self.buckets.iter().enumerate().filter(|(_, found)| **found != VACANT) {
            let name = self.name(id_in(*found));
            let hash = hasher.hash(name);
            assert_eq!(tag_in(*found), tag_of(hash));
            assert!(last < Some((hash, name)), "INV-Z3: order");
            last = Some((hash, name));
            let home = self.home(tag_of(hash));
            assert!(home <= at, "INV-Z3: before its home");
            assert!(self.buckets[home..at].iter().all(|b| *b != VACANT), "INV-Z3: gap");
        }
        assert_eq!(self.buckets.iter().filter(|b| **b != VACANT).count(), self.len());
    }
}
