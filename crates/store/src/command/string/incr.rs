//! INCR, DECR, INCRBY, DECRBY: strings as integers.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::number::parse_integer;

pub(crate) fn incr(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    add(writer, &args[1], 1, reply)
}

pub(crate) fn decr(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    add(writer, &args[1], -1, reply)
}

pub(crate) fn incrby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let delta = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    add(writer, &args[1], delta, reply)
}

pub(crate) fn decrby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let delta = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let delta = delta.checked_neg().ok_or(CommandError::DecrementOverflow)?;
    add(writer, &args[1], delta, reply)
}

fn add(
    writer: &mut Writer<'_>,
    key: &[u8],
    delta: i64,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let entry = writer.entry(key);
    let expiry = entry.and_then(crate::entry::Entry::expiry);
    let old = match writer.string(key)? {
        Some(text) => parse_integer(text).ok_or(CommandError::NotAnInteger)?,
        None => 0,
    };
    let new = old.checked_add(delta).ok_or(CommandError::Overflow)?;
    writer.keyspace.set_string(key, itoa::Buffer::new().format(new).as_bytes(), expiry);
    writer.notify(EventClass::String, "incrby", key);
    reply.integer(new);
    Ok(())
}
