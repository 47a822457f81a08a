//! One record of the log as bytes.
//! Owns: [`Record`], the frame around it and its checksum. Never: where records lie (see `segment`, `recovery`).
//! Called by `batch` to encode and by `recovery` to decode.
//!
//! ```text
//! 0        4        8        12   13    16           24
//! | crc u32 | length u32 | group u32 | kind | 0 0 0 | index u64 | payload ... |     little endian
//!           '------------------ covered by crc (CRC-32C) ------------------'
//! ```

use keystead_types::{LogIndex, ShardId};

/// Bytes before a record's payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 24;

/// One thing the log remembers about a group. Later records win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A log entry. It replaces everything the group had at `index` and after it.
    Entry {
        /// Whose entry.
        group: ShardId,
        /// Its position in the group's log.
        index: LogIndex,
        /// What it says; opaque.
        payload: &'a [u8],
    },
    /// The group's hard state; the latest wins.
    State {
        /// Whose state.
        group: ShardId,
        /// What it says; opaque.
        payload: &'a [u8],
    },
    /// The group has a snapshot of its own up to `index`: entries up to there are dropped, later ones stay.
    Snapshot {
        /// Whose snapshot.
        group: ShardId,
        /// The last entry that the snapshot contains.
        index: LogIndex,
        /// What is to be known about it; opaque.
        payload: &'a [u8],
    },
    /// The group took over another replica's snapshot: all its entries are dropped, those after `index` too,
    /// because they may contradict the log that the snapshot comes from.
    Installed {
        /// Whose snapshot.
        group: ShardId,
        /// The last entry that the snapshot contains.
        index: LogIndex,
        /// What is to be known about it; opaque.
        payload: &'a [u8],
    },
    /// The group is gone, with everything it had.
    Removed {
        /// Which group.
        group: ShardId,
    },
}

/// The kinds of records as they stand on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Entry = 1,
    State = 2,
    Snapshot = 3,
    Installed = 4,
    Removed = 5,
}

/// A decoded frame; its payload is the last `payload_bytes` of `frame_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: RecordKind,
    pub(crate) group: ShardId,
    pub(crate) index: LogIndex,
    pub(crate) payload_bytes: usize,
    pub(crate) crc: u32,
}

impl Frame {
    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload_bytes
    }
}

/// The parts of a record in the order in which they are encoded.
pub(crate) struct Parts<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) group: ShardId,
    pub(crate) index: LogIndex,
    pub(crate) payload: &'a [u8],
}

impl<'a> From<Record<'a>> for Parts<'a> {
    fn from(record: Record<'a>) -> Self {
        match record {
            Record::Entry { group, index, payload } => {
                Self { kind: RecordKind::Entry, group, index, payload }
            }
            Record::State { group, payload } => {
                Self { kind: RecordKind::State, group, index: LogIndex(0), payload }
            }
            Record::Snapshot { group, index, payload } => {
                Self { kind: RecordKind::Snapshot, group, index, payload }
            }
            Record::Installed { group, index, payload } => {
                Self { kind: RecordKind::Installed, group, index, payload }
            }
            Record::Removed { group } => {
                Self { kind: RecordKind::Removed, group, index: LogIndex(0), payload: &[] }
            }
        }
    }
}

/// Appends the record to `out` and returns its checksum.
///
/// # Panics
/// If the payload is longer than 4 GiB; `limits::ENTRY_BYTES_MAX` is far below.
pub(crate) fn encode(parts: &Parts<'_>, out: &mut Vec<u8>) -> u32 {
    let length = u32::try_from(parts.payload.len())
        .expect("a payload is bounded by limits::ENTRY_BYTES_MAX, far below 4 GiB");
    let start = out.len();
    out.reserve(RECORD_HEADER_BYTES + parts.payload.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&parts.group.0.to_le_bytes());
    out.extend_from_slice(&[parts.kind as u8, 0, 0, 0]);
    out.extend_from_slice(&parts.index.0.to_le_bytes());
    out.extend_from_slice(parts.payload);
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    crc
}

/// Decodes the record at the beginning of `bytes`; `None` if there is no valid one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Frame> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    let payload_bytes = usize::try_from(u32_at(header, 4)).ok()?;
    let covered = bytes.get(4..RECORD_HEADER_BYTES.checked_add(payload_bytes)?)?;
    let crc = u32_at(header, 0);
    if crc32c::crc32c(covered) != crc {
        return None;
    }
    let kind = match header[12] {
        1 => RecordKind::Entry,
        2 => RecordKind::State,
        3 => RecordKind::Snapshot,
        4 => RecordKind::Installed,
        5 => RecordKind::Removed,
        _ => return None,
    };
    // Nothing could follow the highest number there is; no group has come that far, so it was never written.
    let index = Some(LogIndex(u64_at(header, 16))).filter(|index| index.0 < u64::MAX)?;
    Some(Frame { kind, group: ShardId(u32_at(header, 8)), index, payload_bytes, crc })
}

/// The little-endian u32 at `at`, which the caller knows to lie within `bytes`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The little-endian u64 at `at`, which the caller knows to lie within `bytes`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_docs_formats_says() {
        let mut out = Vec::new();
        let record = Record::Entry { group: ShardId(3), index: LogIndex(7), payload: b"xyz" };
        let crc = encode(&record.into(), &mut out);
        assert_eq!(out.len(), 27);
        assert_eq!(&out[..4], crc.to_le_bytes());
        assert_eq!(&out[4..], b"\x03\0\0\0\x03\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0xyz");
        assert_eq!(crc, crc32c::crc32c(&out[4..]));
    }

    /// Found by the fuzz target `log`: counting on from it would have overflowed.
    #[test]
    fn an_index_that_nothing_can_follow_is_no_record() {
        for (index, is_record) in [(u64::MAX - 1, true), (u64::MAX, false)] {
            let mut out = Vec::new();
            let record =
                Record::Snapshot { group: ShardId(1), index: LogIndex(index), payload: b"" };
            encode(&record.into(), &mut out);
            assert_eq!(decode(&out).is_some(), is_record, "{index}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut out = Vec::new();
        encode(&Record::State { group: ShardId(1), payload: b"term and vote" }.into(), &mut out);
        let frame = decode(&out).unwrap();
        assert_eq!((frame.kind, frame.group), (RecordKind::State, ShardId(1)));
        assert_eq!(frame.frame_bytes(), out.len());
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&out), None, "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..out.len() {
            assert_eq!(decode(&out[..length]), None, "length {length}");
        }
    }
}
