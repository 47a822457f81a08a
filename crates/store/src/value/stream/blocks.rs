//! The blocks of a stream in the order of their ids.
//! Owns: where a block ends and the next begins, finding the block of an id, the bytes behind the blocks.
//! Never: the layout of a block (`block.rs`), groups.
//!
//! The last block stands apart: it is the one that grows, and most streams of a few entries have no other.
//!
//! INV-ST1: the ids of live entries ascend strictly over all blocks, and none is above the stream's last id.

use std::collections::BTreeMap;
use std::ops::Bound;

use keystead_resp::Args;

use super::block::{Block, StreamEntry};
use super::id::StreamId;

/// A block that is as long takes no further entry, bytes (as `stream-node-max-bytes` of Redis).
const BLOCK_BYTES_MAX: usize = 4096;
/// Most entries of a block (as `stream-node-max-entries` of Redis).
pub(crate) const BLOCK_ENTRIES_MAX: u64 = 100;
/// What an ordered map takes for an item beyond its own size: nodes are two thirds full.
pub(super) const fn map_bytes(item_bytes: usize) -> usize {
    item_bytes + item_bytes / 2
}

/// Blocks, none of them without entries.
#[derive(Clone, Default)]
pub(super) struct Blocks {
    /// All but the last, by the id that they count from.
    sealed: BTreeMap<StreamId, Block>,
    tail: Option<Block>,
    /// Live entries.
    live: u64,
    /// Bytes of the blocks' allocations.
    bytes: usize,
    /// Bytes of the blocks.
    used: usize,
}

impl Blocks {
    /// Number of live entries.
    pub(super) const fn live(&self) -> u64 {
        self.live
    }

    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.sealed.len() + usize::from(self.tail.is_some())
    }

    /// Bytes behind it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.sealed.len() * map_bytes(size_of::<(StreamId, Block)>())
    }

    /// Bytes of the blocks, without room for more.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    /// A block is about to change, or to go.
    const fn leave(&mut self, block: (usize, usize)) {
        self.bytes -= block.0;
        self.used -= block.1;
    }

    /// A block has changed, or come.
    const fn enter(&mut self, block: (usize, usize)) {
        self.bytes += block.0;
        self.used += block.1;
    }

    /// Counts the bytes anew: a clone's allocations are not those of the original.
    pub(super) fn count_bytes(&mut self) {
        self.bytes = self.iter().map(Block::capacity).sum();
    }

    /// Adds an entry behind all others.
    pub(super) fn append(&mut self, id: StreamId, fields: Args<'_>) {
        let bytes: usize = fields.iter().map(<[u8]>::len).sum();
        let has_room = self.tail.as_ref().is_some_and(|tail| {
            tail.as_bytes().len() + bytes < BLOCK_BYTES_MAX && tail.total() < BLOCK_ENTRIES_MAX
        });
        self.live += 1;
        match &mut self.tail {
            Some(tail) if has_room => {
                let before = tail.sizes();
                tail.append(id, fields);
                let after = tail.sizes();
                self.leave(before);
                self.enter(after);
            }
            _ => self.push(Block::new(id, fields)),
        }
    }

    /// Puts a block behind the others.
    fn push(&mut self, block: Block) {
        self.enter(block.sizes());
        if let Some(mut full) = self.tail.replace(block) {
            self.leave(full.sizes());
            full.shrink();
            self.enter(full.sizes());
            self.sealed.insert(full.first(), full);
        }
    }

    /// Takes a block that was checked; `None` if it does not come behind the others.
    pub(super) fn load(&mut self, block: Block) -> Option<()> {
        let is_behind = self.tail.as_ref().is_none_or(|tail| tail.first() < block.first());
        let above = self.back_from(StreamId::MAX).next().map(|entry| entry.id);
        if !is_behind || block.entries().next().is_some_and(|entry| Some(entry.id) <= above) {
            return None;
        }
        self.live += block.live();
        self.push(block);
        Some(())
    }

    /// Removes the live entry with this id; true if there was one.
    pub(super) fn delete(&mut self, id: StreamId) -> bool {
        let is_tail = self.tail.as_ref().is_some_and(|tail| tail.first() <= id);
        let block = match &mut self.tail {
            tail if is_tail => tail.as_mut(),
            _ => self.sealed.range_mut(..=id).next_back().map(|(_, block)| block),
        };
        let Some(block) = block else { return false };
        let (first, before) = (block.first(), block.sizes());
        if block.delete(|own| (own <= id).then_some(own == id)) == 0 {
            return false;
        }
        let (after, is_dead) = (block.sizes(), block.live() == 0);
        self.leave(before);
        self.enter(after);
        self.live -= 1;
        if is_dead {
            self.remove(first);
        }
        true
    }

    /// The first block: its live entries and the id of its last one, deleted or not.
    pub(super) fn first_block(&self) -> Option<(u64, StreamId)> {
        let block = self.sealed.values().next().or(self.tail.as_ref())?;
        Some((block.live(), block.last()))
    }

    /// The ids of the first block's live entries.
    pub(super) fn first_block_ids(&self) -> Vec<StreamId> {
        let block = self.sealed.values().next().or(self.tail.as_ref());
        block.map_or_else(Vec::new, |block| block.entries().map(|entry| entry.id).collect())
    }

    /// Removes the first block with all entries in it; returns how many were live.
    pub(super) fn remove_first_block(&mut self) -> u64 {
        let Some(block) = self.sealed.values().next().or(self.tail.as_ref()) else { return 0 };
        let (first, live) = (block.first(), block.live());
        self.live -= live;
        self.remove(first);
        live
    }

    /// Marks entries of the first block as deleted; see [`Block::delete`]. The block stays, even without live ones.
    pub(super) fn delete_in_first_block(
        &mut self,
        is_wanted: impl FnMut(StreamId) -> Option<bool>,
    ) -> u64 {
        let Some(block) = self.sealed.values_mut().next().or(self.tail.as_mut()) else { return 0 };
        let before = block.sizes();
        let deleted = block.delete(is_wanted);
        let after = block.sizes();
        self.leave(before);
        self.enter(after);
        self.live -= deleted;
        deleted
    }

    /// Forgets the blocks if no live entry is left in them.
    pub(super) fn drop_if_dead(&mut self) {
        if self.live == 0 {
            *self = Self::default();
        }
    }

    /// The live entries from `id` on.
    pub(super) fn from(&self, id: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        let start = self.sealed.range(..=id).next_back().map_or(id, |(first, _)| *first);
        let sealed = self.sealed.range(start..).map(|(_, block)| block);
        let blocks = sealed.chain(&self.tail);
        blocks.flat_map(Block::entries).skip_while(move |entry| entry.id < id)
    }

    /// The live entries from `id` down.
    pub(super) fn back_from(&self, id: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        let sealed = self.sealed.range((Bound::Unbounded, Bound::Included(id))).rev();
        let tail = self.tail.iter().filter(move |tail| tail.first() <= id);
        let blocks = tail.chain(sealed.map(|(_, block)| block));
        blocks.flat_map(Block::entries_back).skip_while(move |entry| entry.id > id)
    }

    /// The blocks.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Block> {
        self.sealed.values().chain(&self.tail)
    }

    fn remove(&mut self, first: StreamId) {
        let block = match &self.tail {
            Some(tail) if tail.first() == first => {
                let last = self.sealed.pop_last().map(|(_, block)| block);
                std::mem::replace(&mut self.tail, last)
            }
            _ => self.sealed.remove(&first),
        };
        if let Some(block) = block {
            self.leave(block.sizes());
        }
    }
}
