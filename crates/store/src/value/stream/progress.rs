//! How far a group has read: entries read, and those that it lags behind.
//! Owns: when these are known. Never: changes a group.
//!
//! Where entries were deleted in between, a count of those that were read says nothing about those that are still to
//! come. The rules follow Redis 7.0, since XINFO shows them.

use super::{Group, Stream, StreamId};

/// What a stream says about its past.
#[derive(Clone, Copy)]
pub(crate) struct Progress {
    len: u64,
    entries_added: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted: StreamId,
}

impl Progress {
    /// What `stream` says.
    pub(crate) fn of(stream: &Stream) -> Self {
        let marks = stream.marks();
        Self {
            len: stream.len(),
            entries_added: marks.entries_added,
            first_id: stream.first_id(),
            last_id: marks.last_id,
            max_deleted: marks.max_deleted,
        }
    }

    /// How many entries a group has read once it has read the entry `id`, if it had read `before`.
    pub(super) fn after_reading(&self, before: Option<i64>, id: StreamId) -> Option<i64> {
        match before {
            Some(read) if !self.has_gap_from(id) => Some(read.wrapping_add(1)),
            _ if self.entries_added > 0 => self.entries_up_to(id),
            read => read,
        }
    }

    /// How many entries the group has yet to read; `None` if that is not known.
    pub(crate) fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.entries_added.cast_signed();
        if added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_gap_from(group.last_id) => Some(read),
            _ => self.entries_up_to(group.last_id),
        };
        read.map(|read| added.wrapping_sub(read))
    }

    /// How many entries were ever added up to `id`; `None` if that cannot be told.
    pub(crate) fn entries_up_to(&self, id: StreamId) -> Option<i64> {
        let added = self.entries_added.cast_signed();
        if added == 0 {
            return Some(0);
        }
        if self.len == 0 && id <= self.last_id {
            return Some(added);
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(added);
        }
        let is_whole = self.max_deleted == StreamId::MIN || self.max_deleted < self.first_id;
        let before_first = added.wrapping_sub(self.len.cast_signed());
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less if is_whole => Some(before_first),
            std::cmp::Ordering::Equal if is_whole => Some(before_first.wrapping_add(1)),
            _ => None,
        }
    }

    /// True if an entry from `id` on was deleted.
    fn has_gap_from(&self, id: StreamId) -> bool {
        let is_among_entries = self.len > 0 && self.first_id <= self.max_deleted;
        is_among_entries && self.max_deleted != StreamId::MIN && id <= self.max_deleted
    }
}
