//! The running dump of a store.
//! Owns: which slots are written, and the bytes that wait. Never: changes a table.

use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{SLOT_COUNT, Slot};

use crate::entry::{Entry, Value};
use crate::keyspace::{Keyspace, Slots};
use crate::table::Table;
use crate::watch::{KeyAtWatch, Watch, WatchId};
use crate::wire::{put_bytes, put_var};

use super::wire::{
    MAGIC, RECORD_COLLECTION, RECORD_PART, RECORD_STRING, SECTION_BYTES_TARGET, SECTION_END,
    SECTION_HEADER, SECTION_KEYS, SECTION_WATCH, VERSION, begin_section, end_section, put_kind,
};

/// Whether a dump is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpStep {
    /// Call again.
    More,
    /// The last byte has been written; the dump is over.
    Done,
}

/// A dump that began and is not complete.
pub(crate) struct Dump {
    /// One bit per slot: written.
    written: Box<[u64; SLOT_COUNT as usize / 64]>,
    /// Slots below it are written.
    next: u16,
    /// Bytes that wait for the next step: the head, and slots that had to be written early.
    pending: Vec<u8>,
    /// Bytes of `pending` that have gone out.
    pending_out: usize,
    /// The tables, if the store was cleared meanwhile.
    frozen: Option<Slots>,
    keys_written: u64,
    watches: u64,
}

impl Dump {
    /// A dump of the state as it is now. Watches go out at once: they are few and change often.
    pub(crate) fn begin(keyspace: &Keyspace) -> Self {
        let mut pending = Vec::with_capacity(1024);
        pending.extend_from_slice(MAGIC);
        let header = begin_section(&mut pending, SECTION_HEADER);
        pending.extend_from_slice(&VERSION.to_le_bytes());
        end_section(&mut pending, header);
        for (id, watch) in keyspace.watches.iter() {
            write_watch(&mut pending, id, watch);
        }
        Self {
            written: Box::new([0; SLOT_COUNT as usize / 64]),
            next: 0,
            pending,
            pending_out: 0,
            frozen: None,
            keys_written: 0,
            watches: keyspace.watches.len() as u64,
        }
    }

    /// Writes the slot if that has not happened, since it is about to change (INV-D1).
    pub(crate) fn before_change(&mut self, slot: Slot, table: &Table) {
        if self.frozen.is_some() || self.is_written(slot) {
            return;
        }
        self.mark_written(slot);
        self.keys_written += table.len() as u64;
        write_slot(&mut self.pending, slot, table);
    }

    /// Keeps the tables of a store that is being cleared. A second clear keeps the first tables.
    pub(crate) fn freeze(&mut self, slots: Slots) {
        self.frozen.get_or_insert(slots);
    }

    /// Appends about `bytes_target` bytes to `out`: what waits first, then whole slots.
    pub(crate) fn step(
        &mut self,
        live: &Slots,
        out: &mut Vec<u8>,
        bytes_target: usize,
    ) -> DumpStep {
        let start = out.len();
        self.drain_pending(out, bytes_target);
        while out.len() - start < bytes_target {
            let slots = self.frozen.as_ref().unwrap_or(live);
            let first = Slot::new(self.next);
            let found = first
                .and_then(|first| slots.iter_from(first).find(|(slot, _)| !self.is_written(*slot)));
            let found = found.filter(|(slot, _)| {
                let mut rest = slots.iter_from(*slot).skip(1);
                !is_made(Mistake::SnapshotWithoutLastSlot)
                    || rest.any(|(slot, _)| !self.is_written(slot))
            });
            let Some((slot, table)) = found else {
                self.write_end(out);
                return DumpStep::Done;
            };
            self.keys_written += table.len() as u64;
            write_slot(out, slot, table);
            self.mark_written(slot);
            self.next = slot.number() + 1;
        }
        DumpStep::More
    }

    /// Bytes that wait in memory for the next step.
    pub(crate) const fn pending_bytes(&self) -> usize {
        self.pending.len() - self.pending_out
    }

    fn drain_pending(&mut self, out: &mut Vec<u8>, bytes_target: usize) {
        let len = self.pending_bytes().min(bytes_target);
        out.extend_from_slice(&self.pending[self.pending_out..self.pending_out + len]);
        self.pending_out += len;
        if self.pending_out == self.pending.len() {
            self.pending.clear();
            self.pending.shrink_to(SECTION_BYTES_TARGET * 4);
            self.pending_out = 0;
        }
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        let end = begin_section(out, SECTION_END);
        out.extend_from_slice(&self.keys_written.to_le_bytes());
        out.extend_from_slice(&self.watches.to_le_bytes());
        end_section(out, end);
    }

    fn is_written(&self, slot: Slot) -> bool {
        slot.number() < self.next || self.written[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    fn mark_written(&mut self, slot: Slot) {
        assert!(!self.is_written(slot), "INV-D2: slot {slot} written twice");
        self.written[slot.index() / 64] |= 1 << (slot.index() % 64);
    }
}

fn write_watch(out: &mut Vec<u8>, id: WatchId, watch: &Watch) {
    let section = begin_section(out, SECTION_WATCH);
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&watch.since.0.to_le_bytes());
    out.push(u8::from(watch.is_dirty));
    put_var(out, watch.keys.len() as u64);
    for (key, was) in &watch.keys {
        out.push(u8::from(*was == KeyAtWatch::Expired));
        put_bytes(out, key);
    }
    end_section(out, section);
}

fn write_slot(out: &mut Vec<u8>, slot: Slot, table: &Table) {
    let mut writer = SlotWriter { start: 0, out, slot, keys: table.len() as u64 };
    writer.open();
    for entry in table.iter() {
        writer.entry(entry);
    }
    end_section(writer.out, writer.start);
}

/// Writes the sections of one slot.
struct SlotWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the open section starts.
    start: usize,
    slot: Slot,
    keys: u64,
}

impl SlotWriter<'_> {
    fn open(&mut self) {
        self.start = begin_section(self.out, SECTION_KEYS);
        self.out.extend_from_slice(&self.slot.number().to_le_bytes());
        put_var(self.out, self.keys);
    }

    /// Begins a new section where the open one is long enough. A record never crosses sections.
    fn cut(&mut self) {
        if self.out.len() - self.start > SECTION_BYTES_TARGET {
            end_section(self.out, self.start);
            self.open();
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.cut();
        match entry.value() {
            Value::String(bytes) => {
                put_kind(self.out, RECORD_STRING, entry.expiry());
                put_bytes(self.out, entry.key());
                put_bytes(self.out, bytes);
            }
            Value::Collection(collection) => {
                put_kind(self.out, RECORD_COLLECTION, entry.expiry());
                put_bytes(self.out, entry.key());
                self.out.extend_from_slice(&[collection.code(), collection.form()]);
                put_var(self.out, collection.part_count());
                collection.each_part(&mut |part| {
                    self.cut();
                    self.out.push(RECORD_PART);
                    put_bytes(self.out, part);
                });
            }
        }
    }
}
