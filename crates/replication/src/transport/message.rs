//! Raft messages as bytes, written by hand.
//!
//! Owns: the layout of a Raft frame's payload. Never: sends anything, reads protobuf (the parser
//! that `raft` brings along must not meet bytes from the network), decides what a message means.
//! Called by the worker on its way out and in.
//!
//! Layout; every number is a varint, `?` marks what a flag announces:
//!
//! ```text
//! group  type:u8  flags:u8  to from term log_term index commit
//! ?RARE     commit_term request_snapshot reject_hint deprecated_priority priority(zigzag)
//! ?CONTEXT  length bytes
//! ?SNAPSHOT index term auto_leave:u8 voters learners voters_outgoing learners_next   (count ids...)
//! ?ENTRIES  count, then for each: kind:u8 term index data(length bytes) context(length bytes)
//! ```
//!
//! INV-NET1: decoding any bytes whatever neither panics nor allocates more than a small multiple of
//! their length.
//! INV-NET2: only types that one replica sends to another are accepted; what a replica tells itself
//! (`MsgHup`, `MsgUnreachable`, ...) and proposals (they enter through the leader's proposer, which
//! stamps them) are refused.
//! A snapshot travels as its metadata; the state itself is fetched as a file.

use bytes::Bytes;
use keystead_types::ShardId;
use raft::eraftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot};

pub use super::wire::DecodeError;
use super::wire::{Reader, put_bytes, put_varint};

const REJECT: u8 = 1;
const RARE: u8 = 1 << 1;
const CONTEXT: u8 = 1 << 2;
const SNAPSHOT: u8 = 1 << 3;
const ENTRIES: u8 = 1 << 4;
const FLAGS: u8 = REJECT | RARE | CONTEXT | SNAPSHOT | ENTRIES;

/// The low bits of an entry's kind are its type, this bit is the deprecated `sync_log`.
const ENTRY_SYNC_LOG: u8 = 1 << 7;
/// An entry takes at least this many bytes: kind, term, index and two lengths.
const ENTRY_BYTES_MIN: usize = 5;
/// Room made for entries ahead of seeing them; more room follows as they are read.
const ENTRIES_ROOM: usize = 1024;

/// Appends the payload of a Raft frame for `group` to `out`.
///
/// The snapshot's `data` is not carried.
pub fn encode(group: ShardId, message: &Message, out: &mut Vec<u8>) {
    put_varint(out, u64::from(group.0));
    out.push(type_number(message.msg_type));
    let flags = flags_of(message);
    out.push(flags);
    for number in
        [message.to, message.from, message.term, message.log_term, message.index, message.commit]
    {
        put_varint(out, number);
    }
    if flags & RARE != 0 {
        put_varint(out, message.commit_term);
        put_varint(out, message.request_snapshot);
        put_varint(out, message.reject_hint);
        put_varint(out, message.deprecated_priority);
        put_varint(out, zigzag(message.priority));
    }
    if flags & CONTEXT != 0 {
        put_bytes(out, &message.context);
    }
    if flags & SNAPSHOT != 0 {
        encode_snapshot(message.get_snapshot(), out);
    }
    if flags & ENTRIES != 0 {
        put_varint(out, message.entries.len() as u64);
        for entry in message.entries.iter() {
            encode_entry(entry, out);
        }
    }
}

/// Reads the payload of a Raft frame. Entries and contexts are slices of `payload`, not copies.
///
/// # Errors
/// [`DecodeError`] if the bytes are not exactly one message of a type that a peer may send. The
/// connection they came from cannot be trusted any further.
pub fn decode(payload: &Bytes) -> Result<(ShardId, Message), DecodeError> {
    let mut reader = Reader::new(payload);
    let group = ShardId(reader.varint_u32("group")?);
    let offset = reader.offset();
    let number = reader.u8("message type")?;
    let mut message = Message::new();
    message.msg_type = type_from_peer(number).ok_or(DecodeError::Refused {
        field: "message type",
        value: u64::from(number),
        offset,
    })?;
    let flags = reader.u8("message flags")?;
    if flags & !FLAGS != 0 {
        let (field, value) = ("message flags", u64::from(flags));
        return Err(DecodeError::Refused { field, value, offset: offset + 1 });
    }
    message.reject = flags & REJECT != 0;
    message.to = reader.varint("to")?;
    message.from = reader.varint("from")?;
    message.term = reader.varint("term")?;
    message.log_term = reader.varint("log term")?;
    message.index = reader.varint("index")?;
    message.commit = reader.varint("commit")?;
    if flags & RARE != 0 {
        message.commit_term = reader.varint("commit term")?;
        message.request_snapshot = reader.varint("request snapshot")?;
        message.reject_hint = reader.varint("reject hint")?;
        message.deprecated_priority = reader.varint("deprecated priority")?;
        message.priority = unzigzag(reader.varint("priority")?);
    }
    if flags & CONTEXT != 0 {
        message.context = payload.slice(reader.byte_range("context")?);
    }
    if flags & SNAPSHOT != 0 {
        message.set_snapshot(decode_snapshot(&mut reader)?);
    }
    if flags & ENTRIES != 0 {
        message.entries = decode_entries(payload, &mut reader)?.into();
    }
    reader.finish()?;
    Ok((group, message))
}

/// True for the payload of an append or a snapshot: what carries a log to a follower.
pub(super) fn carries_log(payload: &[u8]) -> bool {
    let mut reader = Reader::new(payload);
    let number = reader.varint("group").and_then(|_| reader.u8("message type"));
    number
        .ok()
        .and_then(type_from_peer)
        .is_some_and(|kind| matches!(kind, MessageType::MsgAppend | MessageType::MsgSnapshot))
}

fn flags_of(message: &Message) -> u8 {
    let is_rare = message.commit_term != 0
        || message.request_snapshot != 0
        || message.reject_hint != 0
        || message.deprecated_priority != 0
        || message.priority != 0;
    let mut flags = 0;
    for (claim, flag) in [
        (message.reject, REJECT),
        (is_rare, RARE),
        (!message.context.is_empty(), CONTEXT),
        (message.has_snapshot(), SNAPSHOT),
        (!message.entries.is_empty(), ENTRIES),
    ] {
        if claim {
            flags |= flag;
        }
    }
    flags
}

fn encode_snapshot(snapshot: &Snapshot, out: &mut Vec<u8>) {
    let metadata = snapshot.get_metadata();
    put_varint(out, metadata.index);
    put_varint(out, metadata.term);
    encode_conf_state(metadata.get_conf_state(), out);
}

fn decode_snapshot(reader: &mut Reader<'_>) -> Result<Snapshot, DecodeError> {
    let mut snapshot = Snapshot::new();
    let metadata = snapshot.mut_metadata();
    metadata.index = reader.varint("snapshot index")?;
    metadata.term = reader.varint("snapshot term")?;
    metadata.set_conf_state(decode_conf_state(reader)?);
    Ok(snapshot)
}

fn encode_conf_state(conf_state: &ConfState, out: &mut Vec<u8>) {
    out.push(u8::from(conf_state.auto_leave));
    for ids in [
        &conf_state.voters,
        &conf_state.learners,
        &conf_state.voters_outgoing,
        &conf_state.learners_next,
    ] {
        put_varint(out, ids.len() as u64);
        for &id in ids {
            put_varint(out, id);
        }
    }
}

fn decode_conf_state(reader: &mut Reader<'_>) -> Result<ConfState, DecodeError> {
    let offset = reader.offset();
    let mut conf_state = ConfState::new();
    conf_state.auto_leave = match reader.u8("auto leave")? {
        0 => false,
        1 => true,
        other => {
            let (field, value) = ("auto leave", u64::from(other));
            return Err(DecodeError::Refused { field, value, offset });
        }
    };
    conf_state.voters = decode_ids(reader, "voters")?;
    conf_state.learners = decode_ids(reader, "learners")?;
    conf_state.voters_outgoing = decode_ids(reader, "outgoing voters")?;
    conf_state.learners_next = decode_ids(reader, "next learners")?;
    Ok(conf_state)
}

fn decode_ids(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<u64>, DecodeError> {
    let count = reader.count(field, 1)?;
    (0..count).map(|_| reader.varint(field)).collect()
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    let kind = match entry.entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    out.push(if entry.sync_log { kind | ENTRY_SYNC_LOG } else { kind });
    put_varint(out, entry.term);
    put_varint(out, entry.index);
    put_bytes(out, &entry.data);
    put_bytes(out, &entry.context);
}

fn decode_entries(payload: &Bytes, reader: &mut Reader<'_>) -> Result<Vec<Entry>, DecodeError> {
    let count = reader.count("entries", ENTRY_BYTES_MIN)?;
    let mut entries = Vec::with_capacity(count.min(ENTRIES_ROOM));
    for _ in 0..count {
        let offset = reader.offset();
        let kind = reader.u8("entry type")?;
        let mut entry = Entry::new();
        entry.sync_log = kind & ENTRY_SYNC_LOG != 0;
        entry.entry_type = match kind & !ENTRY_SYNC_LOG {
            0 => EntryType::EntryNormal,
            1 => EntryType::EntryConfChange,
            2 => EntryType::EntryConfChangeV2,
            other => {
                let (field, value) = ("entry type", u64::from(other));
                return Err(DecodeError::Refused { field, value, offset });
            }
        };
        entry.term = reader.varint("entry term")?;
        entry.index = reader.varint("entry index")?;
        entry.data = payload.slice(reader.byte_range("entry")?);
        entry.context = payload.slice(reader.byte_range("entry context")?);
        entries.push(entry);
    }
    Ok(entries)
}

/// The numbers on the wire are ours: they stay if `raft` renumbers its own.
const fn type_number(kind: MessageType) -> u8 {
    match kind {
        MessageType::MsgHup => 0,
        MessageType::MsgBeat => 1,
        MessageType::MsgPropose => 2,
        MessageType::MsgAppend => 3,
        MessageType::MsgAppendResponse => 4,
        MessageType::MsgRequestVote => 5,
        MessageType::MsgRequestVoteResponse => 6,
        MessageType::MsgSnapshot => 7,
        MessageType::MsgHeartbeat => 8,
        MessageType::MsgHeartbeatResponse => 9,
        MessageType::MsgUnreachable => 10,
        MessageType::MsgSnapStatus => 11,
        MessageType::MsgCheckQuorum => 12,
        MessageType::MsgTransferLeader => 13,
        MessageType::MsgTimeoutNow => 14,
        MessageType::MsgReadIndex => 15,
        MessageType::MsgReadIndexResp => 16,
        MessageType::MsgRequestPreVote => 17,
        MessageType::MsgRequestPreVoteResponse => 18,
    }
}

/// INV-NET2: the types that one replica sends to another, and no others.
const fn type_from_peer(number: u8) -> Option<MessageType> {
    Some(match number {
        3 => MessageType::MsgAppend,
        4 => MessageType::MsgAppendResponse,
        5 => MessageType::MsgRequestVote,
        6 => MessageType::MsgRequestVoteResponse,
        7 => MessageType::MsgSnapshot,
        8 => MessageType::MsgHeartbeat,
        9 => MessageType::MsgHeartbeatResponse,
        13 => MessageType::MsgTransferLeader,
        14 => MessageType::MsgTimeoutNow,
        15 => MessageType::MsgReadIndex,
        16 => MessageType::MsgReadIndexResp,
        17 => MessageType::MsgRequestPreVote,
        18 => MessageType::MsgRequestPreVoteResponse,
        _ => return None,
    })
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..64).prop_map(Bytes::from)
    }

    prop_compose! {
        fn any_entry()(
            kind in 0..3_u8,
            (term, index) in any::<(u64, u64)>(),
            (bytes, context) in (any_bytes(), any_bytes()),
            sync_log: bool,
        ) -> Entry {
            let mut entry = Entry::new();
            entry.entry_type = match kind {
                0 => EntryType::EntryNormal,
                1 => EntryType::EntryConfChange,
                _ => EntryType::EntryConfChangeV2,
            };
            (entry.term, entry.index, entry.sync_log) = (term, index, sync_log);
            (entry.data, entry.context) = (bytes, context);
            entry
        }
    }

    prop_compose! {
        fn any_snapshot()(
            (index, term, auto_leave) in any::<(u64, u64, bool)>(),
            voters in vec(any::<u64>(), 0..5),
            learners in vec(any::<u64>(), 0..5),
            outgoing in vec(any::<u64>(), 0..3),
            next in vec(any::<u64>(), 0..3),
        ) -> Snapshot {
            let mut snapshot = Snapshot::new();
            let metadata = snapshot.mut_metadata();
            (metadata.index, metadata.term) = (index, term);
            let conf_state = metadata.mut_conf_state();
            (conf_state.voters, conf_state.learners) = (voters, learners);
            (conf_state.voters_outgoing, conf_state.learners_next) = (outgoing, next);
            conf_state.auto_leave = auto_leave;
            snapshot
        }
    }

    prop_compose! {
        fn any_message()(
            kind in (0..19_u8).prop_filter_map("a type that peers send", type_from_peer),
            (to, from, term) in any::<(u64, u64, u64)>(),
            (log_term, index, commit) in any::<(u64, u64, u64)>(),
            (commit_term, request_snapshot, reject_hint) in any::<(u64, u64, u64)>(),
            (deprecated_priority, priority, is_rare) in any::<(u64, i64, bool)>(),
            reject: bool,
            context in any_bytes(),
            entries in vec(any_entry(), 0..6),
            snapshot in proptest::option::of(any_snapshot()),
        ) -> Message {
            let mut message = Message::new();
            message.msg_type = kind;
            (message.to, message.from, message.term) = (to, from, term);
            (message.log_term, message.index, message.commit) = (log_term, index, commit);
            if is_rare {
                message.commit_term = commit_term;
                message.request_snapshot = request_snapshot;
                message.reject_hint = reject_hint;
                message.deprecated_priority = deprecated_priority;
                message.priority = priority;
            }
            message.reject = reject;
            message.context = context;
            message.entries = entries.into();
            if let Some(snapshot) = snapshot {
                message.set_snapshot(snapshot);
            }
            message
        }
    }

    fn encoded(group: ShardId, message: &Message) -> Bytes {
        let mut out = Vec::new();
        encode(group, message, &mut out);
        Bytes::from(out)
    }

    proptest! {
        #[test]
        fn a_message_comes_back_as_it_was(group: u32, message in any_message()) {
            let payload = encoded(ShardId(group), &message);
            prop_assert_eq!(decode(&payload), Ok((ShardId(group), message)));
        }

        #[test]
        fn a_message_that_is_cut_short_is_refused(message in any_message(), cut: prop::sample::Index) {
            let payload = encoded(ShardId(7), &message);
            let cut = cut.index(payload.len());
            prop_assert!(decode(&payload.slice(..cut)).is_err());
        }

        #[test]
        fn a_message_with_something_behind_it_is_refused(message in any_message(), extra: u8) {
            let mut payload = encoded(ShardId(7), &message).to_vec();
            payload.push(extra);
            prop_assert!(decode(&Bytes::from(payload)).is_err());
        }

        // INV-NET1: and no panic on the way.
        #[test]
        fn any_bytes_at_all_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..512)) {
            if let Ok((group, message)) = decode(&Bytes::from(bytes)) {
                prop_assert_eq!(decode(&encoded(group, &message)), Ok((group, message)));
            }
        }

        #[test]
        fn a_flipped_byte_never_panics(message in any_message(), at: prop::sample::Index, with: u8) {
            let mut payload = encoded(ShardId(7), &message).to_vec();
            let at = at.index(payload.len());
            payload[at] ^= with;
            drop(decode(&Bytes::from(payload)));
        }
    }

    // INV-NET2
    #[test]
    fn what_a_replica_tells_itself_is_refused_from_a_peer() {
        for kind in [
            MessageType::MsgHup,
            MessageType::MsgBeat,
            MessageType::MsgPropose,
            MessageType::MsgUnreachable,
            MessageType::MsgSnapStatus,
            MessageType::MsgCheckQuorum,
        ] {
            let mut message = Message::new();
            message.msg_type = kind;
            let refusal = decode(&encoded(ShardId(1), &message));
            assert!(matches!(refusal, Err(DecodeError::Refused { .. })), "{kind:?}: {refusal:?}");
        }
    }

    #[test]
    fn entries_are_slices_of_the_frame() {
        let mut message = Message::new();
        message.msg_type = MessageType::MsgAppend;
        let mut entry = Entry::new();
        entry.data = Bytes::from_static(b"SET k v");
        message.entries = vec![entry].into();
        let payload = encoded(ShardId(1), &message);
        let (_, decoded) = decode(&payload).unwrap();
        assert!(payload.as_ptr_range().contains(&decoded.entries[0].data.as_ptr()));
    }

    #[test]
    fn a_heartbeat_is_small() {
        let mut message = Message::new();
        message.msg_type = MessageType::MsgHeartbeat;
        (message.to, message.from) = (u64::MAX, u64::MAX);
        (message.term, message.commit) = (12, 1_000_000);
        assert!(encoded(ShardId(15), &message).len() <= 32);
    }
}
