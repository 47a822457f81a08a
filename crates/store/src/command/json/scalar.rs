//! JSON.STRAPPEND, JSON.TOGGLE: changing strings and booleans in place.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::Writer;
use crate::command::json::edit::{Edit, Order, check_size};
use crate::command::json::{path_at, read_argument};
use crate::error::{CommandError, JsonError};
use crate::table::Hasher;
use crate::value::json::Node;

pub(crate) fn strappend(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    // The path may be left out, though it stands in the middle.
    let (path, text) = match args.get(3) {
        Some(text) => (&args[2], text),
        None => (path_at(args, args.len(), reply), &args[2]),
    };
    let edit = Edit {
        key: &args[1],
        path,
        order: Order::FirstToLast,
        event: "json.strappend",
        nothing: JsonError::NotA { what: "a string" },
    };
    // Read only where a string is to be changed, as in RedisJSON.
    let (mut more, mut places) = (None, 0);
    let plan = |hasher: &Hasher, node: &Node, _| {
        let Some(held) = node.as_text() else { return Ok(None) };
        if more.is_none() {
            more = Some(read_argument(hasher, text)?);
        }
        let Some(Node::Text(more)) = &more else {
            let found = more.as_ref().map_or("null", Node::type_name);
            return Err(JsonError::ValueType { expected: "string", found }.into());
        };
        let len = more.as_bytes().len();
        places += 1;
        check_size(places, len)?;
        if held.len() + len > BULK_BYTES_MAX {
            return Err(CommandError::StringTooLong);
        }
        Ok(Some(more.clone()))
    };
    let edited = edit.run(writer, plan, |document, _, location, more| {
        let len = document.change(location, |node, _| match node {
            Node::Text(text) => {
                text.append(more.as_bytes());
                text.as_bytes().len()
            }
            _ => 0,
        });
        (true, len.unwrap_or(0))
    })?;
    edited.answer(reply, |len, reply| reply.integer(*len as i64));
    Ok(())
}

pub(crate) fn toggle(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let edit = Edit {
        key: &args[1],
        path: &args[2],
        order: Order::FirstToLast,
        event: "json.toggle",
        nothing: JsonError::NotA { what: "a bool" },
    };
    let plan = |_: &Hasher, node: &Node, _| Ok(matches!(node, Node::Bool(_)).then_some(()));
    let edited = edit.run(writer, plan, |document, _, location, ()| {
        let is_true = document.change(location, |node, _| match node {
            Node::Bool(held) => {
                *held = !*held;
                *held
            }
            _ => false,
        });
        (true, is_true.unwrap_or(false))
    })?;
    let is_legacy = edited.is_legacy();
    edited.answer(reply, |is_true, reply| match (is_legacy, is_true) {
        (true, true) => reply.bulk(b"true"),
        (true, false) => reply.bulk(b"false"),
        (false, _) => reply.integer(i64::from(*is_true)),
    });
    Ok(())
}
