//! JSON text into values.
//! Owns: which numbers become what, and which of two members of one name counts (the last). Never: lenience: the text
//! is what RFC 8259 allows, nested at most [`NESTING_MAX`](super::NESTING_MAX) deep.
//!
//! The grammar and the words of its errors are those of the crate `serde_json`, as in RedisJSON.

use std::collections::VecDeque;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::table::Hasher;

use super::node::Node;
use super::object::Object;

/// Reads a value that is the whole of `text`.
///
/// # Errors
/// What is wrong, and at which line and column.
pub(crate) fn read(hasher: &Hasher, text: &[u8]) -> Result<Node, serde_json::Error> {
    let mut input = serde_json::Deserializer::from_slice(text);
    let value = Reading { hasher }.deserialize(&mut input)?;
    input.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Reading<'a> {
    hasher: &'a Hasher,
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Node, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::text(value.as_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let mut elements = VecDeque::new();
        while let Some(element) = input.next_element_seed(self)? {
            elements.push_back(element);
        }
        elements.shrink_to_fit();
        Ok(Node::array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let mut members = Object::default();
        while let Some(name) = input.next_key_seed(Name)? {
            let value = input.next_value_seed(self)?;
            members.put(self.hasher, name.as_bytes(), value);
        }
        members.shrink();
        Ok(Node::Object(Box::new(members)))
    }
}

/// The name of a member; borrowed where the text has it without escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = std::borrow::Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(name.into())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(name.to_owned().into())
    }
}
