//! ZCARD, ZCOUNT, ZLEXCOUNT: how many members there are.

use keystead_resp::{Args, ReplyWriter};

use super::bound::{Bounds, By};
use crate::command::Reader;
use crate::error::CommandError;
use crate::value::sorted_set::SortedSet;

pub(crate) fn zcard(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.integer(reader.kind::<SortedSet>(&args[1])?.map_or(0, |set| set.len() as i64));
    Ok(())
}

pub(crate) fn zcount(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    count(reader, args, reply, By::Score)
}

pub(crate) fn zlexcount(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    count(reader, args, reply, By::Name)
}

fn count(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    by: By,
) -> Result<(), CommandError> {
    let bounds = Bounds::parse(by, &args[2], &args[3])?;
    let set = reader.kind::<SortedSet>(&args[1])?;
    reply.integer(set.map_or(0, |set| bounds.ranks(set).len() as i64));
    Ok(())
}
