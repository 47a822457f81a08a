//! JSON.DEBUG MEMORY: the bytes that values take.
//!
//! They are counted as the store counts them. RedisJSON keeps documents in another form, so its figures differ.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::command::json::{document, look, path_at, read_path, selected};
use crate::error::{CommandError, JsonError};
use crate::value::json::Node;

pub(crate) fn memory(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let hasher = &reader.keyspace.hasher;
    let held = document(reader, &args[2])?;
    let path = read_path(hasher, path_at(args, 3, reply))?;
    let Some(held) = held else {
        if path.is_legacy {
            reply.integer(0)
        } else {
            reply.array(0)
        }
        return Ok(());
    };
    let selection = selected(&path, held, hasher)?;
    let bytes = |node: &Node| (size_of::<Node>() + node.bytes_behind()).cast_signed() as i64;
    if path.is_legacy {
        reply.integer(bytes(selection.first().ok_or(JsonError::NoPath)?));
        return Ok(());
    }
    reply.array(selection.len());
    for node in selection.nodes() {
        let bytes = bytes(node);
        look(&selection, usize::try_from(bytes).unwrap_or(usize::MAX) / size_of::<Node>())?;
        reply.integer(bytes);
    }
    Ok(())
}
