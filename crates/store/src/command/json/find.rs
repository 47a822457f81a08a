//! JSON.ARRINDEX: where in an array a value stands.

use std::collections::VecDeque;

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::command::json::array::from_end;
use crate::command::json::{document, look, read_argument, read_path, selected};
use crate::error::{CommandError, JsonError};
use crate::number::parse_integer;
use crate::value::json::{Node, Numbers};

const NOT_FOUND: i64 = -1;

pub(crate) fn arrindex(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let hasher = &reader.keyspace.hasher;
    let held = document(reader, &args[1])?;
    let integer = |at: usize| args.get(at).map_or(Some(0), parse_integer);
    let wanted = read_argument(hasher, &args[3])?;
    let start = integer(4).ok_or(CommandError::NotAnInteger)?;
    let stop = integer(5).ok_or(CommandError::NotAnInteger)?;
    let path = read_path(hasher, &args[2])?;
    let selection = selected(&path, held.ok_or(JsonError::NoPath)?, hasher)?;
    let find = |elements: &VecDeque<Node>| {
        for at in bounds(start, stop, elements.len()) {
            // 2 is not 2.0 here.
            let numbers = (hasher, Numbers::ByForm);
            if elements[at].equals(&wanted, numbers, &mut || look(&selection, 1))? {
                return Ok(at as i64);
            }
        }
        Ok::<i64, CommandError>(NOT_FOUND)
    };
    if path.is_legacy {
        let first = selection.first().ok_or(JsonError::NoPath)?;
        let found = first.type_name();
        let elements = first.as_array().ok_or(JsonError::ValueType { expected: "array", found })?;
        reply.integer(find(elements)?);
        return Ok(());
    }
    reply.array(selection.len());
    for node in selection.nodes() {
        match node.as_array() {
            Some(elements) => reply.integer(find(elements)?),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The indexes that are looked at. A start beyond the last element means the last, a stop of 0 means the end.
fn bounds(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let first = from_end(start, len).unwrap_or(0).min(len.saturating_sub(1));
    let end = if stop == 0 { len } else { from_end(stop, len).unwrap_or(0).min(len) };
    first..end
}
