//! OBJECT ENCODING, FREQ, IDLETIME, REFCOUNT, and DEBUG OBJECT: how a value is kept.
//!
//! Strings are bytes whatever they hold; ENCODING says what Redis would make of these bytes.

use keystead_resp::{Args, ReplyWriter};

use super::dump;
use crate::command::Reader;
use crate::entry::{Entry, Value};
use crate::error::CommandError;
use crate::number::parse_integer;

/// Longest string that Redis keeps in one allocation with its head, bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Where the clock by which Redis notes uses begins again, seconds.
const LRU_CLOCK: u64 = 1 << 24;

pub(crate) fn encoding(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |entry, reply| {
        reply.bulk(encoding_of(entry).as_bytes());
        Ok(())
    })
}

/// What Redis would call the way in which the value is kept.
fn encoding_of(entry: &Entry) -> &'static str {
    match entry.value() {
        Value::String(bytes) if parse_integer(bytes).is_some() => "int",
        Value::String(bytes) if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
        Value::String(_) => "raw",
        Value::Collection(collection) => collection.encoding(),
    }
}

pub(crate) fn frequency(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |entry, reply| {
        let frequency = reader.keyspace.uses.frequency(entry).ok_or(CommandError::NoFrequency)?;
        reply.integer(frequency.into());
        Ok(())
    })
}

pub(crate) fn idle_time(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |entry, reply| {
        let idle_s = reader.keyspace.uses.idle_s(entry, reader.now);
        reply.integer(i64::try_from(idle_s.ok_or(CommandError::NoIdleTime)?).unwrap_or(i64::MAX));
        Ok(())
    })
}

pub(crate) fn reference_count(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |_, reply| {
        reply.integer(1);
        Ok(())
    })
}

/// `DEBUG OBJECT key`: all of these on one line. Whoever asks splits it at the blanks.
///
/// A place in memory says nothing that lasts, and is not told.
pub(crate) fn debug(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let entry = reader.peek(&args[2]).ok_or(CommandError::NoSuchKey)?;
    let idle_s = reader.keyspace.uses.idle_s(entry, reader.now).unwrap_or(0);
    let used_s = (reader.now.0 / 1000).saturating_sub(idle_s) % LRU_CLOCK;
    let length = dump::value(reader, entry).0.len() - 1;
    let encoding = encoding_of(entry);
    reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{length} lru:{used_s} lru_seconds_idle:{idle_s}"
    ));
    Ok(())
}

fn answer(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    show: impl FnOnce(&Entry, &mut ReplyWriter<'_>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    match reader.peek(&args[2]) {
        Some(entry) => show(entry, reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}
