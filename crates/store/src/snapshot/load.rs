//! Reading a snapshot back as it arrives.
//! Owns: the checks. Never: trusts a byte; damage is an error, never a panic, and never more memory
//! than the section that is being read.

use keystead_resp::{Protocol, RunDecoder};
use keystead_types::limits::DATABASES_MAX;
use keystead_types::{DatabaseId, Slot, UnixMillis};
use thiserror::Error;

use crate::command::{self, Handler};
use crate::entry::Entry;
use crate::functions::read_library;
use crate::keyspace::Keyspace;
use crate::store::{Store, StoreConfig};
use crate::value::Collection;
use crate::waiters::{Answer, Fate, Waiter, WaiterId};
use crate::watch::{KeyAtWatch, Watch, WatchId};
use crate::wire::WireReader;

use super::wire::{
    self, MAGIC, RECORD_COLLECTION, RECORD_PART, RECORD_STRING, SECTION_ANSWER, SECTION_ARRIVAL,
    SECTION_BYTES_MAX, SECTION_END, SECTION_FUNCTIONS, SECTION_FUNCTIONS_VERSION, SECTION_HEAD,
    SECTION_HEADER, SECTION_KEYS, SECTION_SCRIPT, SECTION_TAIL, SECTION_WAITER, SECTION_WATCH,
    VERSION, VERSION_WITHOUT_DATABASES, VERSION_WITHOUT_WAITERS,
};

const PARTS_MISSING: &str = "a collection has fewer parts than it says";

/// Why a snapshot cannot be loaded. Each names the byte of the stream where the section starts.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The first bytes are not a snapshot's.
    #[error(
        "this is no keystead snapshot: it does not begin with KEYSTEAD; check which file was given"
    )]
    NotASnapshot,
    /// A format that this version does not read.
    #[error(
        "the snapshot has format {found}, this version reads format {known}; use the version that wrote it"
    )]
    Version {
        /// The snapshot's format.
        found: u16,
        /// The format that is read here.
        known: u16,
    },
    /// The checksum of a section does not match.
    #[error(
        "the snapshot is damaged: wrong checksum of the section at byte {offset}; take another copy"
    )]
    Checksum {
        /// Where the section starts.
        offset: u64,
    },
    /// A section claims to be longer than any can be.
    #[error(
        "the snapshot is damaged: the section at byte {offset} claims {len} bytes; take another copy"
    )]
    SectionTooLong {
        /// Where the section starts.
        offset: u64,
        /// What it claims.
        len: u64,
    },
    /// The checksum matches but the content makes no sense.
    #[error("the snapshot is malformed in the section at byte {offset}: {what}; take another copy")]
    Malformed {
        /// Where the section starts.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The last section is missing.
    #[error("the snapshot ends after {bytes} bytes, before its last section; take another copy")]
    Incomplete {
        /// Bytes seen.
        bytes: u64,
    },
}

/// Builds a store from the bytes of a snapshot, in pieces of any size.
pub struct Loader {
    keyspace: Keyspace,
    /// Bytes that came but do not make a whole section yet.
    buffer: Vec<u8>,
    /// Offset in the stream of the buffer's first byte.
    offset: u64,
    stage: Stage,
    version: u16,
    open: Option<OpenCollection>,
    /// Put in place at the end: loading a key is no change of it.
    watches: Vec<(WatchId, Watch)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Magic,
    Header,
    Body,
    Ended,
}

/// A collection whose parts are being read; it may go on in the next section.
struct OpenCollection {
    key: Vec<u8>,
    expiry: Option<UnixMillis>,
    collection: Box<Collection>,
    missing: u64,
}

impl Loader {
    /// A loader for a store with this configuration.
    #[must_use]
    pub fn new(config: StoreConfig) -> Self {
        Self {
            keyspace: Keyspace::new(config),
            buffer: Vec::new(),
            offset: 0,
            stage: Stage::Magic,
            version: VERSION,
            open: None,
            watches: Vec::new(),
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they are not the continuation of an undamaged snapshot. The loader is of no use after.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while let Some(len) = self.consume(&buffer[at..])? {
            at += len;
            self.offset += len as u64;
        }
        self.buffer = buffer;
        self.buffer.drain(..at);
        Ok(())
    }

    /// The store, once the last section has been read.
    ///
    /// # Errors
    /// [`LoadError::Incomplete`] if it has not.
    pub fn finish(mut self) -> Result<Store, LoadError> {
        if self.stage != Stage::Ended || !self.buffer.is_empty() {
            return Err(LoadError::Incomplete { bytes: self.offset + self.buffer.len() as u64 });
        }
        self.keyspace.select(DatabaseId::FIRST);
        for (id, watch) in self.watches.drain(..) {
            self.keyspace.watches.restore(id, watch);
        }
        Ok(Store::from_keyspace(self.keyspace))
    }

    /// Reads one section from the front of `bytes`; `None` if it is not all there.
    fn consume(&mut self, bytes: &[u8]) -> Result<Option<usize>, LoadError> {
        if self.stage == Stage::Magic {
            let Some(magic) = bytes.first_chunk::<8>() else {
                let is_prefix = MAGIC.starts_with(bytes);
                return if is_prefix { Ok(None) } else { Err(LoadError::NotASnapshot) };
            };
            if magic != MAGIC {
                return Err(LoadError::NotASnapshot);
            }
            self.stage = Stage::Header;
            return Ok(Some(MAGIC.len()));
        }
        if self.stage == Stage::Ended && !bytes.is_empty() {
            return Err(self.malformed("bytes after the last section"));
        }
        let Some(&[kind, a, b, c, d]) = bytes.first_chunk::<SECTION_HEAD>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > SECTION_BYTES_MAX {
            return Err(LoadError::SectionTooLong { offset: self.offset, len: len as u64 });
        }
        let Some(tail) = bytes.get(SECTION_HEAD + len..SECTION_HEAD + len + SECTION_TAIL) else {
            return Ok(None);
        };
        let checked = &bytes[..SECTION_HEAD + len];
        if crc32c::crc32c(checked).to_le_bytes() != tail {
            return Err(LoadError::Checksum { offset: self.offset });
        }
        self.section(kind, WireReader(&checked[SECTION_HEAD..]))?;
        Ok(Some(checked.len() + SECTION_TAIL))
    }

    fn section(&mut self, kind: u8, payload: WireReader<'_>) -> Result<(), LoadError> {
        match (self.stage, kind) {
            (Stage::Header, SECTION_HEADER) => self.header(payload),
            (Stage::Body, SECTION_WATCH) => self.watch(payload).ok_or("watch cut short"),
            (Stage::Body, SECTION_SCRIPT) => self.script(payload).ok_or("script cut short"),
            (Stage::Body, SECTION_FUNCTIONS) => self.functions(payload),
            (Stage::Body, SECTION_WAITER) => self.waiter(payload),
            (Stage::Body, SECTION_ANSWER) => self.answer(payload).ok_or("answer cut short"),
            (Stage::Body, SECTION_ARRIVAL) => self.arrival(payload),
            (Stage::Body, SECTION_FUNCTIONS_VERSION) => self.functions_version(payload),
            (Stage::Body, SECTION_KEYS) => self.keys(payload),
            (Stage::Body, SECTION_END) => self.end(payload),
            (Stage::Header, _) => Err("the first section is not the header"),
            _ => Err("section of an unknown kind"),
        }
        .map_err(|what| self.malformed(what))?;
        match self.stage {
            Stage::Header => {
                let found = WireReader(payload.0).u16().unwrap_or(0);
                if !(VERSION_WITHOUT_DATABASES..=VERSION).contains(&found) {
                    return Err(LoadError::Version { found, known: VERSION });
                }
                self.version = found;
                self.stage = Stage::Body;
            }
            Stage::Body if kind == SECTION_END => self.stage = Stage::Ended,
            _ => {}
        }
        Ok(())
    }

    fn header(&self, mut payload: WireReader<'_>) -> Result<(), &'static str> {
        payload.u16().map(|_| ()).ok_or("header cut short")
    }

    fn script(&mut self, mut payload: WireReader<'_>) -> Option<()> {
        let is_loaded = payload.byte()? != 0;
        let text = payload.bytes()?;
        let name = keystead_script::sha1_hex(text);
        if is_loaded {
            self.keyspace.scripts.loaded(&name, text).then_some(())
        } else {
            self.keyspace.scripts.evaluated(&name, text);
            Some(())
        }
    }

    fn functions(&mut self, mut payload: WireReader<'_>) -> Result<(), &'static str> {
        let read = read_library(&mut payload, &mut self.keyspace.functions);
        read.filter(|()| payload.is_empty()).ok_or("library cut short, or there twice")
    }

    fn functions_version(&mut self, mut payload: WireReader<'_>) -> Result<(), &'static str> {
        self.keyspace.functions.set_version(payload.u64().ok_or("version cut short")?);
        Ok(())
    }

    fn watch(&mut self, mut payload: WireReader<'_>) -> Option<()> {
        let id = WatchId(payload.u64()?);
        let since = UnixMillis(payload.u64()?);
        let is_dirty = payload.byte()? != 0;
        let mut watch = Watch::new(since, is_dirty);
        for _ in 0..payload.var()? {
            let database = self.database(&mut payload)?;
            let was = KeyAtWatch::of(payload.byte()? == 0);
            watch.add(database, payload.bytes()?, was);
        }
        self.watches.push((id, watch));
        payload.is_empty().then_some(())
    }

    /// The number that stands before what lies in a database.
    fn database(&self, payload: &mut WireReader<'_>) -> Option<DatabaseId> {
        if self.version == VERSION_WITHOUT_DATABASES {
            return Some(DatabaseId::FIRST);
        }
        payload.u16().filter(|number| *number < DATABASES_MAX).map(DatabaseId)
    }

    fn waiter(&mut self, payload: WireReader<'_>) -> Result<(), &'static str> {
        let mut payload = payload;
        let (id, waiter) = read_waiter(&mut payload).ok_or("waiter cut short, or of no command")?;
        let waiters = &self.keyspace.waiters;
        let is_in_order = waiters.fate(id) != Fate::Waits && !waiters.is_taken(&waiter);
        if !payload.is_empty() || waiter.arrival == u64::MAX || !is_in_order {
            return Err("a waiter stands twice");
        }
        self.keyspace.waiters.add(id, waiter);
        Ok(())
    }

    fn answer(&mut self, mut payload: WireReader<'_>) -> Option<()> {
        let id = read_waiter_id(&mut payload)?;
        let at = UnixMillis(payload.u64()?);
        let reply = payload.bytes()?.into();
        self.keyspace.waiters.keep_answer(Answer { id, at, reply });
        payload.is_empty().then_some(())
    }

    fn arrival(&mut self, mut payload: WireReader<'_>) -> Result<(), &'static str> {
        let arrival = payload.u64().filter(|_| payload.is_empty()).ok_or("arrival cut short")?;
        let is_sound = self.keyspace.waiters.set_next_arrival(arrival);
        if is_sound { Ok(()) } else { Err("the next waiter would come before others") }
    }

    fn keys(&mut self, mut payload: WireReader<'_>) -> Result<(), &'static str> {
        const SHORT: &str = "record cut short";
        let database = self.database(&mut payload).ok_or("no such database")?;
        if self.open.is_some() && database != self.keyspace.selected() {
            return Err(PARTS_MISSING);
        }
        self.keyspace.select(database);
        let slot = payload.u16().and_then(Slot::new).ok_or("no such slot")?;
        let count = payload.var().ok_or(SHORT)?;
        // A count is a promise, not yet kept: believe it only as far as the section could hold keys.
        let believed = count.min(payload.0.len() as u64 / 2);
        self.keyspace.reserve(slot, u32::try_from(believed).unwrap_or(0));
        while !payload.is_empty() {
            let (kind, expiry) = wire::kind(&mut payload).ok_or(SHORT)?;
            let name = payload.bytes().ok_or(SHORT)?;
            if kind == RECORD_PART {
                self.part(name)?;
                continue;
            }
            if self.open.is_some() {
                return Err(PARTS_MISSING);
            }
            if Slot::of_key(name) != slot {
                return Err("a key lies in a slot that is not its own");
            }
            match kind {
                RECORD_STRING => {
                    let value = payload.bytes().ok_or(SHORT)?;
                    self.insert(slot, Entry::string(name, value, expiry))?;
                }
                RECORD_COLLECTION => {
                    let [code, form] = payload.array().ok_or(SHORT)?;
                    let missing = payload.var().ok_or(SHORT)?;
                    let begun = Collection::begin(&self.keyspace.hasher, code, form, missing);
                    let collection =
                        Box::new(begun.ok_or("a collection of an unknown kind or form")?);
                    let key = name.to_vec();
                    self.open = Some(OpenCollection { key, expiry, collection, missing });
                    self.close_if_whole()?;
                }
                _ => return Err("record of an unknown kind"),
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &[u8]) -> Result<(), &'static str> {
        let Some(open) = &mut self.open else { return Err("a part without its collection") };
        open.collection.add_part(&self.keyspace.hasher, part)?;
        open.missing -= 1;
        self.close_if_whole()
    }

    /// Puts the collection in its place if no part is missing.
    fn close_if_whole(&mut self) -> Result<(), &'static str> {
        let Some(open) = self.open.take_if(|open| open.missing == 0) else { return Ok(()) };
        if open.collection.is_empty() || !open.collection.is_whole() {
            return Err("a collection is not whole");
        }
        let OpenCollection { key, expiry, collection, .. } = open;
        self.insert(Slot::of_key(&key), Entry::boxed(&key, collection, expiry))
    }

    fn insert(&mut self, slot: Slot, entry: Entry) -> Result<(), &'static str> {
        if self.keyspace.load(slot, entry) { Ok(()) } else { Err("a key stands twice") }
    }

    fn end(&mut self, mut payload: WireReader<'_>) -> Result<(), &'static str> {
        let (keys, watches) = (payload.u64(), payload.u64());
        let waiters = if self.version > VERSION_WITHOUT_WAITERS { payload.u64() } else { Some(0) };
        if self.open.is_some() {
            return Err(PARTS_MISSING);
        }
        let is_level = keys == Some(self.keyspace.counts().keys)
            && watches == Some(self.watches.len() as u64)
            && waiters == Some(self.keyspace.waiters.len() as u64);
        if is_level { Ok(()) } else { Err("keys, watches or waiters are missing") }
    }

    const fn malformed(&self, what: &'static str) -> LoadError {
        LoadError::Malformed { offset: self.offset, what }
    }
}

fn read_waiter_id(payload: &mut WireReader<'_>) -> Option<WaiterId> {
    Some(WaiterId { home: payload.u64()?, life: payload.u64()?, number: payload.u64()? })
}

/// A waiter, with what follows from its command; `None` if that is not one which may wait.
fn read_waiter(payload: &mut WireReader<'_>) -> Option<(WaiterId, Waiter)> {
    let id = read_waiter_id(payload)?;
    let (arrival, seen) = (payload.u64()?, UnixMillis(payload.u64()?));
    let database = payload.u16().filter(|number| *number < DATABASES_MAX).map(DatabaseId)?;
    let [is_suspended, protocol] = payload.array()?;
    let protocol = if protocol == 3 { Protocol::Resp3 } else { Protocol::Resp2 };
    let command = payload.bytes()?;
    let (mut run, mut spans) = (RunDecoder::new(command), Vec::new());
    let args = run.next(&mut spans).ok()??;
    let row = command::resolve(args).ok()?;
    let Handler::Wait(kind) = row.handler else { return None };
    let keys = kind.keys_awaited(row, args).map(Box::from).collect();
    let (is_suspended, is_one) = (is_suspended != 0, run.offset() == command.len());
    let command = command.into();
    let waiter = Waiter { arrival, seen, is_suspended, database, kind, protocol, command, keys };
    is_one.then_some((id, waiter))
}
