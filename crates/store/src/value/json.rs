//! A JSON document: a tree of values that is read and changed in part.
//! Owns: the tree, its size, changing it at a location. Never: commands, replies; a document knows no time.
//!
//! A value takes two words, with short strings in them; arrays and objects have their own structures behind one. Paths
//! (`path.rs`) find locations, which name the way down from the root step by step; what they name stays valid until
//! something is taken out of, or put into the middle of, a container on the way.
//!
//! INV-JSON1: no name stands twice among the members of an object (`object.rs`).
//! INV-JSON2: containers are nested at most [`NESTING_MAX`] deep: reading, loading and every edit refuse more.
//! INV-JSON3: the document's size in bytes is the sum over its values, whatever edits led to it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::Hasher;
use crate::value::Kind;

mod node;
mod object;
mod parts;
pub(crate) mod path;
pub(crate) mod print;
mod read;
mod text;

pub(crate) use node::{NESTING_MAX, Node, Numbers};
#[cfg(test)]
use object::Object;
pub(crate) use read::read;

use parts::Assembly;

/// The way from the root to a value: the index of an element, the place of a member, and so on down.
pub(crate) type Location = Vec<usize>;

/// A document.
pub(crate) struct Json {
    root: Node,
    /// Bytes behind the root.
    bytes: usize,
    /// What has been read of a document that is being loaded.
    assembly: Option<Box<Assembly>>,
    /// Values that paths have looked at: scripts are charged for what a command added. No part of the state.
    looks: AtomicU64,
}

/// What an edit added and took away below the value that it changed, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turnover {
    added: usize,
    removed: usize,
}

impl Turnover {
    /// A value came in.
    pub(crate) fn add(&mut self, value: &Node) {
        self.added += value.bytes_behind();
    }

    /// A value went out.
    pub(crate) fn remove(&mut self, value: &Node) {
        self.removed += value.bytes_behind();
    }
}

impl Json {
    /// Values that paths have looked at so far.
    pub(crate) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// A path looked at so many values. Who reads beside others may be counted for less; whoever applies an entry is alone.
    fn note_looks(&self, times: u64) {
        self.looks.store(self.looks().saturating_add(times), Ordering::Relaxed);
    }

    /// A document that holds this value.
    pub(crate) fn of(root: Node) -> Self {
        let bytes = root.bytes_behind();
        Self { root, bytes, assembly: None, looks: AtomicU64::new(0) }
    }

    /// The outermost value.
    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    /// The value at a location.
    pub(crate) fn at(&self, location: &[usize]) -> Option<&Node> {
        location.iter().try_fold(&self.root, |node, step| node.child(*step))
    }

    /// Changes the value at a location in place: `change` says what came and went below it. `None` if nothing is there.
    pub(crate) fn change<R>(
        &mut self,
        location: &[usize],
        change: impl FnOnce(&mut Node, &mut Turnover) -> R,
    ) -> Option<R> {
        let node = location.iter().try_fold(&mut self.root, |node, step| node.child_mut(*step))?;
        let before = node.own_bytes();
        let mut turnover = Turnover::default();
        let result = change(node, &mut turnover);
        self.bytes = self.bytes + node.own_bytes() + turnover.added - before - turnover.removed;
        Some(result)
    }

    /// Puts a value in the place of the one at a location; false if nothing is there.
    pub(crate) fn replace(&mut self, location: &[usize], value: Node) -> bool {
        let replaced = self.change(location, |node, turnover| {
            turnover.removed += node.inner_bytes();
            turnover.added += value.inner_bytes();
            *node = value;
        });
        replaced.is_some()
    }

    /// Gives the object at a location a member, or the member another value; false if no object is there.
    pub(crate) fn put_member(
        &mut self,
        hasher: &Hasher,
        location: &[usize],
        name: &[u8],
        value: Node,
    ) -> bool {
        let put = self.change(location, |node, turnover| {
            let Node::Object(members) = node else { return false };
            turnover.add(&value);
            let count = members.len();
            if let Some(old) = members.put(hasher, name, value) {
                turnover.remove(&old);
            }
            if members.len() > count {
                turnover.add(&Node::text(name));
            }
            true
        });
        put == Some(true)
    }

    /// Takes out the elements or members at these steps from the container at a location, steps ascending.
    pub(crate) fn remove_children(&mut self, hasher: &Hasher, location: &[usize], steps: &[usize]) {
        self.change(location, |node, turnover| match node {
            Node::Array(elements) => match steps {
                [step] => {
                    if let Some(element) = elements.remove(*step) {
                        turnover.remove(&element);
                    }
                }
                _ => {
                    let (mut index, mut next) = (0, steps.iter().peekable());
                    elements.retain(|element| {
                        let is_taken = next.next_if_eq(&&index).is_some();
                        index += 1;
                        if is_taken {
                            turnover.remove(element);
                        }
                        !is_taken
                    });
                }
            },
            Node::Object(members) => members.remove_places(hasher, steps, |member| {
                turnover.removed += member.bytes_behind();
            }),
            _ => {}
        });
    }
}

impl Kind for Json {
    /// The name of RedisJSON's type, by which clients know it.
    const NAME: &'static str = "ReJSON-RL";
    const CODE: u8 = b'J';
    const IS_ORDERED: bool = true;

    fn new() -> Self {
        Self::of(Node::Null)
    }

    /// What Redis says of the values of any module.
    fn encoding(&self) -> &'static str {
        "raw"
    }

    /// Never: a document of `{}` or `null` is a value like another.
    fn is_empty(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its memory is counted without room for more, since the looks that a path has follow from it.
    fn content_bytes(&self) -> usize {
        self.bytes
    }

    fn duplicate(&self, _hasher: &Hasher) -> Self {
        Self::of(self.root.clone())
    }

    fn form(&self) -> u8 {
        parts::TREE
    }

    fn part_count(&self) -> u64 {
        self.root.node_count()
    }

    fn each_part(&self, visit: &mut dyn FnMut(&[u8])) {
        debug_assert_eq!(self.bytes, self.root.bytes_behind(), "INV-JSON3: the size has drifted");
        parts::each(&self.root, None, &mut Vec::new(), visit);
    }

    fn begin(_hasher: &Hasher, form: u8, parts: u64) -> Option<Self> {
        let is_known = form == parts::TREE && parts > 0;
        is_known.then(|| Self { assembly: Some(Box::default()), ..Self::new() })
    }

    fn add_part(&mut self, hasher: &Hasher, part: &[u8]) -> Result<(), &'static str> {
        let assembly = self.assembly.as_mut().ok_or("a value behind the last of its document")?;
        if let Some(root) = assembly.add(hasher, part)? {
            *self = Self::of(root);
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.assembly.is_none()
    }
}

#[cfg(test)]
mod tests;
