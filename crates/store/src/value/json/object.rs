//! The members of an object, in the order in which they came.
//! Owns: finding a member by its name. Never: what a value is.
//!
//! A few members are looked through one by one; more have an index of their places. A place that was vacated stays
//! vacant until half of them are, so that taking out one member of many moves nothing.
//!
//! INV-JSON1: no name stands twice among the members, and the index, if there is one, holds the place of each member
//! and nothing else.

use hashbrown::HashTable;

use crate::allocation::granted;
use crate::table::Hasher;

use super::node::Node;
use super::text::{Text, granted_buffer};

/// Most places that are looked through without an index: as fast as hashing the name, and smaller.
const SCANNED_PLACES_MAX: usize = 16;

/// Members in order.
#[derive(Clone, Default)]
pub(crate) struct Object {
    places: Vec<Option<Member>>,
    len: usize,
    index: Option<Box<HashTable<usize>>>,
}

/// A name and its value.
#[derive(Clone)]
pub(crate) struct Member {
    name: Text,
    pub(crate) value: Node,
}

impl Member {
    /// Bytes of memory behind it.
    pub(super) fn bytes_behind(&self) -> usize {
        self.name.bytes_behind() + self.value.bytes_behind()
    }
}

impl Object {
    /// Number of members.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The value called `name`.
    pub(crate) fn get(&self, hasher: &Hasher, name: &[u8]) -> Option<&Node> {
        self.at(self.place_of(hasher, name)?)
    }

    /// Where the member called `name` stands.
    pub(crate) fn place_of(&self, hasher: &Hasher, name: &[u8]) -> Option<usize> {
        let is_it = |place: &usize| self.name_at(*place) == Some(name);
        match &self.index {
            Some(index) => index.find(hasher.hash(name), is_it).copied(),
            None => (0..self.places.len()).find(is_it),
        }
    }

    /// The value at a place.
    pub(crate) fn at(&self, place: usize) -> Option<&Node> {
        self.places.get(place)?.as_ref().map(|member| &member.value)
    }

    /// The same, for changing it.
    pub(crate) fn at_mut(&mut self, place: usize) -> Option<&mut Node> {
        self.places.get_mut(place)?.as_mut().map(|member| &mut member.value)
    }

    /// Places, names and values, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &[u8], &Node)> + use<'_> {
        let all = self.places.iter().enumerate();
        all.filter_map(|(place, member)| {
            member.as_ref().map(|member| (place, member.name.as_bytes(), &member.value))
        })
    }

    /// Gives the member called `name` a value; returns the one that it had.
    pub(crate) fn put(&mut self, hasher: &Hasher, name: &[u8], value: Node) -> Option<Node> {
        if let Some(held) = self.place_of(hasher, name).and_then(|place| self.at_mut(place)) {
            return Some(std::mem::replace(held, value));
        }
        let place = self.places.len();
        self.places.push(Some(Member { name: Text::new(name), value }));
        self.len += 1;
        if self.index.is_none() {
            if self.places.len() > SCANNED_PLACES_MAX {
                self.settle(hasher);
            }
            return None;
        }
        let Self { places, index: Some(index), .. } = self else { return None };
        index.insert_unique(hasher.hash(name), place, |place| hash_at(places, hasher, *place));
        None
    }

    /// Takes out the members at these places, which are told to `taken`. Other members may move.
    pub(crate) fn remove_places(
        &mut self,
        hasher: &Hasher,
        places: &[usize],
        mut taken: impl FnMut(&Member),
    ) {
        for place in places {
            let Some(member) = self.places.get_mut(*place).and_then(Option::take) else { continue };
            self.len -= 1;
            if let Some(index) = &mut self.index
                && let Ok(found) =
                    index.find_entry(hasher.hash(member.name.as_bytes()), |held| held == place)
            {
                found.remove();
            }
            taken(&member);
        }
        let vacant = self.places.len() - self.len;
        if vacant > self.len || self.places.len() <= SCANNED_PLACES_MAX {
            self.settle(hasher);
        }
    }

    /// Gives back what it has no use for.
    pub(crate) fn shrink(&mut self) {
        self.places.shrink_to_fit();
    }

    /// Bytes of memory that it takes itself: not those of names and values.
    pub(super) fn own_bytes(&self) -> usize {
        // Places that are vacant, and an index that fewer would not have, are of the past: see `granted_buffer`.
        let index = if self.len > SCANNED_PLACES_MAX {
            // A place and a control byte for each bucket, of which one in eight stays vacant.
            let buckets = (self.len * 8 / 7 + 1).next_power_of_two();
            granted(size_of::<HashTable<usize>>()) + granted(buckets * (size_of::<usize>() + 1))
        } else {
            0
        };
        let places = granted_buffer(self.len * size_of::<Option<Member>>());
        granted(size_of::<Self>()) + places + index
    }

    /// Bytes behind all members.
    pub(super) fn member_bytes(&self) -> usize {
        self.places.iter().flatten().map(Member::bytes_behind).sum()
    }

    fn name_at(&self, place: usize) -> Option<&[u8]> {
        self.places.get(place)?.as_ref().map(|member| member.name.as_bytes())
    }

    /// Drops vacant places, and makes the index that the rest needs.
    fn settle(&mut self, hasher: &Hasher) {
        self.places.retain(Option::is_some);
        if self.places.capacity() > 4 * self.places.len() {
            self.places.shrink_to(2 * self.places.len());
        }
        self.index = None;
        if self.places.len() > SCANNED_PLACES_MAX {
            let places = &self.places;
            let mut index = HashTable::with_capacity(places.len());
            for place in 0..places.len() {
                let rehash = |place: &usize| hash_at(places, hasher, *place);
                index.insert_unique(hash_at(places, hasher, place), place, rehash);
            }
            self.index = Some(Box::new(index));
        }
    }
}

fn hash_at(places: &[Option<Member>], hasher: &Hasher, place: usize) -> u64 {
    let member = places.get(place).and_then(Option::as_ref);
    hasher.hash(member.map_or(&[], |member| member.name.as_bytes()))
}
