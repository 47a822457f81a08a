//! The running dump of a store.
//! Owns: which slots of which database are written, and the bytes that wait. Never: changes a table.

use keystead_resp::Protocol;
use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{DatabaseId, SLOT_COUNT, Slot};

use crate::database::{Database, Slots};
use crate::entry::{Entry, Value};
use crate::functions::{Functions, put_library};
use crate::scripts::Scripts;
use crate::table::Table;
use crate::waiters::{WaiterId, Waiters};
use crate::watch::{KeyAtWatch, Watch, WatchId, Watches};
use crate::wire::{put_bytes, put_var};

use super::wire::{
    MAGIC, RECORD_COLLECTION, RECORD_PART, RECORD_STRING, SECTION_ANSWER, SECTION_ARRIVAL,
    SECTION_BYTES_TARGET, SECTION_END, SECTION_FUNCTIONS, SECTION_FUNCTIONS_VERSION,
    SECTION_HEADER, SECTION_KEYS, SECTION_SCRIPT, SECTION_WAITER, SECTION_WATCH, VERSION,
    begin_section, end_section, put_kind,
};

/// Whether a dump is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpStep {
    /// Call again.
    More,
    /// The last byte has been written; the dump is over.
    Done,
}

/// A dump that began and is not complete: what concerns all databases.
pub(crate) struct RunningDump {
    /// What the snapshot begins with: its head and the watches.
    head: Waiting,
    /// Of the databases whose part is complete.
    keys_written: u64,
    watches: u64,
    waiters: u64,
}

/// The part of a running dump that holds the keys of one database.
pub(crate) struct Dump {
    /// The database's number when the dump began.
    pub(crate) database: DatabaseId,
    /// One bit per slot: written.
    written: Box<[u64; SLOT_COUNT as usize / 64]>,
    /// Slots below it are written.
    next: u16,
    /// Slots that had to be written early.
    pending: Waiting,
    /// The tables, if the database was cleared meanwhile.
    frozen: Option<Slots>,
    keys_written: u64,
}

/// Bytes that wait for the next step.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Bytes that have gone out.
    out: usize,
}

impl Waiting {
    const fn len(&self) -> usize {
        self.bytes.len() - self.out
    }

    fn drain(&mut self, out: &mut Vec<u8>, bytes_target: usize) {
        let len = self.len().min(bytes_target);
        out.extend_from_slice(&self.bytes[self.out..self.out + len]);
        self.out += len;
        if self.out == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(SECTION_BYTES_TARGET * 4);
            self.out = 0;
        }
    }
}

impl RunningDump {
    /// A dump of the state as it is now, a part of which each database with keys is given.
    /// Watches, waiters, scripts and functions go out at once: they are few.
    pub(crate) fn begin(
        (watches, waiters, scripts, functions): (&Watches, &Waiters, &Scripts, &Functions),
        databases: &mut [Database],
    ) -> Self {
        let mut head = Vec::with_capacity(1024);
        head.extend_from_slice(MAGIC);
        let header = begin_section(&mut head, SECTION_HEADER);
        head.extend_from_slice(&VERSION.to_le_bytes());
        end_section(&mut head, header);
        for (id, watch) in watches.iter() {
            write_watch(&mut head, id, watch);
        }
        write_waiters(&mut head, waiters);
        for (is_loaded, text) in scripts.iter() {
            let section = begin_section(&mut head, SECTION_SCRIPT);
            head.push(u8::from(is_loaded));
            put_bytes(&mut head, text);
            end_section(&mut head, section);
        }
        if functions.version() > 0 {
            let section = begin_section(&mut head, SECTION_FUNCTIONS_VERSION);
            head.extend_from_slice(&functions.version().to_le_bytes());
            end_section(&mut head, section);
        }
        for (name, library) in functions.iter() {
            let section = begin_section(&mut head, SECTION_FUNCTIONS);
            put_library(&mut head, name, library);
            end_section(&mut head, section);
        }
        for (id, database) in (0u16..).map(DatabaseId).zip(databases) {
            let has_keys = database.counts.keys > 0;
            database.dump = has_keys.then(|| Box::new(Dump::begin(id)));
        }
        let head = Waiting { bytes: head, out: 0 };
        let (watches, waiters) = (watches.len() as u64, waiters.len() as u64);
        Self { head, keys_written: 0, watches, waiters }
    }

    /// Appends about `bytes_target` bytes to `out`: the head, then one database after the other.
    pub(crate) fn step(
        &mut self,
        databases: &mut [Database],
        out: &mut Vec<u8>,
        bytes_target: usize,
    ) -> DumpStep {
        let end = out.len() + bytes_target;
        self.head.drain(out, bytes_target);
        // A part goes out whole before the next one, in the order that the databases had: SWAPDB changes their places, and
        // what waits of a part may have gone out as far as the midst of a section.
        while let Some(database) = databases.iter_mut().min_by_key(|database| database.dump_order())
            && let Some(dump) = &mut database.dump
        {
            if dump.step(&database.slots, out, end) == DumpStep::More {
                return DumpStep::More;
            }
            self.keys_written += dump.keys_written;
            database.dump = None;
        }
        if out.len() >= end {
            return DumpStep::More;
        }
        self.write_end(out);
        DumpStep::Done
    }

    /// Bytes that wait in memory for the next step, apart from those of single databases.
    pub(crate) const fn pending_bytes(&self) -> usize {
        self.head.len()
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        let end = begin_section(out, SECTION_END);
        out.extend_from_slice(&self.keys_written.to_le_bytes());
        out.extend_from_slice(&self.watches.to_le_bytes());
        out.extend_from_slice(&self.waiters.to_le_bytes());
        end_section(out, end);
    }
}

impl Dump {
    fn begin(database: DatabaseId) -> Self {
        Self {
            database,
            written: Box::new([0; SLOT_COUNT as usize / 64]),
            next: 0,
            pending: Waiting::default(),
            frozen: None,
            keys_written: 0,
        }
    }

    /// Writes the slot if that has not happened, since it is about to change (INV-D1).
    pub(crate) fn before_change(&mut self, slot: Slot, table: &Table) {
        if self.frozen.is_some() || self.is_written(slot) {
            return;
        }
        self.mark_written(slot);
        self.keys_written += table.len() as u64;
        write_slot(&mut self.pending.bytes, (self.database, slot), table);
    }

    /// Keeps the tables of a database that is being cleared. A second clear keeps the first tables.
    pub(crate) fn freeze(&mut self, slots: Slots) {
        self.frozen.get_or_insert(slots);
    }

    /// Appends to `out` until it is `end` bytes long or a little longer: what waits first, then whole slots.
    fn step(&mut self, live: &Slots, out: &mut Vec<u8>, end: usize) -> DumpStep {
        self.pending.drain(out, end.saturating_sub(out.len()));
        while out.len() < end {
            let slots = self.frozen.as_ref().unwrap_or(live);
            let first = Slot::new(self.next);
            let found = first
                .and_then(|first| slots.iter_from(first).find(|(slot, _)| !self.is_written(*slot)));
            let found = found.filter(|(slot, _)| {
                let mut rest = slots.iter_from(*slot).skip(1);
                !is_made(Mistake::SnapshotWithoutLastSlot)
                    || rest.any(|(slot, _)| !self.is_written(slot))
            });
            let Some((slot, table)) = found else { return DumpStep::Done };
            self.keys_written += table.len() as u64;
            write_slot(out, (self.database, slot), table);
            self.mark_written(slot);
            self.next = slot.number() + 1;
        }
        DumpStep::More
    }

    /// Bytes that wait in memory for the next step.
    pub(crate) const fn pending_bytes(&self) -> usize {
        self.pending.len()
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
    put_var(out, watch.keys().count() as u64);
    for (database, key, was) in watch.keys() {
        out.extend_from_slice(&database.0.to_le_bytes());
        out.push(u8::from(was == KeyAtWatch::Expired));
        put_bytes(out, key);
    }
    end_section(out, section);
}

fn write_waiters(out: &mut Vec<u8>, waiters: &Waiters) {
    let begin = |out: &mut Vec<u8>, kind: u8, id: WaiterId| {
        let section = begin_section(out, kind);
        for number in [id.home, id.life, id.number] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        section
    };
    for (id, waiter) in waiters.iter() {
        let section = begin(out, SECTION_WAITER, id);
        out.extend_from_slice(&waiter.arrival.to_le_bytes());
        out.extend_from_slice(&waiter.seen.0.to_le_bytes());
        out.extend_from_slice(&waiter.database.0.to_le_bytes());
        out.push(u8::from(waiter.is_suspended));
        out.push(if waiter.protocol == Protocol::Resp3 { 3 } else { 2 });
        put_bytes(out, &waiter.command);
        end_section(out, section);
    }
    for answer in waiters.answers() {
        let section = begin(out, SECTION_ANSWER, answer.id);
        out.extend_from_slice(&answer.at.0.to_le_bytes());
        put_bytes(out, &answer.reply);
        end_section(out, section);
    }
    if waiters.next_arrival() > 0 {
        let section = begin_section(out, SECTION_ARRIVAL);
        out.extend_from_slice(&waiters.next_arrival().to_le_bytes());
        end_section(out, section);
    }
}

fn write_slot(out: &mut Vec<u8>, place: (DatabaseId, Slot), table: &Table) {
    let mut writer = SlotWriter { start: 0, out, place, keys: table.len() as u64 };
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
    place: (DatabaseId, Slot),
    keys: u64,
}

impl SlotWriter<'_> {
    fn open(&mut self) {
        self.start = begin_section(self.out, SECTION_KEYS);
        let (database, slot) = self.place;
        self.out.extend_from_slice(&database.0.to_le_bytes());
        self.out.extend_from_slice(&slot.number().to_le_bytes());
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
