//! APPEND, SETRANGE: changing a string in place.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;

pub(crate) fn append(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let len = writer.string(&args[1])?.map_or(0, <[u8]>::len);
    overwrite(writer, &args[1], len, &args[2])?;
    writer.notify(EventClass::String, "append", &args[1]);
    reply.integer((len + args[2].len()) as i64);
    Ok(())
}

pub(crate) fn setrange(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let offset = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let len = writer.string(&args[1])?.map_or(0, <[u8]>::len);
    if args[3].is_empty() {
        reply.integer(len as i64);
        return Ok(());
    }
    overwrite(writer, &args[1], offset, &args[3])?;
    writer.notify(EventClass::String, "setrange", &args[1]);
    reply.integer(len.max(offset + args[3].len()) as i64);
    Ok(())
}

/// Writes `bytes` at `offset` of the string under `key`, which grows with zeros to hold them.
fn overwrite(
    writer: &mut Writer<'_>,
    key: &[u8],
    offset: usize,
    bytes: &[u8],
) -> Result<(), CommandError> {
    let end = offset.checked_add(bytes.len()).filter(|end| *end <= BULK_BYTES_MAX);
    let end = end.ok_or(CommandError::StringTooLong)?;
    change_string(writer, key, end, |value| {
        value[offset..end].copy_from_slice(bytes);
        (Change::Changed, ())
    });
    Ok(())
}

/// Changes the string under `key`, made (or grown with zeros to) `len_min` bytes first, which is a change whatever `change`
/// says of its own.
pub(crate) fn change_string<R>(
    writer: &mut Writer<'_>,
    key: &[u8],
    len_min: usize,
    change: impl FnOnce(&mut [u8]) -> (Change, R),
) -> R {
    if writer.entry(key).is_none() {
        let mut value = vec![0; len_min];
        let (_, result) = change(&mut value);
        writer.keyspace.set_string(key, &value, None);
        return result;
    }
    let edited = writer.keyspace.edit(writer.ctx.now, key, |entry, _| {
        let len = entry.as_string().map_or(0, <[u8]>::len);
        if len < len_min {
            entry.resize_string(len_min);
        }
        let value = entry.string_mut().expect("the caller has seen that it is a string");
        let (changed, result) = change(value);
        (if len < len_min { Change::Changed } else { changed }, result)
    });
    edited.expect("the entry was visible a line before")
}
