//! MEMORY USAGE key [SAMPLES count]: the bytes that a key takes.
//!
//! They are counted as the store counts them, exactly: SAMPLES, by which Redis estimates collections, is checked and
//! changes nothing.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::entry::Entry;
use crate::error::CommandError;
use crate::number::parse_integer;

pub(crate) fn usage(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match (args.get(3), args.get(4), args.len()) {
        (None, ..) => {}
        (Some(option), Some(count), 5) if option.eq_ignore_ascii_case(b"SAMPLES") => {
            if parse_integer(count).ok_or(CommandError::NotAnInteger)? < 0 {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    }
    match reader.peek(&args[2]) {
        // Its bucket, too. The vacant ones beside it are the table's.
        Some(entry) => reply.integer((entry.bytes() + size_of::<Entry>()).cast_signed() as i64),
        None => reply.null(),
    }
    Ok(())
}
