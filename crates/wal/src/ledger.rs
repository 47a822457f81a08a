//! What lies in which segment: the memory behind purging and carrying forward.
//! Owns: each group's latest state and snapshot, the highest living entry of each group in each segment.
//! Never: I/O, entries' payloads. Called by `log` for what is appended and by `recovery` for what is read, so that
//! both come to the same picture.
//!
//! INV-WAL1: a segment is let go only when no group needs an entry in it: every entry in it lies below both what
//! the replication layer asked to keep and the entry after the group's snapshot.
//! INV-WAL2: segments go oldest first, so the log that remains is a suffix of what was written.
//! INV-WAL3: a group's entries follow each other without a gap.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{LogIndex, ShardId};

use crate::batch::{Batch, Note};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<ShardId, Group>,
    /// Oldest first; the last one is the segment that is written to.
    segments: VecDeque<SegmentUse>,
}

#[derive(Debug, Default)]
struct Group {
    state: Option<Vec<u8>>,
    snapshot: Option<(LogIndex, Vec<u8>)>,
    /// The last entry, or the snapshot if there is none after it.
    last: LogIndex,
    /// What the replication layer wants to keep, from here on.
    first_needed: LogIndex,
}

impl Group {
    /// INV-WAL1: the first entry that must stay.
    fn floor(&self) -> LogIndex {
        let after_snapshot = self.snapshot.as_ref().map_or(LogIndex(1), |(index, _)| index.next());
        self.first_needed.min(after_snapshot)
    }
}

/// A segment and the entries in it that may still be needed.
#[derive(Debug)]
struct SegmentUse {
    sequence: u64,
    path: PathBuf,
    size_bytes: u64,
    highest: BTreeMap<ShardId, LogIndex>,
}

/// A segment that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its file.
    pub path: PathBuf,
    /// What removing it frees.
    pub size_bytes: u64,
}

/// A group whose entries keep the oldest segment from being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The group.
    pub group: ShardId,
    /// A snapshot up to here (and a purge that says so) sets the segment free.
    pub through: LogIndex,
}

impl Ledger {
    /// From now on, what is noted lies in this segment.
    pub(crate) fn begin_segment(&mut self, sequence: u64, path: PathBuf, size_bytes: u64) {
        self.segments.push_back(SegmentUse {
            sequence,
            path,
            size_bytes,
            highest: BTreeMap::new(),
        });
    }

    /// Takes over what a batch says.
    pub(crate) fn note_batch(&mut self, batch: &Batch) {
        for note in batch.notes() {
            match note {
                Note::Entries { group, first, last } => self.entries(*group, *first, *last),
                Note::State { group, payload } => self.state(*group, batch.payload(payload)),
                Note::Snapshot { group, index, payload } => {
                    self.snapshot(*group, *index, batch.payload(payload));
                }
                Note::Installed { group, index, payload } => {
                    self.installed(*group, *index, batch.payload(payload));
                }
                Note::Removed { group } => self.removed(*group),
            }
        }
    }

    /// Checks INV-WAL3 for a batch that is about to be written.
    ///
    /// # Panics
    /// If the batch would leave a gap: recovery would refuse such a log, so it must not come to be.
    pub(crate) fn assert_follows(&self, batch: &Batch) {
        // Where groups end that this batch has touched already; few, so a list does.
        let mut ends: Vec<(ShardId, LogIndex)> = Vec::new();
        let known =
            |group: &ShardId| self.groups.get(group).map_or(LogIndex(0), |known| known.last);
        for note in batch.notes() {
            let group = note.group();
            let touched = ends.iter().rev().find(|(touched, _)| *touched == group);
            let before = touched.map_or_else(|| known(&group), |(_, end)| *end);
            let end = match note {
                Note::Entries { first, last, .. } => {
                    assert!(
                        first.0 > 0 && *first <= before.next(),
                        "INV-WAL3: entry {first} of {group} after {before}"
                    );
                    *last
                }
                Note::Snapshot { index, .. } => before.max(*index),
                Note::Installed { index, .. } => *index,
                Note::Removed { .. } => LogIndex(0),
                Note::State { .. } => continue,
            };
            ends.push((group, end));
        }
    }

    pub(crate) fn entries(&mut self, group: ShardId, first: LogIndex, last: LogIndex) {
        let known = self.groups.entry(group).or_default();
        if first <= known.last {
            self.forget_from(group, first);
        }
        self.groups.entry(group).or_default().last = last;
        if let Some(segment) = self.segments.back_mut() {
            segment.highest.insert(group, last);
        }
    }

    pub(crate) fn state(&mut self, group: ShardId, payload: &[u8]) {
        let state = self.groups.entry(group).or_default().state.get_or_insert_default();
        state.clear();
        state.extend_from_slice(payload);
    }

    pub(crate) fn snapshot(&mut self, group: ShardId, index: LogIndex, payload: &[u8]) {
        let known = self.groups.entry(group).or_default();
        known.snapshot = Some((index, payload.to_vec()));
        known.last = known.last.max(index);
    }

    pub(crate) fn installed(&mut self, group: ShardId, index: LogIndex, payload: &[u8]) {
        self.forget_from(group, LogIndex(0));
        let known = self.groups.entry(group).or_default();
        known.snapshot = Some((index, payload.to_vec()));
        known.last = index;
    }

    pub(crate) fn removed(&mut self, group: ShardId) {
        self.forget_from(group, LogIndex(0));
        self.groups.remove(&group);
    }

    /// Entries from `first` on are replaced or dropped: they keep no segment alive.
    fn forget_from(&mut self, group: ShardId, first: LogIndex) {
        for segment in &mut self.segments {
            if let Some(highest) = segment.highest.get_mut(&group)
                && *highest >= first
            {
                // This may overstate what is left (the segment may hold only later entries). That keeps a
                // segment longer than needed, never shorter.
                if first.0 <= 1 {
                    segment.highest.remove(&group);
                } else {
                    *highest = LogIndex(first.0 - 1);
                }
            }
        }
    }

    /// Puts every group's latest state and snapshot into `carry`, for the head of a new segment.
    pub(crate) fn carry_forward(&self, carry: &mut Batch) {
        for (group, known) in &self.groups {
            // As a snapshot of its own, even if it was installed: the entries that came after it must stay.
            if let Some((index, payload)) = &known.snapshot {
                carry.push_snapshot(*group, *index, payload);
            }
            if let Some(state) = &known.state {
                carry.push_state(*group, state);
            }
        }
    }

    /// Takes over what the replication layer needs. What it does not name stays as it was.
    pub(crate) fn need_from(&mut self, first_needed: &BTreeMap<ShardId, LogIndex>) {
        for (group, first) in first_needed {
            if let Some(known) = self.groups.get_mut(group) {
                known.first_needed = *first;
            }
        }
    }

    /// Takes out the oldest segments before `limit` that nobody needs (INV-WAL1, INV-WAL2).
    pub(crate) fn retire_before(&mut self, limit: u64) -> Vec<Retired> {
        let mut retired = Vec::new();
        while let Some(oldest) = self.segments.front()
            && oldest.sequence < limit
            && (self.pins_of(oldest).next().is_none() || is_made(Mistake::PurgePastSnapshot))
            && let Some(oldest) = self.segments.pop_front()
        {
            retired.push(Retired { path: oldest.path, size_bytes: oldest.size_bytes });
        }
        retired
    }

    /// The group that keeps the oldest segment, if it is not the one written to.
    pub(crate) fn oldest_pin(&self) -> Option<Pin> {
        let oldest = self.segments.front().filter(|_| self.segments.len() > 1)?;
        self.pins_of(oldest).next()
    }

    fn pins_of<'a>(&'a self, segment: &'a SegmentUse) -> impl Iterator<Item = Pin> + 'a {
        segment.highest.iter().filter_map(|(group, highest)| {
            let known = self.groups.get(group)?;
            (*highest >= known.floor()).then_some(Pin { group: *group, through: *highest })
        })
    }

    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }
}
