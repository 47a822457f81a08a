//! Where JSON.SET, JSON.MSET and JSON.MERGE put a value.
//! Owns: which of the places that a path names count, and which place it makes. Never: changes a document.

use crate::command::json::edit::check_size;
use crate::command::json::{check_depth, selected};
use crate::error::{CommandError, JsonError};
use crate::table::Hasher;
use crate::value::json::path::Path;
use crate::value::json::{Json, Location, Node};

/// Where a value goes.
pub(super) enum Place {
    /// Into the places of these values.
    At(Vec<Location>),
    /// Into the object there, as a new member.
    Member(Location, Box<[u8]>),
    /// Nowhere: what would hold it is not there, or is no object.
    Nowhere,
}

/// Which places a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    /// NX: none that is there.
    New,
    /// XX: none that is not there.
    Present,
}

/// Finds out where `value` goes.
pub(super) fn find(
    document: &Json,
    hasher: &Hasher,
    path: Path,
    (wanted, value): (Wanted, &Node),
) -> Result<Place, CommandError> {
    let selection = selected(&path, document, hasher)?;
    let depth = value.depth();
    if !selection.is_empty() {
        if wanted == Wanted::New {
            return Ok(Place::Nowhere);
        }
        let locations: Vec<Location> = selection.locations().collect();
        check_size(locations.len(), value.bytes_behind())?;
        locations.iter().try_for_each(|location| check_depth(location.len(), depth))?;
        return Ok(Place::At(locations));
    }
    if wanted == Wanted::Present {
        return Ok(Place::Nowhere);
    }
    if !path.is_definite() {
        return Err(JsonError::DynamicPath.into());
    }
    let Some((parent, name)) = path.split_last() else { return Ok(Place::Nowhere) };
    let name = name.ok_or(JsonError::NoElement)?;
    let selection = selected(&parent, document, hasher)?;
    if selection.first().and_then(Node::as_object).is_none() {
        return Ok(Place::Nowhere);
    }
    let Some(location) = selection.locations().next() else { return Ok(Place::Nowhere) };
    check_depth(location.len() + 1, depth)?;
    Ok(Place::Member(location, name))
}

/// Without those that lie in others, and without doubles; ascending.
pub(super) fn outermost(mut locations: Vec<Location>) -> Vec<Location> {
    locations.sort_unstable();
    let mut kept: Vec<Location> = Vec::with_capacity(locations.len());
    for location in locations {
        if !kept.last().is_some_and(|outer| location.starts_with(outer)) {
            kept.push(location);
        }
    }
    kept
}
