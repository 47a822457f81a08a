//! DEL, UNLINK: removing keys.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;

pub(crate) fn del(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut removed = 0;
    for key in args.iter().skip(1) {
        if writer.keyspace.take(writer.now(), key).is_some() {
            writer.notify(EventClass::Generic, "del", key);
            removed += 1;
        }
    }
    reply.integer(removed);
    Ok(())
}
