//! EXISTS, TOUCH, TYPE: what is there.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::CommandError;
use crate::scan::type_name;

/// Does not count as a use, as in Redis.
pub(crate) fn exists(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let found = args.iter().skip(1).filter(|key| reader.peek(key).is_some());
    reply.integer(found.count() as i64);
    Ok(())
}

/// TOUCH: EXISTS that counts as a use.
pub(crate) fn touch(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let found = args.iter().skip(1).filter(|key| reader.entry(key).is_some());
    reply.integer(found.count() as i64);
    Ok(())
}

pub(crate) fn type_of(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.simple(reader.peek(&args[1]).map_or("none", type_name));
    Ok(())
}
