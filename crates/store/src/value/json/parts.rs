//! A document as the parts that snapshots hold and digests are taken of: its values, each before what is in it.
//! Owns: their bytes. Never: trusts them when they come back.
//!
//! A part is `[tag:1][name with its length, if it is a member][content]`: eight bytes little endian of a number, the
//! bytes of a string, the count of a container's values.

use std::collections::VecDeque;

use crate::table::Hasher;
use crate::wire::{WireReader, put_bytes, put_var};

use super::node::{NESTING_MAX, Node};
use super::object::Object;

/// The only form.
pub(super) const TREE: u8 = 0;

const NULL: u8 = b'n';
const FALSE: u8 = b'f';
const TRUE: u8 = b't';
const INTEGER: u8 = b'i';
const UNSIGNED: u8 = b'u';
const DOUBLE: u8 = b'd';
const TEXT: u8 = b's';
const ARRAY: u8 = b'a';
const OBJECT: u8 = b'o';

const SHORT: &str = "a value of a document is cut short";

/// Calls `visit` with the part of `value`, a member's with its name, and with those of all that is in it.
pub(super) fn each(
    value: &Node,
    name: Option<&[u8]>,
    part: &mut Vec<u8>,
    visit: &mut dyn FnMut(&[u8]),
) {
    part.clear();
    part.push(match value {
        Node::Null => NULL,
        Node::Bool(false) => FALSE,
        Node::Bool(true) => TRUE,
        Node::Integer(_) => INTEGER,
        Node::Unsigned(_) => UNSIGNED,
        Node::Double(_) => DOUBLE,
        Node::Text(_) => TEXT,
        Node::Array(_) => ARRAY,
        Node::Object(_) => OBJECT,
    });
    if let Some(name) = name {
        put_bytes(part, name);
    }
    match value {
        Node::Null | Node::Bool(_) => {}
        Node::Integer(number) => part.extend_from_slice(&number.to_le_bytes()),
        Node::Unsigned(number) => part.extend_from_slice(&number.to_le_bytes()),
        Node::Double(number) => part.extend_from_slice(&number.to_le_bytes()),
        Node::Text(text) => part.extend_from_slice(text.as_bytes()),
        Node::Array(_) | Node::Object(_) => put_var(part, value.child_count() as u64),
    }
    visit(part);
    match value {
        Node::Array(elements) => {
            elements.iter().for_each(|element| each(element, None, part, visit));
        }
        Node::Object(members) => {
            members.iter().for_each(|(_, name, value)| each(value, Some(name), part, visit));
        }
        _ => {}
    }
}

/// What has come of a document whose parts are being read.
#[derive(Default)]
pub(super) struct Assembly {
    /// The containers that are not full, the outermost first.
    open: Vec<Open>,
}

struct Open {
    container: Node,
    /// Its own name, if it is a member.
    name: Option<Box<[u8]>>,
    missing: u64,
}

impl Assembly {
    /// Takes the next part; gives the document when it was the last.
    pub(super) fn add(
        &mut self,
        hasher: &Hasher,
        part: &[u8],
    ) -> Result<Option<Node>, &'static str> {
        let mut part = WireReader(part);
        let tag = part.byte().ok_or(SHORT)?;
        let is_member = self.open.last().is_some_and(|open| open.container.as_object().is_some());
        let name = if is_member { Some(text(part.bytes().ok_or(SHORT)?)?) } else { None };
        let value = match tag {
            NULL => Node::Null,
            FALSE => Node::Bool(false),
            TRUE => Node::Bool(true),
            INTEGER => Node::Integer(part.u64().ok_or(SHORT)?.cast_signed()),
            UNSIGNED => match Node::unsigned(part.u64().ok_or(SHORT)?) {
                Node::Unsigned(number) => Node::Unsigned(number),
                _ => return Err("a small number has the form of great ones"),
            },
            DOUBLE => {
                let number = f64::from_bits(part.u64().ok_or(SHORT)?);
                if !number.is_finite() {
                    return Err("a number of a document is not finite");
                }
                Node::Double(number)
            }
            TEXT => Node::text(text(std::mem::take(&mut part.0))?),
            ARRAY => Node::array(VecDeque::new()),
            OBJECT => Node::Object(Box::default()),
            _ => return Err("a value of an unknown kind"),
        };
        let missing = match tag {
            ARRAY | OBJECT => part.var().ok_or(SHORT)?,
            _ => 0,
        };
        if !part.is_empty() {
            return Err("bytes behind a value of a document");
        }
        if matches!(tag, ARRAY | OBJECT) && self.open.len() >= NESTING_MAX {
            return Err("a document is nested too deep");
        }
        self.open.push(Open { container: value, name: name.map(Into::into), missing });
        self.close(hasher)
    }

    /// Puts what is full into what it belongs to; gives the outermost when it is full.
    fn close(&mut self, hasher: &Hasher) -> Result<Option<Node>, &'static str> {
        while let Some(full) = self.open.pop_if(|open| open.missing == 0) {
            let Some(outer) = self.open.last_mut() else { return Ok(Some(full.container)) };
            outer.missing -= 1;
            match (&mut outer.container, full.name) {
                (Node::Array(elements), _) => elements.push_back(full.container),
                (Node::Object(members), Some(name)) => {
                    put_new(members, hasher, &name, full.container)?;
                }
                _ => return Err("a value stands in what holds none"),
            }
        }
        Ok(None)
    }
}

fn put_new(
    members: &mut Object,
    hasher: &Hasher,
    name: &[u8],
    value: Node,
) -> Result<(), &'static str> {
    match members.put(hasher, name, value) {
        None => Ok(()),
        Some(_) => Err("a name stands twice in its object"),
    }
}

fn text(bytes: &[u8]) -> Result<&[u8], &'static str> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err("text of a document is not UTF-8"),
    }
}
