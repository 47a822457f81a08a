//! A sorted set: members, each with a score, in the order of scores and, where these are equal, of names.
//! Owns: the two representations and the switch between them. Never: the key's own expiry, replies, ranges as clients
//! write them (`command/sorted_set/bound.rs`).
//!
//! Small sets are packed ([`packed`]). One with more than [`PACKED_MEMBERS_MAX`] members, or with a name longer than
//! [`PACKED_BYTES_MAX`], becomes a pair of an index of names ([`members`]) and a tree that counts ([`order`]), and stays
//! one, as in Redis, since OBJECT ENCODING shows it.
//!
//! Whatever asks for a range asks for ranks: [`SortedSet::rank_by_score`] and [`SortedSet::rank_by_name`] turn a bound
//! into one, [`SortedSet::walk`] goes over members between two, [`SortedSet::remove_ranks`] takes them out.
//!
//! INV-Z5: no score is NaN, and both parts of a large set hold the same members with the same scores.

use std::ops::Range;

use crate::table::Hasher;
use crate::value::Kind;

mod members;
mod order;
mod packed;
#[cfg(test)]
mod tests;
mod walk;

use members::{Members, Place};
use order::{Item, Key, Order};
use packed::Packed;
pub(crate) use walk::{Direction, Walk};

/// Most members of a packed set (as `zset-max-listpack-entries` of Redis).
pub(crate) const PACKED_MEMBERS_MAX: usize = 128;
/// Longest name in a packed set, bytes (as `zset-max-listpack-value` of Redis).
pub(crate) const PACKED_BYTES_MAX: usize = 64;

/// Forms of [`Kind::form`].
const PACKED: u8 = 0;
const LARGE: u8 = 1;

/// Members in the order of their scores.
pub(crate) struct SortedSet(Form);

enum Form {
    Packed(Packed),
    Large(Box<Large>),
}

struct Large {
    members: Members,
    order: Order,
}

/// What [`SortedSet::update`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Updated {
    /// The member is new.
    Added,
    /// It has another score.
    Moved,
    /// Nothing changed.
    Kept,
}

impl SortedSet {
    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.len(),
            Form::Large(large) => large.members.len(),
        }
    }

    /// True while the members stand packed.
    pub(crate) const fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// The member's score.
    pub(crate) fn score(&self, hasher: &Hasher, name: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Packed(packed) => packed.find(name).map(|item| item.score),
            Form::Large(large) => match large.members.find(hasher, hasher.hash(name), name) {
                Place::Occupied(_, id) => Some(large.members.score(id)),
                Place::Vacant(_) => None,
            },
        }
    }

    /// The number of members before this one, and its score.
    pub(crate) fn rank(&self, hasher: &Hasher, name: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Packed(packed) => {
                let (rank, item) = packed.iter().enumerate().find(|(_, item)| item.name == name)?;
                Some((rank, item.score))
            }
            Form::Large(large) => {
                let score = self.score(hasher, name)?;
                let is_before = |item: Item| {
                    item.score < score
                        || (item.score == score && large.members.name(item.id) < name)
                };
                Some((large.order.rank_where(is_before), score))
            }
        }
    }

    /// The number of members whose scores `is_before` holds for, if it does for none behind one for which it does not.
    pub(crate) fn rank_by_score(&self, is_before: impl Fn(f64) -> bool) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.iter().take_while(|item| is_before(item.score)).count(),
            Form::Large(large) => large.order.rank_where(|item| is_before(item.score)),
        }
    }

    /// The same by names. It makes sense if all scores are equal.
    pub(crate) fn rank_by_name(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.iter().take_while(|item| is_before(item.name)).count(),
            Form::Large(large) => {
                large.order.rank_where(|item| is_before(large.members.name(item.id)))
            }
        }
    }

    /// The members of these ranks, as far as there are any.
    pub(crate) fn walk(&self, ranks: Range<usize>, direction: Direction) -> Walk<'_> {
        let end = ranks.end.min(self.len());
        Walk::new(self, ranks.start.min(end)..end, direction)
    }

    /// All members in order.
    pub(crate) fn iter(&self) -> Walk<'_> {
        self.walk(0..self.len(), Direction::Up)
    }

    /// Asks `decide` for the score of a member, which is told its present one; `None` leaves things as they are.
    /// The member is looked for once.
    pub(crate) fn update(
        &mut self,
        hasher: &Hasher,
        name: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        match &mut self.0 {
            Form::Packed(packed) => {
                let old = packed.find(name).map(|item| (item.score, item.start..item.end));
                let Some(score) = decide(old.as_ref().map(|(score, _)| *score)) else {
                    return Updated::Kept;
                };
                assert!(!score.is_nan(), "INV-Z5: a score is a number");
                if let Some((was, range)) = old {
                    if was == score {
                        return Updated::Kept;
                    }
                    packed.remove(range, 1);
                    packed.insert(name, score);
                    return Updated::Moved;
                }
                if packed.len() < PACKED_MEMBERS_MAX && name.len() <= PACKED_BYTES_MAX {
                    packed.insert(name, score);
                } else {
                    self.unpack(hasher).update(hasher, name, |_| Some(score));
                }
                Updated::Added
            }
            Form::Large(large) => large.update(hasher, name, decide),
        }
    }

    /// Sets a member's score; true if it was not there.
    pub(crate) fn set(&mut self, hasher: &Hasher, name: &[u8], score: f64) -> bool {
        self.update(hasher, name, |_| Some(score)) == Updated::Added
    }

    /// Removes a member; true if it was there.
    pub(crate) fn remove(&mut self, hasher: &Hasher, name: &[u8]) -> bool {
        match &mut self.0 {
            Form::Packed(packed) => {
                let Some(range) = packed.find(name).map(|item| item.start..item.end) else {
                    return false;
                };
                packed.remove(range, 1);
                true
            }
            Form::Large(large) => large.remove(hasher, name),
        }
    }

    /// Removes the members of these ranks, as far as there are any; returns how many.
    pub(crate) fn remove_ranks(&mut self, hasher: &Hasher, ranks: Range<usize>) -> usize {
        let end = ranks.end.min(self.len());
        let ranks = ranks.start.min(end)..end;
        match &mut self.0 {
            Form::Packed(packed) => packed.remove(packed.bytes_of(&ranks), ranks.len()),
            Form::Large(large) => large.remove_ranks(hasher, ranks.clone()),
        }
        ranks.len()
    }

    /// The members of a large set whose hashes' upper halves are at least `place`, in the order of these, each with it;
    /// `None` if the set is packed.
    pub(crate) fn iter_from(&self, place: u32) -> Option<impl Iterator<Item = (u32, &[u8], f64)>> {
        match &self.0 {
            Form::Packed(_) => None,
            Form::Large(large) => Some(
                large
                    .members
                    .ids_from(place)
                    .map(|(place, id)| (place, large.members.name(id), large.members.score(id))),
            ),
        }
    }

    /// A set of these members, in the form that fits them.
    pub(crate) fn collect<'a>(
        hasher: &Hasher,
        members: impl ExactSizeIterator<Item = (&'a [u8], f64)>,
    ) -> Self {
        let mut set = Self::new();
        if members.len() > PACKED_MEMBERS_MAX {
            set.unpack(hasher);
        }
        for (name, score) in members {
            set.set(hasher, name, score);
        }
        set
    }

    /// Turns a packed set into a large one.
    fn unpack(&mut self, hasher: &Hasher) -> &mut Large {
        if let Form::Packed(packed) = &self.0 {
            let mut large = Box::new(Large::new());
            for item in packed.iter() {
                large.update(hasher, item.name, |_| Some(item.score));
            }
            self.0 = Form::Large(large);
        }
        match &mut self.0 {
            Form::Large(large) => large,
            Form::Packed(_) => unreachable!("it was made large above"),
        }
    }
}

impl Large {
    fn new() -> Self {
        Self { members: Members::default(), order: Order::new() }
    }

    fn update(
        &mut self,
        hasher: &Hasher,
        name: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Updated {
        match self.members.find(hasher, hasher.hash(name), name) {
            Place::Occupied(_, id) => {
                let was = self.members.score(id);
                let Some(score) = decide(Some(was)).filter(|score| *score != was) else {
                    return Updated::Kept;
                };
                assert!(!score.is_nan(), "INV-Z5: a score is a number");
                let removed = self.order.remove(&self.members, Key { score: was, name });
                assert_eq!(
                    removed.map(|item| item.id),
                    Some(id),
                    "INV-Z5: who has a score has a place"
                );
                self.members.set_score(id, score);
                self.order.insert(&self.members, Item { score, id });
                Updated::Moved
            }
            Place::Vacant(at) => {
                let Some(score) = decide(None) else { return Updated::Kept };
                assert!(!score.is_nan(), "INV-Z5: a score is a number");
                let id = self.members.insert(hasher, (name, score), at);
                self.order.insert(&self.members, Item { score, id });
                Updated::Added
            }
        }
    }

    fn remove(&mut self, hasher: &Hasher, name: &[u8]) -> bool {
        let Place::Occupied(at, id) = self.members.find(hasher, hasher.hash(name), name) else {
            return false;
        };
        let score = self.members.score(id);
        let removed = self.order.remove(&self.members, Key { score, name });
        assert_eq!(removed.map(|item| item.id), Some(id), "INV-Z5: who has a score has a place");
        self.members.remove(at);
        self.compact(hasher);
        true
    }

    fn remove_ranks(&mut self, hasher: &Hasher, ranks: Range<usize>) {
        for _ in ranks.clone() {
            let item = self.order.remove_at(ranks.start).expect("ranks are below the length");
            let name = self.members.name(item.id);
            let Place::Occupied(at, _) = self.members.find(hasher, hasher.hash(name), name) else {
                unreachable!("INV-Z5: who has a place has a name")
            };
            self.members.remove(at);
        }
        self.compact(hasher);
    }

    /// Moves what is left together once most of it is gone: O(1) per removal, counted over all.
    fn compact(&mut self, hasher: &Hasher) {
        if !self.members.is_sparse() {
            return;
        }
        let mut dense = Self::new();
        dense.members.reserve(u32::try_from(self.members.len()).unwrap_or(0));
        let mut rank = 0;
        while rank < self.members.len() {
            let (leaf, _) = self.order.leaf_at(rank);
            for at in 0..leaf.len() {
                let item = leaf.item(at);
                dense.update(hasher, self.members.name(item.id), |_| Some(item.score));
            }
            rank += leaf.len();
        }
        *self = dense;
    }
}

impl Kind for SortedSet {
    const NAME: &'static str = "zset";
    const CODE: u8 = b'Z';
    /// The order follows from the parts.
    const IS_ORDERED: bool = false;

    fn new() -> Self {
        Self(Form::Packed(Packed::default()))
    }

    fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Packed(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.bytes(),
            Form::Large(large) => {
                size_of::<Large>() + 8 + large.members.bytes() + large.order.bytes()
            }
        }
    }

    fn content_bytes(&self) -> usize {
        match &self.0 {
            Form::Packed(packed) => packed.used(),
            Form::Large(large) => large.members.name_bytes() + self.len() * size_of::<f64>(),
        }
    }

    fn duplicate(&self, hasher: &Hasher) -> Self {
        let parts = self.part_count();
        let mut copy = Self::begin(hasher, self.form(), parts).expect("a set has a form of sets");
        for (name, score) in self.iter() {
            copy.set(hasher, name, score);
        }
        copy
    }

    fn form(&self) -> u8 {
        match self.0 {
            Form::Packed(_) => PACKED,
            Form::Large(_) => LARGE,
        }
    }

    fn part_count(&self) -> u64 {
        self.len() as u64
    }

    /// `[score:8][name]`, in order.
    fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        let mut part = Vec::new();
        for (name, score) in self.iter() {
            part.clear();
            part.extend_from_slice(&score.to_le_bytes());
            part.extend_from_slice(name);
            visit(&part);
        }
    }

    fn begin(_hasher: &Hasher, form: u8, parts: u64) -> Option<Self> {
        match form {
            PACKED if parts <= PACKED_MEMBERS_MAX as u64 => Some(Self::new()),
            LARGE => Some(Self(Form::Large(Box::new(Large::new())))),
            _ => None,
        }
    }

    fn add_part(&mut self, hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        let (score, name) = part.split_first_chunk().ok_or("a member is cut short")?;
        let score = f64::from_le_bytes(*score);
        if score.is_nan() {
            return Err("a score is not a number");
        }
        if self.form() == PACKED && name.len() > PACKED_BYTES_MAX {
            return Err("a packed sorted set has a long member");
        }
        if !self.set(hasher, name, score) {
            return Err("a member stands twice in its sorted set");
        }
        Ok(())
    }
}
