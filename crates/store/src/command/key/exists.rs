//! EXISTS, TOUCH, TYPE: what is there.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::CommandError;
use crate::scan::type_name;

/// EXISTS, and TOUCH, which is the same here: times of use are not tracked.
pub(crate) fn exists(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut count = 0;
    for key in args.iter().skip(1) {
        count += i64::from(reader.entry(key).is_some());
    }
    reply.integer(count);
    Ok(())
}

pub(crate) fn type_of(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.simple(reader.entry(&args[1]).map_or("none", type_name));
    Ok(())
}
