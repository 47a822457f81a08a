//! Consumer groups: what was delivered to whom and is not acknowledged.
//! Owns: a group's consumers and pending entries. Never: the entries themselves.
//!
//! INV-ST3: an entry is pending for exactly one consumer of its group: the one that its record names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blocks::map_bytes;
use super::id::StreamId;

/// A consumer group.
#[derive(Clone, Default)]
pub(crate) struct Group {
    /// The last entry that was delivered to it.
    pub(crate) last_id: StreamId,
    /// How many entries of the stream it has read; `None` if that is not known.
    pub(crate) entries_read: Option<i64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
    /// Bytes of the consumers' names.
    name_bytes: usize,
}

/// An entry that was delivered and is not acknowledged.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// To whom.
    pub(crate) consumer: Arc<[u8]>,
    /// When the last time, milliseconds since 1970; a restored one may say anything.
    pub(crate) delivered_at: i64,
    /// How often.
    pub(crate) deliveries: u64,
}

/// A consumer of a group.
#[derive(Clone, Default)]
pub(crate) struct Consumer {
    /// When it last asked for something, milliseconds since 1970.
    pub(crate) seen_at: i64,
    /// When it last got something; `None` if it never did.
    pub(crate) active_at: Option<i64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// The entries that are pending for it, from `id` on.
    pub(crate) fn pending_from(&self, id: StreamId) -> impl Iterator<Item = StreamId> {
        self.pending.range(id..).copied()
    }

    /// How many entries are pending for it.
    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }
}

impl Group {
    /// A group that has got everything up to `last_id`.
    pub(crate) fn new(last_id: StreamId, entries_read: Option<i64>) -> Self {
        Self { last_id, entries_read, ..Self::default() }
    }

    /// Bytes behind it; those of each pending entry and consumer are a fixed amount.
    pub(crate) fn bytes(&self) -> usize {
        const PENDING: usize = map_bytes(size_of::<(StreamId, Pending)>());
        const OWN: usize = map_bytes(size_of::<StreamId>());
        /// A name has two counters beside it.
        const CONSUMER: usize = map_bytes(size_of::<(Arc<[u8]>, Consumer)>()) + 16;
        self.pending.len() * (PENDING + OWN) + self.consumers.len() * CONSUMER + self.name_bytes
    }

    /// What is pending, by id.
    pub(crate) const fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// The consumers, by name.
    pub(crate) const fn consumers(&self) -> &BTreeMap<Arc<[u8]>, Consumer> {
        &self.consumers
    }

    /// The consumer of that name.
    pub(crate) fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    /// Adds a consumer; false if there is one of that name.
    pub(crate) fn add_consumer(&mut self, name: &[u8], seen_at: i64) -> bool {
        if self.consumers.contains_key(name) {
            return false;
        }
        self.name_bytes += name.len();
        self.consumers.insert(name.into(), Consumer { seen_at, ..Consumer::default() });
        true
    }

    /// Notes that a consumer asked for something at `now`; true if it had to be added.
    pub(crate) fn see(&mut self, name: &[u8], now: i64) -> bool {
        let is_new = self.add_consumer(name, now);
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.seen_at = now;
        }
        is_new
    }

    /// Notes that a consumer got something.
    pub(crate) fn note_active(&mut self, name: &[u8], at: Option<i64>) {
        if let Some(consumer) = self.consumers.get_mut(name) {
            consumer.active_at = at;
        }
    }

    /// Removes a consumer; returns how many entries were pending for it, which are pending no more, `None` if there is
    /// no such consumer.
    pub(crate) fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        self.name_bytes -= name.len();
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry pending for `consumer`, and for nobody else. The consumer exists.
    pub(crate) fn assign(&mut self, id: StreamId, consumer: &[u8], at: i64, deliveries: u64) {
        let (name, _) = self.consumers.get_key_value(consumer).expect("INV-ST3: it was added");
        let name = Arc::clone(name);
        let record = Pending { consumer: name, delivered_at: at, deliveries };
        if let Some(old) = self.pending.insert(id, record)
            && let Some(old) = self.consumers.get_mut(&old.consumer)
        {
            old.pending.remove(&id);
        }
        if let Some(new) = self.consumers.get_mut(consumer) {
            new.pending.insert(id);
        }
    }

    /// Notes that an entry was delivered again to whom it is pending for.
    pub(crate) fn deliver_again(&mut self, id: StreamId, at: i64) {
        if let Some(record) = self.pending.get_mut(&id) {
            record.delivered_at = at;
            record.deliveries = record.deliveries.wrapping_add(1);
        }
    }

    /// Makes an entry pending no more; true if it was.
    pub(crate) fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(record) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumers.get_mut(&record.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// True if the group has yet to read the entry, or to acknowledge it.
    pub(crate) fn needs(&self, id: StreamId) -> bool {
        id > self.last_id || self.pending.contains_key(&id)
    }
}
