//! The JSON family: documents that are read and changed in part, a file per command or tight group.
//! Owns: what its commands share: finding a document, reading paths and values. Never: the tree itself (`value/json.rs`).
//!
//! Source of all replies and errors: the Redis 8 documentation of these commands, its reference of JSON errors and its
//! guide to RESP3 replies. A path of the older dialect is answered with one value, `$...` with an array of them.

use keystead_resp::{Args, Protocol, ReplyWriter};

use crate::command::{Reader, Writer};
use crate::error::{CommandError, JsonError};
use crate::table::Hasher;
use crate::value::json::path::{Path, Selection, TooMuch, select};
use crate::value::json::{Json, NESTING_MAX, Node, read};

pub(super) mod array;
pub(super) mod debug;
pub(super) mod del;
mod edit;
pub(super) mod find;
pub(super) mod get;
pub(super) mod measure;
pub(super) mod merge;
pub(super) mod number;
mod place;
pub(super) mod resp;
pub(super) mod scalar;
pub(super) mod set;

/// The document under a key.
fn document<'a>(reader: &Reader<'a>, key: &[u8]) -> Result<Option<&'a Json>, CommandError> {
    reader.kind(key).map_err(|_| JsonError::KeyType.into())
}

/// The same, for a command that writes.
fn written<'a>(writer: &'a Writer<'_>, key: &[u8]) -> Result<Option<&'a Json>, CommandError> {
    writer.kind(key).map_err(|_| JsonError::KeyType.into())
}

/// The path at this argument; if there is none, the root in the dialect that the protocol makes the usual one.
fn path_at<'a>(args: Args<'a>, at: usize, reply: &ReplyWriter<'_>) -> &'a [u8] {
    args.get(at).unwrap_or(match reply.protocol() {
        Protocol::Resp2 => b".",
        Protocol::Resp3 => b"$",
    })
}

fn read_path(hasher: &Hasher, text: &[u8]) -> Result<Path, CommandError> {
    Path::read(hasher, text).map_err(|error| {
        JsonError::Path { position: error.position, expected: error.expected }.into()
    })
}

fn selected<'d>(
    path: &Path,
    document: &'d Json,
    hasher: &Hasher,
) -> Result<Selection<'d>, CommandError> {
    select(path, document, hasher).map_err(too_much)
}

/// Takes looks for what is done with what a path found.
fn look(selection: &Selection<'_>, times: usize) -> Result<(), CommandError> {
    selection.look(times as u64).map_err(too_much)
}

fn too_much(error: TooMuch) -> CommandError {
    JsonError::TooManyLooks { looks_max: error.looks_max }.into()
}

/// Reads a value that goes into a document.
fn read_value(hasher: &Hasher, text: &[u8]) -> Result<Node, CommandError> {
    read(hasher, text).map_err(|error| JsonError::Value { fault: error.to_string().into() }.into())
}

/// Reads a value that a command works with.
fn read_argument(hasher: &Hasher, text: &[u8]) -> Result<Node, CommandError> {
    read(hasher, text)
        .map_err(|error| JsonError::Argument { fault: error.to_string().into() }.into())
}

/// Refuses to nest `depth` containers into as many as stand around a place.
fn check_depth(around: usize, depth: usize) -> Result<(), CommandError> {
    if around + depth > NESTING_MAX {
        return Err(JsonError::TooDeep { depth_max: NESTING_MAX }.into());
    }
    Ok(())
}
