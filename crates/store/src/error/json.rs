//! The errors of the JSON commands.
//! Owns: their texts. Never: other errors.
//!
//! The texts are those of Redis 8 (its reference of JSON errors), which are not all of one cast: some have no code in
//! front, and one has a code of its own spelling. Clients match on them.

use thiserror::Error;

/// Why a JSON command was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the text of each variant says when it occurs")]
pub enum JsonError {
    #[error("Existing key has wrong Redis type")]
    KeyType,
    #[error("ERR could not perform this operation on a key that doesn't exist")]
    NoKey,
    #[error("ERR new objects must be created at the root")]
    NotAtRoot,
    #[error("Err wrong static path")]
    DynamicPath,
    #[error("Error occurred on position {position}, expected {expected}")]
    Path { position: usize, expected: &'static str },
    #[error(
        "ERR the path looks at too many values: over {looks_max} for a document of this size; use fewer `..` and `*`"
    )]
    TooManyLooks { looks_max: u64 },
    /// A document, or a part of one.
    #[error("{fault}")]
    Value { fault: Box<str> },
    /// What goes with the values of a document.
    #[error("ERR {fault}")]
    Argument { fault: Box<str> },
    #[error("ERR Path does not exist")]
    NoPath,
    #[error("ERR Path does not exist or not {what}")]
    NotA { what: &'static str },
    // Redis writes it so.
    #[error("ERR Path does not exist or does not contains a number")]
    NoNumber,
    #[error("WRONGTYPE wrong type of path value - expected {expected} but found {found}")]
    ValueType { expected: &'static str, found: &'static str },
    #[error("ERR array index out of range")]
    NoElement,
    #[error("ERR index out of bounds")]
    OutOfBounds,
    #[error("bad input number")]
    NotANumber,
    #[error("ERR numeric overflow")]
    Overflow,
    #[error("ERR result is not a number")]
    NotFinite,
    #[error("ERR recursion limit exceeded: values may be nested {depth_max} deep")]
    TooDeep { depth_max: usize },
    #[error("ERR the reply exceeds {bytes_max} bytes; ask for less at a time")]
    ReplyTooLong { bytes_max: usize },
    #[error("ERR the values that {places} places would get exceed {bytes_max} bytes together")]
    TooLarge { places: usize, bytes_max: usize },
}
