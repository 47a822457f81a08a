//! A naive log to compare with: the records in a list, replayed from the beginning each time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use keystead_types::{LogIndex, NodeId, ShardId};
use keystead_wal::{
    Batch, Log, LogOptions, MemoryDisk, Record, Recovered, RecoveredGroup, WalError,
};

pub(crate) type Groups = BTreeMap<ShardId, RecoveredGroup>;

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Entry(ShardId, LogIndex, Vec<u8>),
    State(ShardId, Vec<u8>),
    Snapshot(ShardId, LogIndex, Vec<u8>),
    Installed(ShardId, LogIndex, Vec<u8>),
    Removed(ShardId),
}

impl Op {
    pub(crate) fn record(&self) -> Record<'_> {
        match self {
            Self::Entry(group, index, payload) => {
                Record::Entry { group: *group, index: *index, payload }
            }
            Self::State(group, payload) => Record::State { group: *group, payload },
            Self::Snapshot(group, index, payload) => {
                Record::Snapshot { group: *group, index: *index, payload }
            }
            Self::Installed(group, index, payload) => {
                Record::Installed { group: *group, index: *index, payload }
            }
            Self::Removed(group) => Record::Removed { group: *group },
        }
    }

    fn replay(&self, groups: &mut Groups) {
        match self {
            Self::Entry(group, index, payload) => {
                let known = groups.entry(*group).or_default();
                known.entries.retain(|(at, _)| at < index);
                known.entries.push((*index, Bytes::copy_from_slice(payload)));
            }
            Self::State(group, payload) => {
                groups.entry(*group).or_default().state = Some(Bytes::copy_from_slice(payload));
            }
            Self::Snapshot(group, index, payload) => {
                let known = groups.entry(*group).or_default();
                known.snapshot = Some((*index, Bytes::copy_from_slice(payload)));
                known.entries.retain(|(at, _)| at > index);
            }
            Self::Installed(group, index, payload) => {
                let known = groups.entry(*group).or_default();
                known.snapshot = Some((*index, Bytes::copy_from_slice(payload)));
                known.entries.clear();
            }
            Self::Removed(group) => {
                groups.remove(group);
            }
        }
    }
}

/// What the batches, one after the other, should come to.
pub(crate) fn replay(batches: &[Vec<Op>]) -> Groups {
    let mut groups = Groups::new();
    batches.iter().flatten().for_each(|op| op.replay(&mut groups));
    groups
}

pub(crate) fn batch_of(ops: &[Op]) -> Batch {
    let mut batch = Batch::new();
    ops.iter().for_each(|op| batch.push(op.record()));
    batch
}

pub(crate) const DIR: &str = "/node";

pub(crate) fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, reserve_bytes: 0, ..LogOptions::new(NodeId(7), 42) }
}

pub(crate) fn open(
    disk: &MemoryDisk,
    segment_bytes: u64,
) -> Result<(Log<MemoryDisk>, Recovered), WalError> {
    Log::open(disk.clone(), Path::new(DIR), options(segment_bytes))
}

pub(crate) fn segment(sequence: u64) -> PathBuf {
    Path::new(DIR).join(format!("log/{sequence:016}.seg"))
}

/// Entries `from..=to` of a group, as one batch.
pub(crate) fn entries(group: u32, from: u64, to: u64) -> Vec<Op> {
    (from..=to)
        .map(|index| {
            Op::Entry(ShardId(group), LogIndex(index), format!("g{group} e{index}").into_bytes())
        })
        .collect()
}
