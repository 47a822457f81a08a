//! GET, MGET, STRLEN, GETRANGE and SUBSTR: reading strings.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;

pub(crate) fn get(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.bulk_or_null(reader.string(&args[1])?);
    Ok(())
}

/// A key that holds something else answers as if it were absent.
pub(crate) fn mget(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.array(args.len() - 1);
    for key in args.iter().skip(1) {
        match reader.string(key) {
            Ok(Some(bytes)) => reply.bulk(bytes),
            _ => reply.null(),
        }
    }
    Ok(())
}

pub(crate) fn strlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let len = reader.string(&args[1])?.map_or(0, <[u8]>::len);
    reply.integer(len as i64);
    Ok(())
}

pub(crate) fn getrange(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let start = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let end = parse_integer(&args[3]).ok_or(CommandError::NotAnInteger)?;
    let bytes = reader.string(&args[1])?.unwrap_or_default();
    reply.bulk(range_of(bytes, start, end));
    Ok(())
}

/// The bytes from `start` to `end` inclusive; negative positions count from the end.
fn range_of(bytes: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let len = bytes.len() as i64;
    let place = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (place(start), place(end).min(len - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => &bytes[start..=end],
        _ => &[],
    }
}
