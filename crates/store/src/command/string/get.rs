//! GET, MGET, STRLEN, GETRANGE, SUBSTR: reading strings.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::CommandError;

pub(crate) fn get(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match reader.string(&args[1])? {
        Some(bytes) => reply.bulk(bytes),
        None => reply.null(),
    }
    Ok(())
}
