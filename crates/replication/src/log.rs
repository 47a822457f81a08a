//! A group's log in memory: the tail that raft reads, faithful to what the node's log has or will have.
//!
//! Owns: entries after the origin, hard state, configuration; implements raft's `Storage`. Never: touches
//! a disk. Whatever is appended here is handed to the node's log in the same turn.
//!
//! Memory and disk are let go of apart. Memory keeps the last few megabytes that were applied, for followers
//! that lag a little; the disk keeps everything behind the newest durable snapshot, for a restart. A follower that
//! lags behind what memory has is given a snapshot.
//!
//! INV-R2: entries are contiguous from `origin.index + 1`.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use keystead_types::UnixMillis;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};

use crate::entry::Origin;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GroupLog {
    /// What lies before the first entry in memory.
    origin: Origin,
    /// Up to here a durable snapshot, or the founding, has everything: the disk need not (INV-R3).
    floor: u64,
    /// Bytes appended since the process began, and what they were when the newest snapshot's dump began.
    appended_bytes: u64,
    snapshot_mark: u64,
    entries: VecDeque<Entry>,
    entries_bytes: usize,
    hard_state: HardState,
    /// Configuration as of the last applied entry.
    conf: ConfState,
    /// The newest snapshot that a follower could be given.
    snapshot: Option<Origin>,
    /// Set when raft asked for a snapshot newer than the one there is.
    is_snapshot_wanted: Cell<bool>,
}

impl GroupLog {
    pub(crate) fn new(origin: Origin, snapshot: Option<Origin>, hard_state: HardState) -> Self {
        let (conf, floor) = (origin.conf.clone(), origin.index);
        Self { origin, floor, hard_state, conf, snapshot, ..Self::default() }
    }

    pub(crate) fn first(&self) -> u64 {
        self.origin.index + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.origin.index + self.entries.len() as u64
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.entries_bytes
    }

    pub(crate) const fn conf(&self) -> &ConfState {
        &self.conf
    }

    pub(crate) fn set_conf(&mut self, conf: ConfState) {
        self.conf = conf;
    }

    pub(crate) const fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    pub(crate) const fn snapshot_origin(&self) -> Option<&Origin> {
        self.snapshot.as_ref()
    }

    /// True if an entry of the log changes the group's replicas.
    pub(crate) fn has_changes(&self) -> bool {
        self.entries.iter().any(|entry| entry.get_entry_type() != EntryType::EntryNormal)
    }

    /// The latest time stamped on an entry.
    pub(crate) fn stamped(&self) -> UnixMillis {
        self.entries.iter().map(crate::entry::stamp).max().unwrap_or_default()
    }

    /// True once after raft asked in vain for a snapshot.
    pub(crate) fn take_snapshot_wanted(&self) -> bool {
        self.is_snapshot_wanted.replace(false)
    }

    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.origin.index {
            return Some(self.origin.term);
        }
        let at = usize::try_from(index.checked_sub(self.first())?).ok()?;
        self.entries.get(at).map(|entry| entry.term)
    }

    /// The entry at `index`, if memory has it.
    pub(crate) fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.first())?).ok()?)
    }

    /// Appends entries; what the log had at their indexes and after is replaced.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(head) = entries.first() else { return };
        assert!(
            head.index > self.origin.index && head.index <= self.last() + 1,
            "INV-R2: entries from {} do not continue a log of {} to {}",
            head.index,
            self.first(),
            self.last()
        );
        while self.last() >= head.index {
            let dropped = self.entries.pop_back().expect("last() counts the entries");
            self.entries_bytes -= entry_bytes(&dropped);
        }
        for entry in entries {
            self.entries_bytes += entry_bytes(entry);
            self.appended_bytes += entry_bytes(entry) as u64;
            self.entries.push_back(entry.clone());
        }
    }

    /// Bytes appended since the process began.
    pub(crate) const fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    /// Bytes that a restart would have to replay, as far as they were appended since the process began.
    pub(crate) const fn bytes_since_snapshot(&self) -> u64 {
        self.appended_bytes - self.snapshot_mark
    }

    /// The first index that the disk must keep.
    pub(crate) const fn first_needed(&self) -> u64 {
        self.floor + 1
    }

    /// A snapshot of this replica's own state became durable; `mark` is what had been appended when it began.
    pub(crate) fn snapshot_taken(&mut self, snapshot: Origin, mark: u64) {
        assert!(
            snapshot.index >= self.floor,
            "INV-R3: a snapshot at {} takes the place of one at {}",
            snapshot.index,
            self.floor
        );
        self.floor = snapshot.index;
        self.snapshot_mark = mark;
        self.snapshot = Some(snapshot);
    }

    /// Lets go of the oldest entries up to and including `index`, from memory alone, until no more than
    /// `bytes_kept` are left.
    pub(crate) fn trim(&mut self, index: u64, bytes_kept: usize) {
        while self.entries_bytes > bytes_kept && self.first() <= index {
            let Some(dropped) = self.entries.pop_front() else { break };
            self.entries_bytes -= entry_bytes(&dropped);
            self.origin.index = dropped.index;
            self.origin.term = dropped.term;
        }
    }

    /// Copies the newest entries, about `bytes` of them, out of the buffers that they were read into. A restart reads
    /// whole segments: without it the few that stay after `trim` would keep tens of megabytes each.
    pub(crate) fn detach_newest(&mut self, bytes: usize) {
        let mut detached = 0;
        for entry in self.entries.iter_mut().rev() {
            entry.data = Bytes::copy_from_slice(&entry.data);
            entry.context = Bytes::copy_from_slice(&entry.context);
            detached += entry_bytes(entry);
            if detached > bytes {
                break;
            }
        }
    }

    /// Replaces everything by a snapshot received from the leader.
    pub(crate) fn restart_from(&mut self, origin: Origin) {
        self.entries.clear();
        self.entries_bytes = 0;
        self.conf = origin.conf.clone();
        self.snapshot = Some(origin.clone());
        self.floor = origin.index;
        self.snapshot_mark = self.appended_bytes;
        self.origin = origin;
    }
}

/// What an entry costs in memory, roughly.
fn entry_bytes(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + size_of::<Entry>()
}

impl Storage for GroupLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: self.conf.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(
            high <= self.last() + 1,
            "INV-R2: entries up to {high} asked of a log that ends at {}",
            self.last()
        );
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0u64;
        let from = usize::try_from(low - self.first()).expect("an index into memory");
        let count = usize::try_from(high - low).expect("an index into memory");
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += entry_bytes(entry) as u64;
            is_first || bytes <= bytes_max
        };
        Ok(self.entries.range(from..from + count).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.origin.index {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.term_of(index).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        match &self.snapshot {
            // A follower refuses a snapshot that was taken before it became one.
            Some(origin)
                if origin.index >= request_index.max(self.origin.index)
                    && (origin.conf.voters.contains(&to) || origin.conf.learners.contains(&to)) =>
            {
                let mut snapshot = Snapshot::default();
                let metadata = snapshot.mut_metadata();
                metadata.index = origin.index;
                metadata.term = origin.term;
                metadata.set_conf_state(origin.conf.clone());
                Ok(snapshot)
            }
            _ => {
                self.is_snapshot_wanted.set(true);
                Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> Entry {
        Entry { index, term: 1, data: vec![0; 100].into(), ..Entry::default() }
    }

    fn log_of(count: u64) -> GroupLog {
        let mut log = GroupLog::new(Origin::default(), None, HardState::default());
        (1..=count).for_each(|index| log.append(&[entry(index)]));
        log
    }

    /// INV-R2.
    #[test]
    #[should_panic(expected = "INV-R2")]
    fn an_entry_that_leaves_a_gap_is_refused() {
        log_of(3).append(&[entry(5)]);
    }

    /// INV-R3.
    #[test]
    fn what_memory_lets_go_of_the_disk_keeps() {
        let mut log = log_of(10);
        log.trim(8, 0);
        assert_eq!((log.first(), log.first_needed()), (9, 1));
        log.snapshot_taken(Origin { index: 6, term: 1, ..Origin::default() }, 0);
        assert_eq!((log.first(), log.first_needed()), (9, 7));
    }

    #[test]
    fn what_stays_after_a_restart_keeps_no_segment_in_memory() {
        let segment = Bytes::from(vec![7; 10_000]);
        let mut log = GroupLog::new(Origin::default(), None, HardState::default());
        for index in 1..=10u64 {
            let at = usize::try_from(index - 1).unwrap() * 1_000;
            let data = segment.slice(at..at + 1_000);
            log.append(&[Entry { index, term: 1, data, ..Entry::default() }]);
        }
        log.detach_newest(3_000);
        log.trim(10, 3_000);
        assert_eq!(log.first(), 9, "two entries and their overhead stay");
        assert_eq!(log.entries[0].data, segment.slice(8_000..9_000));
        assert!(segment.is_unique(), "and none of them is a part of what was read");
    }

    /// INV-R3.
    #[test]
    #[should_panic(expected = "INV-R3")]
    fn an_older_snapshot_takes_no_newer_ones_place() {
        let mut log = log_of(10);
        log.snapshot_taken(Origin { index: 6, term: 1, ..Origin::default() }, 0);
        log.snapshot_taken(Origin { index: 5, term: 1, ..Origin::default() }, 0);
    }
}
