//! Changing every value that a path names, all or none of them.
//! Owns: the order, what an older path is answered. Never: what a command does to a value.
//!
//! A command looks at all the values first and may refuse; only then is any of them changed.

use keystead_resp::ReplyWriter;
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::Writer;
use crate::command::json::{look, read_path, selected, written};
use crate::effect::EventClass;
use crate::error::{CommandError, JsonError};
use crate::keyspace::Change;
use crate::table::Hasher;
use crate::value::json::{Json, Location, Node};

/// Values that are moved by one look.
const MOVED_PER_LOOK: usize = 64;

/// Which value is changed first. An older path is answered with the one that was changed last, as in RedisJSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The first in the document.
    FirstToLast,
    /// The last: what moves elements must not move those that are still to be changed.
    LastToFirst,
}

/// A change of the values that a path names.
pub(super) struct Edit<'a> {
    pub(super) key: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) order: Order,
    /// The event that is told.
    pub(super) event: &'static str,
    /// What an older path is answered if nothing that it names can be changed.
    pub(super) nothing: JsonError,
}

/// What became of the values, in the order of the document; `None` where a value is not of the type to be changed.
pub(super) struct Edited<R> {
    is_legacy: bool,
    order: Order,
    results: Vec<Option<R>>,
}

impl Edit<'_> {
    /// Calls `plan` with each value and the number of containers around it, then `apply` where it gave something.
    ///
    /// `apply` says whether it changed the document, and what to answer.
    pub(super) fn run<T, R>(
        self,
        writer: &mut Writer<'_>,
        mut plan: impl FnMut(&Hasher, &Node, usize) -> Result<Option<T>, CommandError>,
        mut apply: impl FnMut(&mut Json, &Hasher, &Location, T) -> (bool, R),
    ) -> Result<Edited<R>, CommandError> {
        let hasher = &writer.keyspace.hasher;
        let document = written(writer, self.key)?.ok_or(JsonError::NoKey)?;
        let path = read_path(hasher, self.path)?;
        let selection = selected(&path, document, hasher)?;
        let mut plans = Vec::with_capacity(selection.len());
        for (node, location) in selection.nodes().zip(selection.locations()) {
            // Changing a container may move what is in it, which is quick but not free.
            look(&selection, 1 + node.child_count() / MOVED_PER_LOOK)?;
            let planned = plan(hasher, node, location.len())?;
            plans.push((location, planned));
        }
        if path.is_legacy && !plans.iter().any(|(_, planned)| planned.is_some()) {
            return Err(self.nothing.into());
        }
        let mut results: Vec<Option<R>> = Vec::with_capacity(plans.len());
        let is_changed = writer.edit(self.key, |document: &mut Json, hasher| {
            let mut is_changed = false;
            let mut one = |(location, planned): (Location, Option<T>)| {
                planned.map(|planned| {
                    let (has_changed, result) = apply(document, hasher, &location, planned);
                    is_changed |= has_changed;
                    result
                })
            };
            match self.order {
                Order::FirstToLast => results.extend(plans.into_iter().map(&mut one)),
                Order::LastToFirst => {
                    results.extend(plans.into_iter().rev().map(&mut one));
                    results.reverse();
                }
            }
            (Change::of(is_changed), is_changed)
        })?;
        if is_changed {
            writer.notify(EventClass::Module, self.event, self.key);
        }
        Ok(Edited { is_legacy: path.is_legacy, order: self.order, results })
    }
}

impl<R> Edited<R> {
    /// True if the path was one of the older dialect.
    pub(super) const fn is_legacy(&self) -> bool {
        self.is_legacy
    }

    /// What became of each value.
    pub(super) fn results(&self) -> &[Option<R>] {
        &self.results
    }

    /// What became of the value that was changed last.
    pub(super) fn last(&self) -> Option<&R> {
        let mut changed = self.results.iter().flatten();
        match self.order {
            Order::FirstToLast => changed.next_back(),
            Order::LastToFirst => changed.next(),
        }
    }

    /// Answers with one result or with all of them.
    pub(super) fn answer(
        &self,
        reply: &mut ReplyWriter<'_>,
        write: impl Fn(&R, &mut ReplyWriter<'_>),
    ) {
        let one = |result: Option<&R>, reply: &mut ReplyWriter<'_>| match result {
            Some(result) => write(result, reply),
            None => reply.null(),
        };
        if self.is_legacy {
            return one(self.last(), reply);
        }
        reply.array(self.results.len());
        self.results.iter().for_each(|result| one(result.as_ref(), reply));
    }
}

/// Refuses to give `places` places values of `bytes` bytes if that is more than one command may bring: a path of a few
/// bytes names as many places as there are values.
pub(super) fn check_size(places: usize, bytes: usize) -> Result<(), CommandError> {
    if places > 1 && places.saturating_mul(bytes) > BULK_BYTES_MAX {
        return Err(JsonError::TooLarge { places, bytes_max: BULK_BYTES_MAX }.into());
    }
    Ok(())
}
