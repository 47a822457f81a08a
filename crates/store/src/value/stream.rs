//! A stream: entries in the order of their ids, and the groups of consumers that share the reading of them.
//! Owns: which id an entry gets, what trimming removes, the counts from which a group's lag follows.
//! Never: replies, the clock (`now` is an argument).
//!
//! Entries lie in blocks (`stream/block.rs`, `blocks.rs`), groups in `group.rs`. A stream without entries stays: it
//! still knows its last id and its groups.
//!
//! INV-ST1, INV-ST2, INV-ST3: see `blocks.rs`, `block.rs` and `group.rs`.

use std::collections::BTreeMap;

use keystead_resp::Args;

use crate::error::CommandError;

mod block;
mod blocks;
mod group;
mod id;
mod listpack;
mod parts;
mod progress;
mod trim;

pub(crate) use block::StreamEntry;
pub(crate) use blocks::BLOCK_ENTRIES_MAX;
pub(crate) use group::{Consumer, Group, Pending};
pub(crate) use id::{GivenId, StreamId};
pub(crate) use progress::Progress;
pub(crate) use trim::{References, Threshold, Trim};

use block::Block;
use blocks::{Blocks, map_bytes};

/// Most bytes of an entry's names and values, with what surrounds them (1 GiB, as in Redis): a block is written to a
/// snapshot in one piece.
const STREAM_ENTRY_BYTES_MAX: usize = 1 << 30;
/// Most bytes around a name or a value.
const ITEM_HEAD_BYTES: usize = 10;

/// Entries and groups.
pub(crate) struct Stream(Box<Inner>);

#[derive(Clone, Default)]
struct Inner {
    blocks: Blocks,
    last_id: StreamId,
    /// The highest id that XDEL removed.
    max_deleted: StreamId,
    /// Entries ever added.
    entries_added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Bytes behind the groups, their names included.
    group_bytes: usize,
}

/// Who reads for a group, and how.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// The consumer.
    pub(crate) consumer: &'a [u8],
    /// Most entries.
    pub(crate) count: usize,
    /// True if what is delivered counts as acknowledged.
    pub(crate) is_acknowledged: bool,
    /// The time, milliseconds since 1970.
    pub(crate) now: i64,
}

/// What XSETID and RESTORE set.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// See [`Stream::last_id`].
    pub(crate) last_id: StreamId,
    /// The highest ID that was ever deleted.
    pub(crate) max_deleted: StreamId,
    /// Entries that were ever added.
    pub(crate) entries_added: u64,
}

impl Stream {
    /// Number of entries.
    pub(crate) const fn len(&self) -> u64 {
        self.0.blocks.live()
    }

    /// The id below which no further entry is added.
    pub(crate) const fn last_id(&self) -> StreamId {
        self.0.last_id
    }

    /// The last id, the highest deleted one and the number of entries ever added.
    pub(crate) const fn marks(&self) -> Marks {
        let Inner { last_id, max_deleted, entries_added, .. } = *self.0;
        Marks { last_id, max_deleted, entries_added }
    }

    /// Sets them; the caller has seen that no entry is above the last id.
    pub(crate) fn set_marks(&mut self, marks: Marks) {
        self.0.last_id = marks.last_id;
        self.0.max_deleted = marks.max_deleted;
        self.0.entries_added = marks.entries_added;
        // A block that only holds deleted entries could begin above what is added next.
        self.0.blocks.drop_if_dead();
    }

    /// The id of the first entry; the lowest id if there is none.
    pub(crate) fn first_id(&self) -> StreamId {
        self.from(StreamId::MIN).next().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// The id of the last entry, which may be below [`last_id`](Self::last_id).
    pub(crate) fn last_entry_id(&self) -> Option<StreamId> {
        self.back_from(StreamId::MAX).next().map(|entry| entry.id)
    }

    /// Adds an entry; returns its id.
    ///
    /// # Errors
    /// If the id is not above the last one, or none is left, or the entry is too large.
    pub(crate) fn add(
        &mut self,
        given: Option<GivenId>,
        now: u64,
        fields: Args<'_>,
    ) -> Result<StreamId, CommandError> {
        let last = self.0.last_id;
        if last == StreamId::MAX {
            return Err(CommandError::StreamIdsExhausted);
        }
        let id = match given {
            Some(GivenId::Whole(id)) => Some(id),
            Some(GivenId::Millisecond(ms)) if ms == last.ms => {
                // Redis 7.0 calls that an entry too large.
                let seq = last.seq.checked_add(1).ok_or(CommandError::StreamEntryTooLarge)?;
                Some(StreamId { ms, seq })
            }
            Some(GivenId::Millisecond(ms)) => Some(StreamId { ms, seq: 0 }),
            None if now > last.ms => Some(StreamId { ms: now, seq: 0 }),
            None => last.next(),
        };
        let id = id.filter(|id| *id > last).ok_or(CommandError::StreamIdNotAbove)?;
        let bytes: usize = fields.iter().map(|item| item.len() + ITEM_HEAD_BYTES).sum();
        if bytes > STREAM_ENTRY_BYTES_MAX {
            return Err(CommandError::StreamEntryTooLarge);
        }
        self.0.blocks.append(id, fields);
        self.0.last_id = id;
        self.0.entries_added = self.0.entries_added.wrapping_add(1);
        Ok(id)
    }

    /// Removes an entry; true if it was there.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        let is_deleted = self.0.blocks.delete(id);
        if is_deleted {
            self.0.max_deleted = self.0.max_deleted.max(id);
        }
        is_deleted
    }

    /// Makes an entry pending for no group any more.
    pub(crate) fn delete_references(&mut self, id: StreamId) {
        let Inner { groups, group_bytes, .. } = &mut *self.0;
        for group in groups.values_mut() {
            change_group(group_bytes, group, |group| group.acknowledge(id));
        }
    }

    /// True if some group has yet to read the entry, or to acknowledge it.
    pub(crate) fn is_needed(&self, id: StreamId) -> bool {
        self.0.groups.values().any(|group| group.needs(id))
    }

    /// The entry with this id.
    pub(crate) fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.from(id).next().filter(|entry| entry.id == id)
    }

    /// The entries from `id` on.
    pub(crate) fn from(&self, id: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        self.0.blocks.from(id)
    }

    /// The entries from `id` down.
    pub(crate) fn back_from(&self, id: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        self.0.blocks.back_from(id)
    }

    /// The groups, by name.
    pub(crate) const fn groups(&self) -> &BTreeMap<Box<[u8]>, Group> {
        &self.0.groups
    }

    /// Adds a group; false if there is one of that name.
    pub(crate) fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.0.groups.contains_key(name) {
            return false;
        }
        self.0.group_bytes += group_base_bytes(name) + group.bytes();
        self.0.groups.insert(name.into(), group);
        true
    }

    /// Removes a group; false if there is none of that name.
    pub(crate) fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.0.groups.remove(name) else { return false };
        self.0.group_bytes -= group_base_bytes(name) + group.bytes();
        true
    }

    /// Changes a group; `None` if there is none of that name.
    pub(crate) fn edit_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        let group = self.0.groups.get_mut(name)?;
        Some(change_group(&mut self.0.group_bytes, group, change))
    }

    /// Delivers the entries that the group has not read yet to a consumer, which exists.
    pub(crate) fn deliver(&mut self, name: &[u8], to: Delivery<'_>) -> Vec<StreamEntry<'_>> {
        let progress = Progress::of(self);
        let Inner { blocks, groups, group_bytes, .. } = &mut *self.0;
        let Some(group) = groups.get_mut(name) else { return Vec::new() };
        let Some(start) = group.last_id.next() else { return Vec::new() };
        let entries: Vec<_> = blocks.from(start).take(to.count).collect();
        change_group(group_bytes, group, |group| {
            for entry in &entries {
                group.entries_read = progress.after_reading(group.entries_read, entry.id);
                group.last_id = entry.id;
                if !to.is_acknowledged {
                    group.assign(entry.id, to.consumer, to.now, 1);
                }
            }
            if !entries.is_empty() {
                group.note_active(to.consumer, Some(to.now));
            }
        });
        entries
    }

    /// The blocks as DUMP writes them: the id that each counts from, and its bytes.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        self.0.blocks.iter().map(|block| (block.first(), block.as_bytes()))
    }

    /// Number of blocks.
    pub(crate) fn block_count(&self) -> usize {
        self.0.blocks.len()
    }

    /// Takes the next block from bytes of unknown origin; `None` if they are not one, or out of order.
    pub(crate) fn load_block(&mut self, first: StreamId, bytes: &[u8]) -> Option<()> {
        self.0.blocks.load(Block::check(first, bytes)?)
    }
}

/// What a group takes beside its content.
const fn group_base_bytes(name: &[u8]) -> usize {
    map_bytes(size_of::<(Box<[u8]>, Group)>()) + name.len()
}

/// Changes a group and keeps the bytes of all groups level.
fn change_group<R>(
    group_bytes: &mut usize,
    group: &mut Group,
    change: impl FnOnce(&mut Group) -> R,
) -> R {
    let before = group.bytes();
    let result = change(group);
    *group_bytes = *group_bytes - before + group.bytes();
    result
}
