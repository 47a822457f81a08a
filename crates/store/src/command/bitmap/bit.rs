//! SETBIT, GETBIT: single bits.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::string::append::change_string;
use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;

/// A bit's number: no more bits than the longest string has.
pub(super) fn parse_offset(text: &[u8]) -> Result<usize, CommandError> {
    let offset = parse_integer(text).and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| offset / 8 < BULK_BYTES_MAX).ok_or(CommandError::BitOffset)
}

pub(crate) fn setbit(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let offset = parse_offset(&args[2])?;
    let is_one = match parse_integer(&args[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(CommandError::BitValue),
    };
    let grows = writer.string(&args[1])?.map_or(0, <[u8]>::len) <= offset / 8;
    let mask = 0x80 >> (offset % 8);
    let was_one = change_string(writer, &args[1], offset / 8 + 1, |bytes| {
        let byte = &mut bytes[offset / 8];
        let was_one = *byte & mask != 0;
        *byte = if is_one { *byte | mask } else { *byte & !mask };
        (Change::of(was_one != is_one), was_one)
    });
    // As in Redis, neither an event nor a watch tells of a bit that stays as it is.
    if grows || was_one != is_one {
        writer.notify(EventClass::String, "setbit", &args[1]);
    }
    reply.integer(i64::from(was_one));
    Ok(())
}

pub(crate) fn getbit(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let offset = parse_offset(&args[2])?;
    let bytes = reader.string(&args[1])?.unwrap_or_default();
    let byte = bytes.get(offset / 8).copied().unwrap_or(0);
    reply.integer(i64::from(byte >> (7 - offset % 8) & 1));
    Ok(())
}
