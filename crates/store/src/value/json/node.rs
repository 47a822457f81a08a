//! One value of a document, and all that is in it.
//! Owns: [`Node`], its names, its size, what equals what. Never: paths, text (see `read.rs`, `print.rs`).

use std::collections::VecDeque;

use crate::allocation::granted;
use crate::table::Hasher;

use super::object::Object;
use super::text::{Text, granted_buffer};

/// Most containers around a value, itself counted: as many as the reader of text takes, so that what is printed can be
/// read back. Every walk over a document recurses that far and no further (INV-JSON2).
pub(crate) const NESTING_MAX: usize = 127;

/// A value of a document, in two words.
#[derive(Clone)]
pub(crate) enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// The same, above the greatest [`i64`].
    Unsigned(u64),
    /// A number with a fraction or an exponent, or beyond 64 bits; finite.
    Double(f64),
    /// A string.
    Text(Text),
    /// Elements; both ends are reached at once.
    #[expect(clippy::box_collection, reason = "one word instead of four: see above")]
    Array(Box<VecDeque<Node>>),
    /// Members.
    Object(Box<Object>),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// 1 and 1.0 are two values.
    ByForm,
    /// 1 and 1.0 are one value.
    ByWorth,
}

impl Node {
    /// An empty array or the one that holds these.
    pub(crate) fn array(elements: VecDeque<Self>) -> Self {
        Self::Array(Box::new(elements))
    }

    /// A string.
    pub(crate) fn text(text: &[u8]) -> Self {
        Self::Text(Text::new(text))
    }

    /// The number, as JSON.TYPE tells `integer` and `number` apart.
    pub(crate) fn unsigned(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Unsigned(number), Self::Integer)
    }

    /// What JSON.TYPE calls it.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) | Self::Unsigned(_) => "integer",
            Self::Double(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The elements, if it is an array.
    pub(crate) fn as_array(&self) -> Option<&VecDeque<Self>> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub(crate) fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The bytes, if it is a string.
    pub(crate) fn as_text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The worth, if it is a number.
    pub(crate) const fn as_double(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Unsigned(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }

    /// What is at a step from here: an element's index, or a member's place.
    pub(crate) fn child(&self, step: usize) -> Option<&Self> {
        match self {
            Self::Array(elements) => elements.get(step),
            Self::Object(members) => members.at(step),
            _ => None,
        }
    }

    /// The same, for changing it.
    pub(crate) fn child_mut(&mut self, step: usize) -> Option<&mut Self> {
        match self {
            Self::Array(elements) => elements.get_mut(step),
            Self::Object(members) => members.at_mut(step),
            _ => None,
        }
    }

    /// Elements or members, zero of anything else.
    pub(crate) fn child_count(&self) -> usize {
        match self {
            Self::Array(elements) => elements.len(),
            Self::Object(members) => members.len(),
            _ => 0,
        }
    }

    /// Calls `visit` with each element or member and the step to it.
    pub(crate) fn each_child<'a>(&'a self, mut visit: impl FnMut(usize, &'a Self)) {
        match self {
            Self::Array(elements) => {
                elements.iter().enumerate().for_each(|(step, element)| visit(step, element));
            }
            Self::Object(members) => members.iter().for_each(|(step, _, value)| visit(step, value)),
            _ => {}
        }
    }

    /// Containers on the longest way down, itself counted.
    pub(crate) fn depth(&self) -> usize {
        let mut deepest = 0;
        self.each_child(|_, child| deepest = deepest.max(child.depth()));
        deepest + usize::from(matches!(self, Self::Array(_) | Self::Object(_)))
    }

    /// Values in it, itself counted.
    pub(crate) fn node_count(&self) -> u64 {
        let mut count = 1;
        self.each_child(|_, child| count += child.node_count());
        count
    }

    /// Bytes of memory behind it.
    pub(crate) fn bytes_behind(&self) -> usize {
        self.own_bytes() + self.inner_bytes()
    }

    /// Bytes of memory behind it without those behind what is in it.
    pub(super) fn own_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.bytes_behind(),
            Self::Array(elements) => {
                let buffer = granted_buffer(elements.len() * size_of::<Self>());
                granted(size_of::<VecDeque<Self>>()) + buffer
            }
            Self::Object(members) => members.own_bytes(),
            _ => 0,
        }
    }

    /// Bytes of memory behind what is in it.
    pub(super) fn inner_bytes(&self) -> usize {
        match self {
            Self::Array(elements) => elements.iter().map(Self::bytes_behind).sum(),
            Self::Object(members) => members.member_bytes(),
            _ => 0,
        }
    }

    /// True if the two are the same value; `visit` is called for every pair that is looked at and may end it.
    ///
    /// # Errors
    /// What `visit` gives.
    pub(crate) fn equals<E>(
        &self,
        other: &Self,
        (hasher, numbers): (&Hasher, Numbers),
        visit: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<bool, E> {
        visit()?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Unsigned(one), Self::Unsigned(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one.as_bytes() == other.as_bytes(),
            (Self::Array(one), Self::Array(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other.iter()) {
                    if !one.equals(other, (hasher, numbers), visit)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Object(one), Self::Object(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (_, name, value) in one.iter() {
                    let Some(found) = other.get(hasher, name) else { return Ok(false) };
                    if !value.equals(found, (hasher, numbers), visit)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Double(one), Self::Double(other)) => one == other,
            _ if numbers == Numbers::ByForm => false,
            _ => match (self.as_double(), other.as_double()) {
                (Some(one), Some(other)) => one == other,
                _ => false,
            },
        })
    }
}

/// A document is mostly these.
const _: () = assert!(size_of::<Node>() == 16, "a value takes two words");
