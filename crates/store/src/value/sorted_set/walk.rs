//! Going over the members of a sorted set, up or down.
//! Owns: the iterator. Never: changes anything.

use std::ops::Range;

use super::order::Leaf;
use super::{Form, SortedSet};

/// Which way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the least to the greatest.
    Up,
    /// From the greatest to the least.
    Down,
}

/// Members of some ranks, in order or against it.
pub(crate) struct Walk<'a> {
    set: &'a SortedSet,
    /// Those still to come.
    ranks: Range<usize>,
    direction: Direction,
    near: Near<'a>,
}

/// What is known of where the last one stood.
enum Near<'a> {
    Nothing,
    /// Where the next member begins in a packed set.
    Byte(usize),
    /// Where the members of a packed set begin, for going down.
    Bytes(Vec<usize>),
    /// A leaf, and the rank of its first.
    Leaf(&'a Leaf, usize),
}

impl<'a> Walk<'a> {
    pub(super) const fn new(set: &'a SortedSet, ranks: Range<usize>, direction: Direction) -> Self {
        Self { set, ranks, direction, near: Near::Nothing }
    }

    fn packed_start(&mut self, packed: &super::Packed, rank: usize) -> usize {
        match (&self.near, self.direction) {
            (Near::Byte(start), _) => *start,
            (Near::Bytes(starts), _) => starts[rank],
            (_, Direction::Up) => packed.bytes_of(&(rank..rank)).start,
            (_, Direction::Down) => {
                let starts: Vec<usize> =
                    packed.iter().take(rank + 1).map(|item| item.start).collect();
                let start = starts[rank];
                self.near = Near::Bytes(starts);
                start
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        let rank = match self.direction {
            Direction::Up => self.ranks.next()?,
            Direction::Down => self.ranks.next_back()?,
        };
        match &self.set.0 {
            Form::Packed(packed) => {
                let start = self.packed_start(packed, rank);
                let item = packed.item_at(start)?;
                if self.direction == Direction::Up {
                    self.near = Near::Byte(item.end);
                }
                Some((item.name, item.score))
            }
            Form::Large(large) => {
                let (leaf, first) = match self.near {
                    Near::Leaf(leaf, first) if (first..first + leaf.len()).contains(&rank) => {
                        (leaf, first)
                    }
                    _ => large.order.leaf_at(rank),
                };
                self.near = Near::Leaf(leaf, first);
                let item = leaf.item(rank - first);
                Some((large.members.name(item.id), item.score))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranks.size_hint()
    }
}

impl ExactSizeIterator for Walk<'_> {}
