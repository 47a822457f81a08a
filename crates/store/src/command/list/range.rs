//! LLEN, LINDEX, LRANGE: reading.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;
use crate::value::list::{List, Side};

pub(crate) fn llen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.integer(reader.kind::<List>(&args[1])?.map_or(0, List::len) as i64);
    Ok(())
}

pub(crate) fn lindex(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let Some(list) = reader.kind::<List>(&args[1])? else {
        reply.null();
        return Ok(());
    };
    let index = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    reply.bulk_or_null(place(list, index).and_then(|index| list.get(index)));
    Ok(())
}

pub(crate) fn lrange(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let span = parse_span(args)?;
    let Some(list) = reader.kind::<List>(&args[1])? else {
        reply.array(0);
        return Ok(());
    };
    let (start, count) = within(list, span);
    reply.array(count);
    list.iter_from(Side::Left, start).take(count).for_each(|element| reply.bulk(element));
    Ok(())
}

/// The index that a client means: negative ones count from the tail.
pub(super) fn place(list: &List, index: i64) -> Option<usize> {
    let len = list.len() as i64;
    usize::try_from(if index < 0 { index.saturating_add(len) } else { index }).ok()
}

/// The first and last index among arguments 2 and 3.
pub(super) fn parse_span(args: Args<'_>) -> Result<(i64, i64), CommandError> {
    let index = |at: usize| parse_integer(&args[at]).ok_or(CommandError::NotAnInteger);
    Ok((index(2)?, index(3)?))
}

/// Where the elements from the first to the last index begin, and how many they are.
pub(super) fn within(list: &List, (first, last): (i64, i64)) -> (usize, usize) {
    let start = place(list, first).unwrap_or(0).min(list.len());
    let end = place(list, last).map_or(0, |last| last.saturating_add(1)).min(list.len());
    (start, end.saturating_sub(start))
}
