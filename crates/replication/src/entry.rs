//! What stands in a log entry and how entries and hard states are written for the log.
//!
//! Owns: the header of a command entry, the encoding of raft's entries, hard state and
//! configuration. Never: feeds bytes to a protobuf parser; everything here is written by hand.
//! `docs/formats.md` describes the same bytes for people.

use bytes::{Buf, BufMut, Bytes};
use keystead_types::UnixMillis;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

/// Version of the header below.
const HEADER_VERSION: u8 = 1;
/// Length of the header below, bytes.
pub(crate) const HEADER_BYTES: usize = 18;

/// What an entry of the log asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A run of commands.
    Commands = 1,
    /// Take a digest of the state at this index and remember it.
    Digest = 2,
}

/// The head of every entry this crate proposes: version, kind, time, chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) now: UnixMillis,
    pub(crate) seed: u64,
}

/// Why bytes from a log, a snapshot or a peer could not be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Fewer bytes than the fields need.
    #[error("the record ends within its fields")]
    Truncated,
    /// A version this program does not know.
    #[error(
        "the record has version {0}, which this program does not know; start the newer version"
    )]
    Version(u8),
    /// A kind this program does not know.
    #[error("the record has kind {0}, which does not exist")]
    Kind(u8),
}

impl Header {
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.push(HEADER_VERSION);
        out.push(self.kind as u8);
        out.put_u64_le(self.now.0);
        out.put_u64_le(self.seed);
    }

    /// The header and the commands behind it.
    pub(crate) fn split(payload: &[u8]) -> Result<(Self, &[u8]), EntryError> {
        let (mut head, commands) =
            payload.split_at_checked(HEADER_BYTES).ok_or(EntryError::Truncated)?;
        let version = head.get_u8();
        if version != HEADER_VERSION {
            return Err(EntryError::Version(version));
        }
        let kind = match head.get_u8() {
            1 => Kind::Commands,
            2 => Kind::Digest,
            other => return Err(EntryError::Kind(other)),
        };
        Ok((Self { kind, now: UnixMillis(head.get_u64_le()), seed: head.get_u64_le() }, commands))
    }
}

/// The time stamped on an entry; the beginning of time if it bears none.
pub(crate) fn stamp(entry: &Entry) -> UnixMillis {
    match entry.get_entry_type() {
        EntryType::EntryNormal => {
            Header::split(&entry.data).map_or(UnixMillis(0), |(header, _)| header.now)
        }
        _ => UnixMillis(0),
    }
}

/// Appends everything of a raft entry but its index, which the log keeps itself, up to its data.
pub(crate) fn put_entry_head(entry: &Entry, out: &mut Vec<u8>) {
    out.put_u64_le(entry.term);
    out.push(match entry.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    });
    out.put_u32_le(
        u32::try_from(entry.context.len())
            .expect("contexts are a few bytes, written by this crate"),
    );
    out.extend_from_slice(&entry.context);
}

/// The entry that was written as [`put_entry_head`] and its data.
pub(crate) fn read_entry(index: u64, mut payload: Bytes) -> Result<Entry, EntryError> {
    if payload.len() < 13 {
        return Err(EntryError::Truncated);
    }
    let term = payload.get_u64_le();
    let entry_type = match payload.get_u8() {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        other => return Err(EntryError::Kind(other)),
    };
    let context_len = payload.get_u32_le() as usize;
    if payload.len() < context_len {
        return Err(EntryError::Truncated);
    }
    let context = payload.split_to(context_len);
    let mut entry = Entry { term, index, data: payload, context, ..Entry::default() };
    entry.set_entry_type(entry_type);
    Ok(entry)
}

/// The group's hard state as the log keeps it.
pub(crate) fn write_hard_state(state: &HardState) -> Bytes {
    let mut out = Vec::with_capacity(24);
    out.put_u64_le(state.term);
    out.put_u64_le(state.vote);
    out.put_u64_le(state.commit);
    out.into()
}

pub(crate) fn read_hard_state(mut bytes: &[u8]) -> Result<HardState, EntryError> {
    if bytes.len() != 24 {
        return Err(EntryError::Truncated);
    }
    Ok(HardState {
        term: bytes.get_u64_le(),
        vote: bytes.get_u64_le(),
        commit: bytes.get_u64_le(),
        ..HardState::default()
    })
}

/// Where a group's log begins: the term of the entry before the first, and the configuration there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Origin {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf: ConfState,
    /// The latest time stamped by then; `now` of later entries is not before it.
    pub(crate) now: UnixMillis,
}

impl Origin {
    /// All but the index, which stands beside it wherever it is written.
    pub(crate) fn write(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        out.put_u64_le(self.term);
        out.put_u64_le(self.now.0);
        for ids in [&self.conf.voters, &self.conf.learners] {
            out.put_u32_le(u32::try_from(ids.len()).expect("a group has a handful of replicas"));
            for id in ids {
                out.put_u64_le(*id);
            }
        }
        out.into()
    }

    pub(crate) fn read(index: u64, mut bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() < 16 {
            return Err(EntryError::Truncated);
        }
        let (term, now) = (bytes.get_u64_le(), UnixMillis(bytes.get_u64_le()));
        let mut ids = || -> Result<Vec<u64>, EntryError> {
            let count = bytes.try_get_u32_le().map_err(|_| EntryError::Truncated)? as usize;
            if bytes.len() / 8 < count {
                return Err(EntryError::Truncated);
            }
            Ok((0..count).map(|_| bytes.get_u64_le()).collect())
        };
        let conf = ConfState { voters: ids()?, learners: ids()?, ..ConfState::default() };
        Ok(Self { index, term, conf, now })
    }
}

/// A change of a group's replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaChange {
    /// Adds a replica that receives the log but does not vote.
    AddLearner(keystead_types::NodeId),
    /// Lets a learner vote.
    Promote(keystead_types::NodeId),
    /// Takes a replica out.
    Remove(keystead_types::NodeId),
}

impl ReplicaChange {
    pub(crate) fn to_raft(self) -> raft::eraftpb::ConfChange {
        use raft::eraftpb::ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        let (change_type, node) = match self {
            Self::AddLearner(node) => (AddLearnerNode, node),
            Self::Promote(node) => (AddNode, node),
            Self::Remove(node) => (RemoveNode, node),
        };
        let mut change = raft::eraftpb::ConfChange { node_id: node.0, ..Default::default() };
        change.set_change_type(change_type);
        change
    }

    /// The change as it stands in the entry's context: replicas read it from there, because the
    /// entry's data is protobuf, and bytes from a peer never meet that parser.
    pub(crate) fn write(self) -> Vec<u8> {
        let (code, node) = match self {
            Self::AddLearner(node) => (1, node),
            Self::Promote(node) => (2, node),
            Self::Remove(node) => (3, node),
        };
        let mut out = vec![code];
        out.put_u64_le(node.0);
        out
    }

    pub(crate) fn read(mut bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() != 9 {
            return Err(EntryError::Truncated);
        }
        let code = bytes.get_u8();
        let node = keystead_types::NodeId(bytes.get_u64_le());
        match code {
            1 => Ok(Self::AddLearner(node)),
            2 => Ok(Self::Promote(node)),
            3 => Ok(Self::Remove(node)),
            other => Err(EntryError::Kind(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            index in 1u64.., term: u64, context: Vec<u8>, data: Vec<u8>, voters: Vec<u64>, learners: Vec<u64>,
            vote: u64, commit: u64, now: u64,
        ) {
            let entry = Entry { term, index, data: data.clone().into(), context: context.into(), ..Entry::default() };
            let mut bytes = Vec::new();
            put_entry_head(&entry, &mut bytes);
            bytes.extend_from_slice(&data);
            prop_assert_eq!(read_entry(index, bytes.into()).unwrap(), entry);

            let state = HardState { term, vote, commit, ..HardState::default() };
            prop_assert_eq!(read_hard_state(&write_hard_state(&state)).unwrap(), state);

            let conf = ConfState { voters, learners, ..ConfState::default() };
            let origin = Origin { index, term, conf, now: UnixMillis(now) };
            prop_assert_eq!(Origin::read(index, &origin.write()).unwrap(), origin);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes: Vec<u8>) {
            let _is_read = Header::split(&bytes).is_ok();
            let _is_read = Origin::read(1, &bytes).is_ok();
            let _is_read = read_hard_state(&bytes).is_ok();
            let _is_read = ReplicaChange::read(&bytes).is_ok();
            let _is_read = read_entry(1, bytes.into()).is_ok();
        }
    }
}
