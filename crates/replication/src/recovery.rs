//! A replica as it comes back from disk: newest snapshot, log behind it, hard state.
//!
//! Owns: putting the three together and refusing what does not fit. Never: reads files itself.
//! A replica begins from what an earlier run (or the founding) left in the log, or as a guest: knowing
//! nothing, until a leader gives it a snapshot.

use std::sync::Arc;

use bytes::Bytes;
use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{LogIndex, NodeId, ShardId, UnixMillis};
use keystead_wal::Batch;
use raft::eraftpb::{ConfState, HardState};

use crate::cell::GroupCell;
use crate::entry::{self, EntryError, Origin};
use crate::group::Start;
use crate::log::GroupLog;
use crate::machine::Machine;
use crate::replay::Replayed;

/// A group that is founded begins after this index, so that a guest, whose log begins at 1, can only
/// be brought in by a snapshot, which tells it the configuration.
const FOUNDING_INDEX: u64 = 5;
/// The term that goes with it.
const FOUNDING_TERM: u64 = 5;

/// A replica ready to be driven by a worker.
pub struct Replica<M: Machine> {
    pub(crate) start: Start<M>,
}

/// A state fetched from a leader and loaded, with the place in the log that it stands for.
pub struct FetchedState<M: Machine> {
    pub(crate) origin: Origin,
    pub(crate) loaded: M::Loaded,
}

/// What a snapshot file says of itself beyond its index: term, configuration, time. Opaque bytes to others.
#[derive(Clone, Debug)]
pub struct SnapshotPlace(pub(crate) Origin);

impl SnapshotPlace {
    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// If the bytes are not a place.
    pub fn read(index: LogIndex, bytes: &[u8]) -> Result<Self, EntryError> {
        Origin::read(index.0, bytes).map(Self)
    }

    /// The place as bytes, without its index.
    #[must_use]
    pub fn write(&self) -> Bytes {
        self.0.write()
    }

    /// The snapshot's index.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        LogIndex(self.0.index)
    }

    /// The state `loaded` as of this place.
    pub fn with<M: Machine>(self, loaded: M::Loaded) -> FetchedState<M> {
        FetchedState { origin: self.0, loaded }
    }
}

/// Why a replica cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A record of the log could not be understood.
    #[error("the log's record of {shard} at index {index} cannot be understood: {source}")]
    Record {
        /// Whose record.
        shard: ShardId,
        /// Its index, 0 for the hard state.
        index: LogIndex,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The log begins behind the newest complete snapshot.
    #[error(
        "{shard} cannot be brought back: its log begins at index {log_first}, but its newest complete snapshot ends at \
         {snapshot}; a snapshot file is missing or damaged: move this data directory away and let the node join again as a new one"
    )]
    Gap {
        /// Whose log.
        shard: ShardId,
        /// Where the log begins.
        log_first: LogIndex,
        /// Where the snapshot ends.
        snapshot: LogIndex,
    },
    /// Applying an entry failed.
    #[error("{shard} cannot be brought back: entry {index} cannot be applied: {reason}")]
    Replay {
        /// Whose entry.
        shard: ShardId,
        /// Its index.
        index: LogIndex,
        /// What the panic said.
        reason: String,
    },
}

/// What a node's log has of one group.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The group's hard state.
    pub state: Option<Bytes>,
    /// Where the log begins, if it does not begin at the beginning.
    pub origin: Option<(LogIndex, Bytes)>,
    /// Entries, contiguous.
    pub entries: Vec<(LogIndex, Bytes)>,
}

/// Which replica is to be brought back.
pub struct Identity {
    /// The group.
    pub id: ShardId,
    /// This node.
    pub node: NodeId,
    /// Where the replica shows itself.
    pub cell: Arc<GroupCell>,
    /// For its random source.
    pub seed: u64,
    /// The newest complete snapshot, if there is one; the machine holds its state.
    pub snapshot: Option<SnapshotPlace>,
}

impl Found {
    /// What the log of a new group begins with: `node` is alone in it.
    #[must_use]
    pub fn founding(node: NodeId) -> Self {
        let conf = ConfState { voters: vec![node.0], ..ConfState::default() };
        let origin =
            Origin { index: FOUNDING_INDEX, term: FOUNDING_TERM, conf, now: UnixMillis(0) };
        let state =
            HardState { term: FOUNDING_TERM, commit: FOUNDING_INDEX, ..HardState::default() };
        Self {
            state: Some(entry::write_hard_state(&state)),
            origin: Some((LogIndex(FOUNDING_INDEX), origin.write())),
            entries: Vec::new(),
        }
    }

    /// Appends the records that say the same, for the log.
    pub fn record(&self, id: ShardId, records: &mut Batch) {
        if let Some((index, origin)) = &self.origin {
            records.push_installed(id, *index, origin);
        }
        if let Some(state) = &self.state {
            records.push_state(id, state);
        }
    }
}

impl<M: Machine> Replica<M> {
    /// A replica that knows nothing yet: a leader that counts on it will send it a snapshot.
    #[must_use]
    pub fn guest(id: ShardId, node: NodeId, machine: M, cell: Arc<GroupCell>, seed: u64) -> Self {
        let origin = Origin::default();
        let log = GroupLog::new(origin.clone(), None, HardState::default());
        let replayed = Replayed::default();
        Self {
            start: Start { id, node, machine, cell, log, origin, replayed, seed, has_past: false },
        }
    }

    /// A replica as an earlier run left it; without a snapshot `machine` is empty. `records` receives
    /// what must be on disk before the replica is started.
    ///
    /// # Errors
    /// If the log's records cannot be understood or do not continue the snapshot.
    pub fn recover(
        identity: Identity,
        machine: M,
        found: Found,
        records: &mut Batch,
    ) -> Result<Self, RecoveryError> {
        let Identity { id, node, cell, seed, snapshot } = identity;
        let record = |index| move |source| RecoveryError::Record { shard: id, index, source };
        let mut state = match &found.state {
            Some(bytes) => entry::read_hard_state(bytes).map_err(record(LogIndex(0)))?,
            None => HardState::default(),
        };
        if is_made(Mistake::VoteForgotten) {
            state.vote = NodeId::NONE.0;
        }
        let logged = match &found.origin {
            Some((index, bytes)) => Origin::read(index.0, bytes).map_err(record(*index))?,
            None => Origin::default(),
        };
        let mut entries = Vec::with_capacity(found.entries.len());
        for (index, bytes) in found.entries {
            entries.push(entry::read_entry(index.0, bytes).map_err(record(index))?);
        }
        let snapshot = snapshot.map(|place| place.0);
        let origin = snapshot.clone().unwrap_or_else(|| logged.clone());
        let log_first = entries.first().map_or(logged.index, |entry| entry.index - 1);
        if log_first > origin.index {
            return Err(RecoveryError::Gap {
                shard: id,
                log_first: LogIndex(log_first + 1),
                snapshot: LogIndex(origin.index),
            });
        }
        // The log goes on from the snapshot only if it has the snapshot's last entry, with its term. If it
        // does not, the snapshot came from a leader and the log ends before it or went another way.
        let continues = logged.index == origin.index && logged.term == origin.term
            || entries.iter().any(|entry| entry.index == origin.index && entry.term == origin.term);
        if !continues {
            records.push_installed(id, LogIndex(origin.index), &origin.write());
        }
        entries.retain(|entry| continues && entry.index > origin.index);
        state.commit = state.commit.clamp(origin.index, origin.index + entries.len() as u64);
        let term = state.term.max(origin.term).max(entries.last().map_or(0, |entry| entry.term));
        if term > state.term {
            // The vote was given in the older term; none was given in this one, or it would be recorded.
            (state.term, state.vote) = (term, NodeId::NONE.0);
        }
        let mut log = GroupLog::new(origin.clone(), snapshot, state);
        log.append(&entries);
        let replayed = Replayed { index: origin.index, now: origin.now, ..Replayed::default() };
        Ok(Self {
            start: Start { id, node, machine, cell, log, origin, replayed, seed, has_past: true },
        })
    }

    /// The group.
    #[must_use]
    pub const fn id(&self) -> ShardId {
        self.start.id
    }

    pub(crate) fn into_start(self) -> Start<M> {
        self.start
    }
}
