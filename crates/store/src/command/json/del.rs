//! JSON.DEL (also called JSON.FORGET), JSON.CLEAR: values taken out, or emptied.

use std::collections::BTreeMap;

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::command::json::place::outermost;
use crate::command::json::{path_at, read_path, selected, written};
use crate::effect::EventClass;
use crate::error::{CommandError, JsonError};
use crate::keyspace::Change;
use crate::value::json::{Json, Location, Node};

pub(crate) fn del(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = &args[1];
    let hasher = &writer.keyspace.hasher;
    let Some(document) = written(writer, key)? else {
        reply.integer(0);
        return Ok(());
    };
    let path = read_path(hasher, path_at(args, 2, reply))?;
    let locations = outermost(selected(&path, document, hasher)?.locations().collect());
    let count = locations.len();
    let is_emptied = path.is_root() || remove(writer, key, locations)?;
    if is_emptied {
        // As in Redis 8, a document of which the last value was taken out goes with it.
        writer.keyspace.take(writer.ctx.now, key);
    }
    if count > 0 {
        writer.notify(EventClass::Module, "json.del", key);
    }
    reply.integer(count as i64);
    Ok(())
}

/// Takes values out; true if that left an empty container as the whole document.
fn remove(
    writer: &mut Writer<'_>,
    key: &[u8],
    locations: Vec<Location>,
) -> Result<bool, CommandError> {
    if locations.is_empty() {
        return Ok(false);
    }
    // By container, the innermost first: taking out of one moves what is in it, and never what is around it.
    let mut containers: BTreeMap<(std::cmp::Reverse<usize>, Location), Vec<usize>> =
        BTreeMap::new();
    for mut location in locations {
        let Some(step) = location.pop() else { continue };
        containers.entry((std::cmp::Reverse(location.len()), location)).or_default().push(step);
    }
    let is_emptied = writer.edit(key, |document: &mut Json, hasher| {
        for ((_, container), steps) in &containers {
            document.remove_children(hasher, container, steps);
        }
        let root = document.root();
        let is_container = matches!(root, Node::Array(_) | Node::Object(_));
        (Change::Changed, is_container && root.child_count() == 0)
    })?;
    Ok(is_emptied)
}

pub(crate) fn clear(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = &args[1];
    let hasher = &writer.keyspace.hasher;
    let document = written(writer, key)?.ok_or(JsonError::NoKey)?;
    let path = read_path(hasher, path_at(args, 2, reply))?;
    let mut cleared = Vec::new();
    for location in outermost(selected(&path, document, hasher)?.locations().collect()) {
        if let Some(emptied) = document.at(&location).and_then(emptied) {
            cleared.push((location, emptied));
        }
    }
    let count = cleared.len();
    if count > 0 {
        writer.edit(key, |document: &mut Json, _| {
            for (location, emptied) in cleared {
                document.replace(&location, emptied);
            }
            (Change::Changed, ())
        })?;
        writer.notify(EventClass::Module, "json.clear", key);
    }
    reply.integer(count as i64);
    Ok(())
}

/// What a value becomes when it is cleared; `None` if it stays as it is.
fn emptied(value: &Node) -> Option<Node> {
    match value {
        Node::Array(_) if value.child_count() > 0 => Some(Node::array(Default::default())),
        Node::Object(_) if value.child_count() > 0 => Some(Node::Object(Box::default())),
        Node::Integer(0) => None,
        Node::Integer(_) | Node::Unsigned(_) => Some(Node::Integer(0)),
        Node::Double(number) if *number != 0.0 => Some(Node::Integer(0)),
        _ => None,
    }
}
