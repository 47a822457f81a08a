//! A list: elements in an order that whoever pushes decides.
//! Owns: how elements are spread over nodes, places and walks. Never: replies, keys; a list knows no time.
//!
//! A small list is one packed run of elements, one allocation. A larger one is a deque of such runs of up to
//! [`NODE_BYTES_MAX`]; an element longer than that has one to itself. Both ends are reached at once, an index by
//! counting through the nodes from the nearer end.
//!
//! INV-LIST1: a node holds exactly as many elements as it counts (`node.rs`).
//! INV-LIST2: of more than one node none is empty, none with several elements is longer than [`NODE_BYTES_MAX`], and
//! no two neighbours would fill half a node: a list takes memory by what it holds, however it came to hold it.

use crate::table::Hasher;
use crate::value::Kind;

use chain::Chain;
use node::{Item, Node, bytes_for};

mod chain;
mod node;

pub(crate) use node::Side;

/// Most bytes of a node with more than one element (as `list-max-listpack-size` -2 of Redis).
pub(crate) const NODE_BYTES_MAX: usize = 8 * 1024;
/// Neighbours that take no more than this together become one.
const MERGED_BYTES_MAX: usize = NODE_BYTES_MAX / 2;

/// Elements in order.
pub(crate) struct List {
    nodes: Chain,
    len: usize,
}

/// The only form of [`Kind::form`]: how elements are spread follows from adding them one by one.
const NODES: u8 = 0;

/// On which side of an element another one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// In front of it, towards the head.
    Before,
    /// Behind it.
    After,
}

impl List {
    /// Number of elements.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The element at an end.
    pub(crate) fn end(&self, side: Side) -> Option<&[u8]> {
        let node = self.nodes.get(self.end_node(side));
        node.at_end(side).map(|item| node.body(item))
    }

    /// Puts an element at an end.
    pub(crate) fn push(&mut self, side: Side, element: &[u8]) {
        let at = self.end_node(side);
        self.len += 1;
        if takes(self.nodes.get(at), element) {
            self.nodes.edit(at, |node| node.push(side, element));
            return;
        }
        self.nodes.insert(if side == Side::Left { 0 } else { at + 1 }, Node::of(element));
    }

    /// Takes `count` elements out at an end, all if there are fewer.
    pub(crate) fn drop_at(&mut self, side: Side, mut count: usize) {
        while count > 0 && self.len > 0 {
            let at = self.end_node(side);
            let taken = count.min(self.nodes.get(at).count());
            self.nodes.edit(at, |node| node.drop_at(side, taken));
            self.len -= taken;
            count -= taken;
            self.settle(at);
        }
    }

    /// The element at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let (at, within) = self.place(index)?;
        let node = self.nodes.get(at);
        node.item(within).map(|item| node.body(item))
    }

    /// Puts `element` in the place of the one at `index`; false if there is none.
    pub(crate) fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let Some((at, within)) = self.place(index) else { return false };
        let node = self.nodes.get(at);
        let Some(item) = node.item(within) else { return false };
        let used = node.used() - bytes_for(node.body(item).len()) + bytes_for(element.len());
        if node.count() == 1 || used <= NODE_BYTES_MAX {
            self.nodes.edit(at, |node| node.replace(item, element));
            self.settle(at);
        } else {
            self.nodes.edit(at, |node| node.remove(item));
            self.len -= 1;
            self.insert_at(at, within, element);
        }
        true
    }

    /// Puts `element` beside the first one from the head that equals `pivot`; false if none does.
    pub(crate) fn insert_beside(&mut self, pivot: &[u8], beside: Beside, element: &[u8]) -> bool {
        for at in 0..self.nodes.count() {
            let node = self.nodes.get(at);
            let found = node.items(Side::Left).position(|item| node.body(item) == pivot);
            if let Some(within) = found {
                let within = within + usize::from(beside == Beside::After);
                self.insert_at(at, within, element);
                return true;
            }
        }
        false
    }

    /// Takes out the elements equal to `element`, at most `limit`, those nearest to `side`; returns how many.
    pub(crate) fn remove_equal(&mut self, element: &[u8], side: Side, limit: usize) -> usize {
        let count = self.nodes.count();
        let mut removed = 0;
        for step in 0..count {
            let at = if side == Side::Left { step } else { count - 1 - step };
            if removed < limit {
                let wanted = limit - removed;
                removed += self.nodes.edit(at, |node| node.remove_equal(element, side, wanted));
            }
        }
        self.len -= removed;
        if removed > 0 {
            self.settle_all();
        }
        removed
    }

    /// The elements from the one at `index` on, away from `side`.
    pub(crate) fn iter_from(&self, side: Side, index: usize) -> Iter<'_> {
        let (at, item) = match self.place(index) {
            Some((at, within)) => (at, self.nodes.get(at).item(within)),
            None => (0, None),
        };
        Iter { nodes: &self.nodes, side, at, item }
    }

    /// The elements from an end on.
    pub(crate) fn iter(&self, side: Side) -> Iter<'_> {
        let at = self.end_node(side);
        Iter { nodes: &self.nodes, side, at, item: self.nodes.get(at).at_end(side) }
    }

    fn end_node(&self, side: Side) -> usize {
        if side == Side::Left { 0 } else { self.nodes.count() - 1 }
    }

    /// The node with the element at `index`, and its index there.
    fn place(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        let mut behind = self.len - index;
        if index < behind {
            let mut index = index;
            for at in 0..self.nodes.count() {
                let count = self.nodes.get(at).count();
                if index < count {
                    return Some((at, index));
                }
                index -= count;
            }
        } else {
            for at in (0..self.nodes.count()).rev() {
                let count = self.nodes.get(at).count();
                if behind <= count {
                    return Some((at, count - behind));
                }
                behind -= count;
            }
        }
        None
    }

    /// Puts an element into node `at` so that `within` others of it come before; where it has no room, beside it.
    fn insert_at(&mut self, at: usize, within: usize, element: &[u8]) {
        self.len += 1;
        let item = self.nodes.get(at).item(within);
        if takes(self.nodes.get(at), element) {
            self.nodes.edit(at, |node| match item {
                Some(item) => node.insert_before(item, element),
                None => node.push(Side::Right, element),
            });
            self.settle(at);
            return;
        }
        // The element goes between `at - 1` and `at` once what comes behind it stands in a node of its own.
        let at = if within == 0 { at } else { at + 1 };
        if let Some(item) = item.filter(|_| within > 0) {
            let right = self.nodes.edit(at - 1, |node| node.split_off(item, within));
            self.nodes.insert(at, right);
        }
        if at > 0 && takes(self.nodes.get(at - 1), element) {
            self.nodes.edit(at - 1, |node| node.push(Side::Right, element));
        } else if at < self.nodes.count() && takes(self.nodes.get(at), element) {
            self.nodes.edit(at, |node| node.push(Side::Left, element));
        } else {
            self.nodes.insert(at, Node::of(element));
        }
        for at in [at + 1, at, at.saturating_sub(1)] {
            self.settle(at);
        }
    }

    /// Restores INV-LIST2 around node `at`, if there is such a one.
    fn settle(&mut self, mut at: usize) {
        let nodes = &mut self.nodes;
        if at < nodes.count() && nodes.get(at).count() == 0 {
            nodes.remove(at);
            at = at.saturating_sub(1);
        }
        while let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|left| {
            let right = left + 1;
            right < nodes.count() && are_small(nodes.get(*left), nodes.get(right))
        }) {
            let right = nodes.remove(left + 1);
            nodes.edit(left, |node| node.append(&right));
            at = left;
        }
        nodes.simplify(MERGED_BYTES_MAX);
    }

    /// Restores INV-LIST2 everywhere, in one pass.
    fn settle_all(&mut self) {
        let mut settled: Vec<Node> = Vec::with_capacity(self.nodes.count());
        for node in std::mem::take(&mut self.nodes).into_nodes() {
            match settled.last_mut() {
                Some(last) if are_small(last, &node) => last.append(&node),
                _ if node.count() == 0 => {}
                _ => settled.push(node),
            }
        }
        self.nodes = settled.into_iter().collect();
    }
}

/// True if the two shall be one.
const fn are_small(left: &Node, right: &Node) -> bool {
    left.used() + right.used() <= MERGED_BYTES_MAX
}

/// True if the element may go into this node.
fn takes(node: &Node, element: &[u8]) -> bool {
    node.count() == 0 || node.used() + bytes_for(element.len()) <= NODE_BYTES_MAX
}

/// Walks over elements.
pub(crate) struct Iter<'a> {
    nodes: &'a Chain,
    side: Side,
    /// The node of `item`.
    at: usize,
    /// The next element.
    item: Option<Item>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let node = self.nodes.get(self.at);
        let item = self.item?;
        self.item = node.next_from(self.side, item);
        if self.item.is_none() {
            let next = match self.side {
                Side::Left => Some(self.at + 1).filter(|at| *at < self.nodes.count()),
                Side::Right => self.at.checked_sub(1),
            };
            if let Some(next) = next {
                self.at = next;
                self.item = self.nodes.get(next).at_end(self.side);
            }
        }
        Some(node.body(item))
    }
}

impl Kind for List {
    const NAME: &'static str = "list";
    const CODE: u8 = b'L';
    const IS_ORDERED: bool = true;

    fn new() -> Self {
        Self { nodes: Chain::default(), len: 0 }
    }

    /// What Redis 7.0 says of every list; 7.2 calls a small one a listpack.
    fn encoding(&self) -> &'static str {
        "quicklist"
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn bytes(&self) -> usize {
        self.nodes.bytes()
    }

    fn content_bytes(&self) -> usize {
        self.nodes.used()
    }

    fn duplicate(&self, _hasher: &Hasher) -> Self {
        Self { nodes: self.nodes.iter().map(Node::fitted).collect(), len: self.len }
    }

    fn form(&self) -> u8 {
        NODES
    }

    fn part_count(&self) -> u64 {
        self.len as u64
    }

    fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        self.iter(Side::Left).for_each(visit);
    }

    fn begin(_hasher: &Hasher, form: u8, _parts: u64) -> Option<Self> {
        (form == NODES).then(Self::new)
    }

    fn add_part(&mut self, _hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        self.push(Side::Right, part);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
