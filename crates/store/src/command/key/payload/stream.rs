//! Streams as DUMP writes them and RESTORE reads them: blocks as they are, marks, groups.
//! Owns: that form (RDB types 15, 19 and 21). Never: trusts a count, an id or a time that it reads.
//! As in Redis, a consumer that was restored counts as last successful when it was last seen.

use super::{Reader, put_len, put_string};
use crate::value::Kind;
use crate::value::stream::{Group, Marks, Progress, Stream, StreamId};

/// Redis 5: no marks but the last id.
pub(in crate::command::key) const TYPE_STREAM: u8 = 15;
/// Redis 7.0, and what is written.
pub(in crate::command::key) const TYPE_STREAM_2: u8 = 19;
/// Redis 7.2: consumers also have the time of their last success.
pub(in crate::command::key) const TYPE_STREAM_3: u8 = 21;

/// Appends the stream.
pub(in crate::command::key) fn put(out: &mut Vec<u8>, stream: &Stream) {
    put_len(out, stream.block_count() as u64);
    for (first, bytes) in stream.blocks() {
        put_len(out, 16);
        out.extend_from_slice(&first.to_bytes());
        put_len(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
    let marks = stream.marks();
    put_len(out, stream.len());
    put_id(out, marks.last_id);
    put_id(out, stream.first_id());
    put_id(out, marks.max_deleted);
    put_len(out, marks.entries_added);
    put_len(out, stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        put_string(out, name);
        put_group(out, group);
    }
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_id(out, group.last_id);
    put_len(out, group.entries_read.unwrap_or(-1).cast_unsigned());
    put_len(out, group.pending().len() as u64);
    for (id, record) in group.pending() {
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&record.delivered_at.to_le_bytes());
        put_len(out, record.deliveries);
    }
    put_len(out, group.consumers().len() as u64);
    for (name, consumer) in group.consumers() {
        put_string(out, name);
        out.extend_from_slice(&consumer.seen_at.to_le_bytes());
        put_len(out, consumer.pending_count() as u64);
        for id in consumer.pending_from(StreamId::MIN) {
            out.extend_from_slice(&id.to_bytes());
        }
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_len(out, id.ms);
    put_len(out, id.seq);
}

/// Reads a stream of the type `kind`; `None` wherever it makes no sense.
pub(in crate::command::key) fn read(input: &mut Reader<'_>, kind: u8) -> Option<Stream> {
    let mut stream = Stream::new();
    for _ in 0..input.len()? {
        let first = input.string()?;
        let first = StreamId::from_bytes(first.try_into().ok()?);
        stream.load_block(first, &input.string()?)?;
    }
    let len = input.len()?;
    let last_id = read_id(input)?;
    let mut marks = Marks { last_id, max_deleted: StreamId::MIN, entries_added: len };
    if kind != TYPE_STREAM {
        // The first id is known from the blocks.
        read_id(input)?;
        marks.max_deleted = read_id(input)?;
        marks.entries_added = input.len()?;
    }
    if len != stream.len() || stream.last_entry_id() > Some(last_id) {
        return None;
    }
    stream.set_marks(marks);
    for _ in 0..input.len()? {
        let name = input.string()?;
        let group = read_group(input, kind, &stream)?;
        if !stream.add_group(&name, group) {
            return None;
        }
    }
    Some(stream)
}

fn read_group(input: &mut Reader<'_>, kind: u8, stream: &Stream) -> Option<Group> {
    let last_id = read_id(input)?;
    let entries_read = match kind {
        TYPE_STREAM => Progress::of(stream).entries_up_to(last_id),
        _ => Some(input.len()?.cast_signed()).filter(|read| *read >= 0),
    };
    let mut group = Group::new(last_id, entries_read);
    let mut delivered = std::collections::BTreeMap::new();
    for _ in 0..input.len()? {
        let id = StreamId::from_bytes(input.array()?);
        let at = i64::from_le_bytes(input.array()?);
        let deliveries = input.len()?;
        if delivered.insert(id, (at, deliveries)).is_some() {
            return None;
        }
    }
    for _ in 0..input.len()? {
        let name = input.string()?;
        let seen_at = i64::from_le_bytes(input.array()?);
        if kind == TYPE_STREAM_3 {
            // The time of the last success, which what DUMP writes has no room for.
            input.take(8)?;
        }
        if !group.add_consumer(&name, seen_at) {
            return None;
        }
        group.note_active(&name, Some(seen_at));
        for _ in 0..input.len()? {
            let id = StreamId::from_bytes(input.array()?);
            // Each record goes to one consumer, and none is left over.
            let (at, deliveries) = delivered.remove(&id)?;
            group.assign(id, &name, at, deliveries);
        }
    }
    delivered.is_empty().then_some(group)
}

fn read_id(input: &mut Reader<'_>) -> Option<StreamId> {
    Some(StreamId { ms: input.len()?, seq: input.len()? })
}
