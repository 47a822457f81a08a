//! JSON.RESP: values as the protocol's own.
//!
//! An array begins with `[`, an object with `{`; a double has 17 digits, as Redis writes doubles.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::Reader;
use crate::command::json::number::write_number;
use crate::command::json::{document, path_at, read_path, selected};
use crate::error::{CommandError, JsonError};
use crate::value::json::Node;

pub(crate) fn resp(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let hasher = &reader.keyspace.hasher;
    let Some(held) = document(reader, &args[1])? else {
        reply.null();
        return Ok(());
    };
    let path = read_path(hasher, path_at(args, 2, reply))?;
    let selection = selected(&path, held, hasher)?;
    if path.is_legacy {
        write(selection.first().ok_or(JsonError::NoPath)?, reply);
        return Ok(());
    }
    reply.array(selection.len());
    let start = reply.position();
    for node in selection.nodes() {
        write(node, reply);
        if reply.position() - start > BULK_BYTES_MAX {
            return Err(JsonError::ReplyTooLong { bytes_max: BULK_BYTES_MAX }.into());
        }
    }
    Ok(())
}

fn write(value: &Node, reply: &mut ReplyWriter<'_>) {
    match value {
        Node::Null => reply.null(),
        Node::Bool(true) => reply.simple("true"),
        Node::Bool(false) => reply.simple("false"),
        Node::Integer(_) | Node::Unsigned(_) | Node::Double(_) => write_number(value, reply),
        Node::Text(text) => reply.bulk(text.as_bytes()),
        Node::Array(elements) => {
            reply.array(1 + elements.len());
            reply.simple("[");
            elements.iter().for_each(|element| write(element, reply));
        }
        Node::Object(members) => {
            reply.array(1 + 2 * members.len());
            reply.simple("{");
            for (_, name, value) in members.iter() {
                reply.bulk(name);
                write(value, reply);
            }
        }
    }
}
