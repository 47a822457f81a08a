//! JSON.TYPE, JSON.ARRLEN, JSON.OBJLEN, JSON.STRLEN, JSON.OBJKEYS: what values are, and how much is in them.
//!
//! The four that ask for a type of value differ in what they answer where there is none; each says so in its [`Asked`].

use keystead_resp::{Args, Protocol, ReplyWriter};

use crate::command::Reader;
use crate::command::json::{document, look, path_at, read_path, selected};
use crate::error::{CommandError, JsonError};
use crate::value::json::Node;

pub(crate) fn type_of(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let hasher = &reader.keyspace.hasher;
    let held = document(reader, &args[1])?;
    // In RESP3 all of the reply is one element of an array.
    if reply.protocol() == Protocol::Resp3 {
        reply.array(1);
    }
    let Some(held) = held else {
        reply.null();
        return Ok(());
    };
    let path = read_path(hasher, path_at(args, 2, reply))?;
    let selection = selected(&path, held, hasher)?;
    if path.is_legacy {
        match selection.first() {
            Some(node) => reply.bulk(node.type_name().as_bytes()),
            None => reply.null(),
        }
        return Ok(());
    }
    reply.array(selection.len());
    selection.nodes().for_each(|node| reply.bulk(node.type_name().as_bytes()));
    Ok(())
}

/// What one of the commands asks for.
struct Asked {
    /// True for a value that has it.
    is_wanted: fn(&Node) -> bool,
    write: fn(&Node, &mut ReplyWriter<'_>),
    /// What `$` is answered if there is no such key.
    no_key: JsonError,
    /// What the older dialect is answered if nothing is there; without it, the absent value.
    no_path: Option<JsonError>,
    /// What it is answered if what is there is not wanted.
    other: fn(&Node) -> JsonError,
}

pub(crate) fn arrlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let asked = Asked {
        is_wanted: |node| matches!(node, Node::Array(_)),
        write: |node, reply| reply.integer(node.child_count() as i64),
        no_key: JsonError::NoKey,
        no_path: Some(JsonError::NoPath),
        other: |_| JsonError::NotA { what: "an array" },
    };
    asked.answer(reader, args, reply)
}

pub(crate) fn objlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let asked = Asked {
        is_wanted: |node| matches!(node, Node::Object(_)),
        write: |node, reply| reply.integer(node.child_count() as i64),
        no_key: JsonError::NotA { what: "an object" },
        no_path: None,
        other: |node| JsonError::ValueType { expected: "object", found: node.type_name() },
    };
    asked.answer(reader, args, reply)
}

pub(crate) fn strlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let asked = Asked {
        is_wanted: |node| matches!(node, Node::Text(_)),
        write: |node, reply| reply.integer(node.as_text().map_or(0, <[u8]>::len) as i64),
        no_key: JsonError::NoKey,
        no_path: Some(JsonError::NoPath),
        other: |node| JsonError::ValueType { expected: "string", found: node.type_name() },
    };
    asked.answer(reader, args, reply)
}

pub(crate) fn objkeys(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let asked = Asked {
        is_wanted: |node| matches!(node, Node::Object(_)),
        write: |node, reply| {
            reply.array(node.child_count());
            let members = node.as_object().into_iter();
            members.for_each(|members| members.iter().for_each(|(_, name, _)| reply.bulk(name)));
        },
        no_key: JsonError::NoKey,
        no_path: None,
        other: |_| JsonError::NotA { what: "an object" },
    };
    asked.answer(reader, args, reply)
}

impl Asked {
    fn answer(
        self,
        reader: &Reader<'_>,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), CommandError> {
        let hasher = &reader.keyspace.hasher;
        let held = document(reader, &args[1])?;
        let path = read_path(hasher, path_at(args, 2, reply))?;
        let Some(held) = held else {
            if path.is_legacy {
                reply.null();
                return Ok(());
            }
            return Err(self.no_key.into());
        };
        let selection = selected(&path, held, hasher)?;
        if path.is_legacy {
            match (selection.first(), self.no_path) {
                (Some(node), _) if (self.is_wanted)(node) => (self.write)(node, reply),
                (Some(node), _) => return Err((self.other)(node).into()),
                (None, Some(error)) => return Err(error.into()),
                (None, None) => reply.null(),
            }
            return Ok(());
        }
        reply.array(selection.len());
        for node in selection.nodes() {
            look(&selection, node.child_count())?;
            if (self.is_wanted)(node) { (self.write)(node, reply) } else { reply.null() }
        }
        Ok(())
    }
}
