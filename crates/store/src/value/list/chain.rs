//! The nodes of a list, one after the other.
//! Owns: how many there are, and the sum of their memory. Never: which element goes where (see `List`).
//!
//! INV-LIST3: `node_bytes` and `used` are the sums over the nodes: asking a list for its memory costs the same whatever its length.

use std::collections::VecDeque;

use crate::allocation::granted;

use super::node::Node;

/// One node in place, or a deque of them.
pub(super) enum Chain {
    One(Node),
    Many(Box<Deque>),
}

pub(super) struct Deque {
    nodes: VecDeque<Node>,
    node_bytes: usize,
    /// Bytes of the elements.
    used: usize,
}

impl Default for Chain {
    fn default() -> Self {
        Self::One(Node::default())
    }
}

impl FromIterator<Node> for Chain {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut nodes: VecDeque<Node> = nodes.into_iter().collect();
        if nodes.len() > 1 {
            let node_bytes = nodes.iter().map(Node::bytes).sum();
            let used = nodes.iter().map(Node::used).sum();
            return Self::Many(Box::new(Deque { nodes, node_bytes, used }));
        }
        Self::One(nodes.pop_front().unwrap_or_default())
    }
}

impl Chain {
    /// Number of nodes, at least one.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(deque) => deque.nodes.len(),
        }
    }

    /// Bytes of memory behind it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::One(node) => node.bytes(),
            Self::Many(deque) => {
                let table = granted(deque.nodes.capacity() * size_of::<Node>());
                size_of::<Deque>() + table + deque.node_bytes
            }
        }
    }

    /// Bytes of the elements.
    pub(super) fn used(&self) -> usize {
        match self {
            Self::One(node) => node.used(),
            Self::Many(deque) => deque.used,
        }
    }

    pub(super) fn get(&self, at: usize) -> &Node {
        match self {
            Self::One(node) => node,
            Self::Many(deque) => &deque.nodes[at],
        }
    }

    /// Changes a node.
    pub(super) fn edit<R>(&mut self, at: usize, change: impl FnOnce(&mut Node) -> R) -> R {
        match self {
            Self::One(node) => change(node),
            Self::Many(deque) => {
                let node = &mut deque.nodes[at];
                let (bytes, used) = (node.bytes(), node.used());
                let result = change(node);
                deque.node_bytes = deque.node_bytes + node.bytes() - bytes;
                deque.used = deque.used + node.used() - used;
                result
            }
        }
    }

    /// Puts a node in front of the one at `at`, or behind the last one.
    pub(super) fn insert(&mut self, at: usize, fresh: Node) {
        if let Self::One(node) = self {
            let first = std::mem::take(node);
            let (node_bytes, used) = (first.bytes(), first.used());
            let nodes = VecDeque::from([first]);
            *self = Self::Many(Box::new(Deque { nodes, node_bytes, used }));
        }
        if let Self::Many(deque) = self {
            deque.node_bytes += fresh.bytes();
            deque.used += fresh.used();
            deque.nodes.insert(at, fresh);
        }
    }

    /// Takes a node out; in the place of the last one stays an empty one.
    pub(super) fn remove(&mut self, at: usize) -> Node {
        match self {
            Self::Many(deque) if deque.nodes.len() > 1 => {
                let node = deque.nodes.remove(at).expect("INV-LIST2: only nodes that are there go");
                deque.node_bytes -= node.bytes();
                deque.used -= node.used();
                if deque.nodes.len() < deque.nodes.capacity() / 4 {
                    deque.nodes.shrink_to(deque.nodes.len() * 2);
                }
                node
            }
            Self::Many(deque) => {
                let node = deque.nodes.pop_front().unwrap_or_default();
                *self = Self::default();
                node
            }
            Self::One(node) => std::mem::take(node),
        }
    }

    /// Gives up the deque if it holds one node that is no longer than `bytes_max`.
    pub(super) fn simplify(&mut self, bytes_max: usize) {
        if self.count() == 1 && self.get(0).used() <= bytes_max {
            *self = Self::One(self.remove(0));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        (0..self.count()).map(|at| self.get(at))
    }

    /// All nodes, in order.
    pub(super) fn into_nodes(self) -> VecDeque<Node> {
        match self {
            Self::One(node) => VecDeque::from([node]),
            Self::Many(deque) => deque.nodes,
        }
    }
}
