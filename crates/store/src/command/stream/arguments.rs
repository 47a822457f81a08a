//! What the commands on streams have in common: ids and intervals as clients write them, entries as replies.
//! Owns: these, with the errors of Redis. Never: looks up a key.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::error::{Bytes, CommandError};
use crate::number::parse_integer;
use crate::value::stream::{References, StreamEntry, StreamId};

/// An id that names an entry.
pub(super) fn parse_id(text: &[u8]) -> Result<StreamId, CommandError> {
    StreamId::parse(text, 0).ok_or(CommandError::InvalidStreamId)
}

/// All of `ids`.
pub(super) fn parse_ids(ids: Args<'_>) -> Result<Vec<StreamId>, CommandError> {
    ids.iter().map(parse_id).collect()
}

/// Where an interval begins, which `(` excludes.
pub(super) fn parse_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match parse_bound(text, 0)? {
        (id, true) => id.next().ok_or(CommandError::StreamStart),
        (id, false) => Ok(id),
    }
}

/// Where an interval ends, which `(` excludes.
pub(super) fn parse_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match parse_bound(text, u64::MAX)? {
        (id, true) => id.previous().ok_or(CommandError::StreamEnd),
        (id, false) => Ok(id),
    }
}

/// An end of an interval, and whether it is excluded.
fn parse_bound(text: &[u8], seq: u64) -> Result<(StreamId, bool), CommandError> {
    let bound = match text {
        [b'(', id @ ..] if !id.is_empty() => StreamId::parse(id, seq).map(|id| (id, true)),
        id => StreamId::parse_bound(id, seq).map(|id| (id, false)),
    };
    bound.ok_or(CommandError::InvalidStreamId)
}

/// The number that follows an option, in its usual words if it is none.
pub(super) fn parse_number(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::NotAnInteger)
}

/// The same, with words of the command's own.
pub(super) fn parse_number_or(text: &[u8], error: &'static str) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::Text { text: error })
}

/// A count: negative is none.
pub(super) fn parse_count(text: &[u8]) -> Result<usize, CommandError> {
    Ok(usize::try_from(parse_number(text)?).unwrap_or(0))
}

/// What becomes of records in groups: one of the words of Redis 8.2.
pub(super) fn references_of(word: &[u8]) -> Option<References> {
    [
        (&b"KEEPREF"[..], References::Keep),
        (b"DELREF", References::Delete),
        (b"ACKED", References::Acknowledged),
    ]
    .into_iter()
    .find_map(|(name, references)| word.eq_ignore_ascii_case(name).then_some(references))
}

/// The time as records of deliveries hold it.
pub(super) const fn millis(now: UnixMillis) -> i64 {
    now.0.cast_signed()
}

/// How long something is past, never negative.
pub(super) fn elapsed(now: i64, at: i64) -> i64 {
    now.saturating_sub(at).max(0)
}

/// The group, or its key, is missing.
pub(super) fn no_group(key: &[u8], group: &[u8], context: &'static str) -> CommandError {
    CommandError::NoStreamOrGroup { key: Bytes::whole(key), group: Bytes::whole(group), context }
}

/// Writes an id.
pub(super) fn reply_id(reply: &mut ReplyWriter<'_>, id: StreamId) {
    reply.bulk(id.to_string().as_bytes());
}

/// Writes an entry: its id, and its fields with their values.
pub(super) fn reply_entry(reply: &mut ReplyWriter<'_>, entry: StreamEntry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(entry.field_count * 2);
    for (name, value) in entry.fields() {
        name.reply(reply);
        value.reply(reply);
    }
}

/// Writes entries as an array.
pub(super) fn reply_entries<'a>(
    reply: &mut ReplyWriter<'_>,
    entries: impl IntoIterator<Item = StreamEntry<'a>>,
) {
    let entries: Vec<_> = entries.into_iter().collect();
    reply.array(entries.len());
    entries.into_iter().for_each(|entry| reply_entry(reply, entry));
}
