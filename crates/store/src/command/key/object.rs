//! OBJECT ENCODING, FREQ, IDLETIME, REFCOUNT: how a value is kept.
//!
//! Strings are bytes whatever they hold; ENCODING says what Redis would make of these bytes.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::entry::{Entry, Value};
use crate::error::CommandError;
use crate::number::parse_integer;

/// Longest string that Redis keeps in one allocation with its head, bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

pub(crate) fn encoding(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |entry, reply| {
        let name = match entry.value() {
            Value::String(bytes) if parse_integer(bytes).is_some() => "int",
            Value::String(bytes) if bytes.len() <= EMBEDDED_BYTES_MAX => "embstr",
            Value::String(_) => "raw",
            Value::Collection(collection) => collection.encoding(),
        };
        reply.bulk(name.as_bytes());
        Ok(())
    })
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
