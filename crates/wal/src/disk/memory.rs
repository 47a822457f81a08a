//! A disk in memory that keeps only what it promised to keep.
//! Owns: [`MemoryDisk`]: what a power failure may leave of unsynced bytes and names, failed writes and fsyncs, a full
//! disk, flipped bits. Never: threads, clocks, chance of its own: everything follows from seeds it is given.
//! Called by the simulator and by tests.
//!
//! The model, from worst cases that real disks and kernels are known for:
//! - A power failure leaves of each unsynced write any of its 512-byte sectors, in any combination.
//! - Of names not synced with their directory it leaves a prefix of the changes (file systems keep a journal).
//! - After an fsync that failed, the bytes it should have made durable are still read, but a later fsync that
//!   succeeds does not make them durable (the kernel has marked those pages clean). Only writing them again helps.
//! - After a power failure, files and locks opened before it answer with errors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, LockError};

/// What survives or is lost as one.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are handles to the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    capacity_bytes: u64,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    unsynced_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// Counts power failures: what was opened before the last one is dead.
    power_cycle: u64,
    is_off: bool,
    bytes_until_off: Option<u64>,
    writes_until_failure: Option<u64>,
    syncs_until_failure: Option<u64>,
    syncs: u64,
}

#[derive(Debug, Default)]
struct Content {
    /// As a reader sees it.
    bytes: Vec<u8>,
    unsynced: Vec<Change>,
}

/// A write that a power failure may undo, whole or in part.
#[derive(Debug)]
struct Change {
    offset: usize,
    old: Vec<u8>,
    new: Vec<u8>,
    /// An fsync failed on it: no later fsync makes it durable.
    is_doomed: bool,
}

#[derive(Debug)]
enum NameChange {
    Set(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Set(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Set(path, _) | Self::Rename(path, _) | Self::Remove(path)) = self;
        path.parent() == Some(dir)
    }
}

impl MemoryDisk {
    /// An empty disk with room for `capacity_bytes`.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let state = State {
            capacity_bytes,
            files: BTreeMap::new(),
            next_file: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            locks: BTreeSet::new(),
            power_cycle: 0,
            is_off: false,
            bytes_until_off: None,
            writes_until_failure: None,
            syncs_until_failure: None,
            syncs: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power fails and comes back: what was not synced survives or not as `seed` has it.
    pub fn power_loss(&self, seed: u64) {
        self.state.lock().power_loss(&mut Chance(seed));
    }

    /// The machine stays on, the process is gone: nothing is lost, but files and locks it had open are dead.
    pub fn process_exit(&self) {
        let mut state = self.state.lock();
        state.power_cycle += 1;
        state.restore_power();
        state.forget_unlinked();
    }

    /// After `bytes` more written bytes, everything fails until [`MemoryDisk::power_loss`].
    pub fn cut_power_after(&self, bytes: u64) {
        self.state.lock().bytes_until_off = Some(bytes);
    }

    /// The write after `writes` more ones fails halfway.
    pub fn fail_write_after(&self, writes: u64) {
        self.state.lock().writes_until_failure = Some(writes);
    }

    /// The fsync (of a file) after `syncs` more ones fails.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.state.lock().syncs_until_failure = Some(syncs);
    }

    /// Changes how much fits; what is there stays.
    pub fn set_capacity_bytes(&self, capacity_bytes: u64) {
        self.state.lock().capacity_bytes = capacity_bytes;
    }

    /// Flips a bit of a file, durably. False if there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> bool {
        let mut state = self.state.lock();
        let Some(id) = state.names.get(path).copied() else { return false };
        let byte = state
            .files
            .get_mut(&id)
            .and_then(|content| content.bytes.get_mut(usize::try_from(offset).ok()?));
        match byte {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                true
            }
            None => false,
        }
    }

    /// A file's bytes as a reader sees them.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let id = state.names.get(path)?;
        state.files.get(id).map(|content| content.bytes.clone())
    }

    /// Replaces a file's bytes durably, as somebody with an editor would; makes the file if it is not there.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let id = match state.names.get(path) {
            Some(id) => *id,
            None => state.new_file(),
        };
        state.files.insert(id, Content { bytes, unsynced: Vec::new() });
        state.names.insert(path.to_owned(), id);
        state.durable_names.insert(path.to_owned(), id);
    }

    /// The paths of all files, in order.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }

    /// Bytes that its files take.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used_bytes()
    }

    /// Fsyncs of files so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }
}

impl State {
    fn new_file(&mut self) -> u64 {
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, Content::default());
        id
    }

    fn refuse_if_off(&self, power_cycle: u64) -> io::Result<()> {
        if self.is_off || power_cycle != self.power_cycle {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    /// Lets go of contents that no name leads to, now or after a power failure. Nobody may have a file open.
    fn forget_unlinked(&mut self) {
        let pending = self.unsynced_names.iter().filter_map(|change| match change {
            NameChange::Set(_, id) => Some(*id),
            NameChange::Rename(..) | NameChange::Remove(_) => None,
        });
        let linked: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.durable_names.values())
            .copied()
            .chain(pending)
            .collect();
        self.files.retain(|id, _| linked.contains(id));
    }

    fn used_bytes(&self) -> u64 {
        // No file has two names.
        self.names.values().filter_map(|id| self.files.get(id)).map(|c| c.bytes.len() as u64).sum()
    }

    fn restore_power(&mut self) {
        self.is_off = false;
        self.bytes_until_off = None;
        self.writes_until_failure = None;
        self.syncs_until_failure = None;
        self.locks.clear();
    }

    fn power_loss(&mut self, chance: &mut Chance) {
        self.power_cycle += 1;
        self.restore_power();
        let survivors = chance.below(self.unsynced_names.len() as u64 + 1);
        let changes = std::mem::take(&mut self.unsynced_names);
        for change in changes.iter().take(usize::try_from(survivors).unwrap_or(usize::MAX)) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        for content in self.files.values_mut() {
            content.power_loss(chance);
        }
        let linked: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| linked.contains(id));
    }

    fn write(&mut self, id: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fails = countdown(&mut self.writes_until_failure);
        let mut taken = if fails { bytes.len() / 2 } else { bytes.len() };
        if let Some(left) = &mut self.bytes_until_off {
            if *left < taken as u64 {
                taken = usize::try_from(*left).unwrap_or(taken);
                self.is_off = true;
            }
            *left -= taken as u64;
        }
        self.put_bytes(id, &bytes[..taken], offset)?;
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if fails { Err(io::Error::other("the disk failed a write")) } else { Ok(()) }
    }

    /// Makes a file so long, if it is shorter and there is room.
    fn grow(&mut self, id: u64, length: usize) -> io::Result<()> {
        let old = self.files.get(&id).ok_or(io::ErrorKind::NotFound)?.bytes.len();
        if length <= old {
            return Ok(());
        }
        if self.used_bytes() + (length - old) as u64 > self.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let content = self.files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        content.bytes.resize(length, 0);
        Ok(())
    }

    fn put_bytes(&mut self, id: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset + bytes.len();
        self.grow(id, end)?;
        let content = self.files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let old = content.bytes[offset..end].to_vec();
        content.bytes[offset..end].copy_from_slice(bytes);
        content.unsynced.push(Change { offset, old, new: bytes.to_vec(), is_doomed: false });
        Ok(())
    }

    fn sync(&mut self, id: u64) -> io::Result<()> {
        self.syncs += 1;
        let fails = countdown(&mut self.syncs_until_failure);
        let content = self.files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        if fails {
            content.unsynced.iter_mut().for_each(|change| change.is_doomed = true);
            return Err(io::Error::other("the disk failed an fsync"));
        }
        content.sync();
        Ok(())
    }
}

impl Change {
    /// Where `later` overlaps, its bytes stand on the disk, whether this change is undone or not.
    fn settle(&mut self, later: &Self) {
        let start = self.offset.max(later.offset);
        let end = (self.offset + self.new.len()).min(later.offset + later.new.len());
        if start < end {
            let durable = &later.new[start - later.offset..end - later.offset];
            let own = start - self.offset..end - self.offset;
            self.old[own.clone()].copy_from_slice(durable);
            self.new[own].copy_from_slice(durable);
        }
    }
}

impl Content {
    /// What is not doomed becomes durable, and with it what it was written over.
    fn sync(&mut self) {
        let changes = std::mem::take(&mut self.unsynced);
        let (doomed, kept): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.is_doomed);
        self.unsynced = doomed;
        // Doomed changes are older than those kept: what is durable now is also what undoing them leaves.
        for change in &mut self.unsynced {
            for later in &kept {
                change.settle(later);
            }
        }
        self.unsynced.retain(|change| change.old != change.new);
    }

    fn power_loss(&mut self, chance: &mut Chance) {
        let changes = std::mem::take(&mut self.unsynced);
        for change in changes.iter().rev() {
            self.bytes[change.offset..change.offset + change.old.len()]
                .copy_from_slice(&change.old);
        }
        for change in changes.iter().filter(|change| !change.is_doomed) {
            let end = change.offset + change.new.len();
            let mut at = change.offset;
            while at < end {
                let sector_end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                if chance.below(2) == 0 {
                    let new = &change.new[at - change.offset..sector_end - change.offset];
                    self.bytes[at..sector_end].copy_from_slice(new);
                }
                at = sector_end;
            }
        }
    }
}

/// Counts down to the one that fails.
fn countdown(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(count) => {
            *count -= 1;
            false
        }
        None => false,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): all the chance there is here comes from the caller's seed.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        let state = self.state.lock();
        state.refuse_if_off(state.power_cycle)
    }

    fn lock(&self, path: &Path) -> Result<MemoryLock, LockError> {
        let mut state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(LockError::Held { pid: None });
        }
        Ok(MemoryLock { disk: self.clone(), path: path.to_owned(), power_cycle: state.power_cycle })
    }

    fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        let mut state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        let id = state.new_file();
        state.change_name(NameChange::Set(path.to_owned(), id));
        Ok(MemoryFile { disk: self.clone(), id, power_cycle: state.power_cycle })
    }

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        let state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(MemoryFile { disk: self.clone(), id, power_cycle: state.power_cycle })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        let changes = std::mem::take(&mut state.unsynced_names);
        let (synced, rest): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.is_in(dir));
        state.unsynced_names = rest;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.refuse_if_off(state.power_cycle)?;
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()))
    }
}

/// An open file of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
    power_cycle: u64,
}

impl DiskFile for MemoryFile {
    fn size_bytes(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        state.refuse_if_off(self.power_cycle)?;
        let content = state.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(content.bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state.lock();
        state.refuse_if_off(self.power_cycle)?;
        let content = state.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = content.bytes.get(offset..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.refuse_if_off(self.power_cycle)?;
        state.write(self.id, bytes, offset)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.refuse_if_off(self.power_cycle)?;
        state.grow(self.id, usize::try_from(size).map_err(io::Error::other)?)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.refuse_if_off(self.power_cycle)?;
        state.sync(self.id)
    }
}

/// A lock of a [`MemoryDisk`]; given up when dropped.
#[derive(Debug)]
pub struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
    power_cycle: u64,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.power_cycle == self.power_cycle {
            state.locks.remove(&self.path);
        }
    }
}
