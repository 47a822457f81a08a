//! LMOVE, RPOPLPUSH: an element from an end of one list to an end of another, or of the same.

use keystead_resp::{Args, ReplyWriter};

use super::ends::{parse_side, pop, popped, push, pushed};
use crate::command::Writer;
use crate::error::{CommandError, WrongType};
use crate::keyspace::Change;
use crate::value::list::{List, Side};

/// From where to where an element goes.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    /// The list that loses it, and where.
    pub(crate) from: (&'a [u8], Side),
    /// The list that gets it, and where.
    pub(crate) to: (&'a [u8], Side),
}

impl<'a> Route<'a> {
    /// Reads `source destination LEFT|RIGHT LEFT|RIGHT`.
    pub(crate) fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let sides = (parse_side(&args[2])?, parse_side(&args[3])?);
        Ok(Self::between(args, sides))
    }

    /// What RPOPLPUSH means by `source destination`.
    pub(crate) fn from_tail_to_head(args: Args<'a>) -> Self {
        Self::between(args, (Side::Right, Side::Left))
    }

    fn between(args: Args<'a>, (from, to): (Side, Side)) -> Self {
        let key = |at| args.get(at).unwrap_or_default();
        Self { from: (key(0), from), to: (key(1), to) }
    }
}

pub(crate) fn lmove(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(writer, Route::parse(args.from(1))?, reply)
}

pub(crate) fn rpoplpush(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(writer, Route::from_tail_to_head(args.from(1)), reply)
}

fn answer(
    writer: &mut Writer<'_>,
    route: Route<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.bulk_or_null(move_element(writer, route)?.as_deref());
    Ok(())
}

/// Moves an element and returns it; `None` if there is none to move.
///
/// # Errors
/// If one of the keys holds something else; then nothing was moved.
pub(crate) fn move_element(
    writer: &mut Writer<'_>,
    route: Route<'_>,
) -> Result<Option<Vec<u8>>, WrongType> {
    let Route { from: (source, from), to: (destination, to) } = route;
    if source == destination {
        // In one step: a list of one element would be gone in between, and its time to expire with it.
        let element = writer.edit(source, |list: &mut List, _| {
            let element = list.end(from).map(<[u8]>::to_vec);
            if let Some(element) = &element {
                list.drop_at(from, 1);
                list.push(to, element);
            }
            (Change::of(element.is_some()), element)
        })?;
        if element.is_some() {
            pushed(writer, destination, to);
            popped(writer, source, from);
        }
        return Ok(element);
    }
    let Some(list) = writer.kind::<List>(source)? else { return Ok(None) };
    let Some(element) = list.end(from).map(<[u8]>::to_vec) else { return Ok(None) };
    // First where it goes: what cannot be pushed is not popped.
    push(writer, destination, to, &element)?;
    pop(writer, source, from)?;
    Ok(Some(element))
}
