//! What the records come to: each group's state, snapshot and entries, and the ledger beside them.
//! Owns: [`RecoveredGroup`], the meaning of each record. Never: I/O, or which blocks are valid (see `recovery`).
//! Called by `recovery`, block by block, with blocks that are whole.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use keystead_types::{LogIndex, ShardId};

use crate::error::WalError;
use crate::ledger::Ledger;
use crate::record::{Frame, RecordKind};
use crate::segment::Segment;

/// What the log held of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The latest hard state.
    pub state: Option<Bytes>,
    /// The latest snapshot: the last index it contains, and what was said about it.
    pub snapshot: Option<(LogIndex, Bytes)>,
    /// The entries after the snapshot, without a gap. Neighbours share a buffer of a few hundred kilobytes, and entries of
    /// several groups never do: a group that is done with its entries gives their memory back.
    pub entries: Vec<(LogIndex, Bytes)>,
}

/// Bytes of entries that share a buffer.
const ROOM_BYTES: usize = 256 * 1024;

/// The groups as the records make them.
#[derive(Default)]
pub(crate) struct Replay {
    groups: BTreeMap<ShardId, RecoveredGroup>,
    /// Where the next entries of each group are put.
    rooms: BTreeMap<ShardId, BytesMut>,
    ledger: Ledger,
}

impl Replay {
    pub(crate) fn begin_segment<F>(&mut self, segment: &Segment<F>) {
        self.ledger.begin_segment(segment.sequence, segment.path.clone(), segment.size_bytes);
    }

    pub(crate) fn block(&mut self, bytes: &[u8], records: &[(usize, Frame)]) {
        let mut run: Option<(ShardId, LogIndex, LogIndex)> = None;
        for (offset, frame) in records {
            let end = offset + frame.frame_bytes();
            let payload = end - frame.payload_bytes..end;
            let (group, index) = (frame.group, frame.index);
            if frame.kind == RecordKind::Entry {
                let kept = put(self.rooms.entry(group).or_default(), &bytes[payload]);
                self.groups.entry(group).or_default().replay_entry(index, kept);
                run = match run {
                    Some((same, first, last)) if same == group && last.next() == index => {
                        Some((group, first, index))
                    }
                    _ => {
                        self.end_run(run);
                        Some((group, index, index))
                    }
                };
                continue;
            }
            self.end_run(run.take());
            self.other(frame, &bytes[payload]);
        }
        self.end_run(run);
    }

    fn end_run(&mut self, run: Option<(ShardId, LogIndex, LogIndex)>) {
        if let Some((group, first, last)) = run {
            self.ledger.entries(group, first, last);
        }
    }

    /// States and snapshots have allocations of their own: they outlive the entries around them.
    fn other(&mut self, frame: &Frame, payload: &[u8]) {
        let (group, index) = (frame.group, frame.index);
        if frame.kind == RecordKind::Removed {
            self.groups.remove(&group);
            self.ledger.removed(group);
            return;
        }
        let known = self.groups.entry(group).or_default();
        match frame.kind {
            RecordKind::State => {
                known.state = Some(Bytes::copy_from_slice(payload));
                self.ledger.state(group, payload);
            }
            RecordKind::Snapshot => {
                known.snapshot = Some((index, Bytes::copy_from_slice(payload)));
                known.drop_through(index);
                self.ledger.snapshot(group, index, payload);
            }
            RecordKind::Installed => {
                known.snapshot = Some((index, Bytes::copy_from_slice(payload)));
                known.entries.clear();
                self.ledger.installed(group, index, payload);
            }
            RecordKind::Entry | RecordKind::Removed => {}
        }
    }

    /// Checks INV-WAL3: a gap that no later snapshot covers means that segments were taken away.
    pub(crate) fn finish(
        mut self,
        log_dir: &Path,
    ) -> Result<(BTreeMap<ShardId, RecoveredGroup>, Ledger), WalError> {
        for (group, known) in &mut self.groups {
            let base = known.snapshot.as_ref().map_or(LogIndex(0), |(index, _)| *index);
            known.drop_through(base);
            if let Some((first, _)) = known.entries.first()
                && *first > base.next()
            {
                return Err(WalError::Gap {
                    path: log_dir.to_owned(),
                    group: *group,
                    expected: base.next(),
                    last_missing: LogIndex(first.0 - 1),
                });
            }
        }
        Ok((self.groups, self.ledger))
    }
}

/// Copies `payload` into `room`, or into a fresh one if it has no place left.
fn put(room: &mut BytesMut, payload: &[u8]) -> Bytes {
    if room.capacity() < payload.len() {
        *room = BytesMut::with_capacity(payload.len().max(ROOM_BYTES));
    }
    room.extend_from_slice(payload);
    room.split().freeze()
}

impl RecoveredGroup {
    fn replay_entry(&mut self, index: LogIndex, payload: Bytes) {
        if let (Some((first, _)), Some((last, _))) = (self.entries.first(), self.entries.last()) {
            if index < *first || index > last.next() {
                // Behind a gap: the segments with the entries between were purged, which is allowed only if a
                // snapshot covers them; its record stands further on. `finish` checks that it does.
                self.entries.clear();
            } else if index <= *last {
                let keep = index.0 - first.0;
                self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            }
        }
        self.entries.push((index, payload));
    }

    fn drop_through(&mut self, index: LogIndex) {
        let covered = self.entries.iter().take_while(|(at, _)| *at <= index).count();
        self.entries.drain(..covered);
    }
}
