//! BZPOPMIN, BZPOPMAX, BZMPOP: what their relatives do that do not wait, if there is something.
//! Each says false, and answers nothing, if there is not; who waits then, and for how long, is not known here.

use keystead_resp::{Args, ReplyWriter};

use super::pop::{End, PopQuery, Shape, first_filled, pop};
use crate::command::Writer;
use crate::command::wait::{Scope, seconds};
use crate::error::CommandError;

pub(crate) fn bzpopmin(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    pop_one(writer, args, (scope, End::Least), reply)
}

pub(crate) fn bzpopmax(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    pop_one(writer, args, (scope, End::Greatest), reply)
}

fn pop_one(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    (scope, end): (Scope<'_>, End),
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let last = args.len() - 1;
    seconds(&args[last])?;
    let keys = scope.of(args.from(1).up_to(last - 1));
    match first_filled(writer, keys.iter())? {
        Some(key) => Ok(pop(writer, key, (end, 1), (reply, Shape::KeyThenFlat))?),
        None => Ok(false),
    }
}

pub(crate) fn bzmpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let query = PopQuery::parse(args.from(2))?;
    seconds(&args[1])?;
    match first_filled(writer, query.keys().filter(|key| scope.has(key)))? {
        Some(key) => Ok(pop(writer, key, (query.end, query.count), (reply, Shape::KeyThenPairs))?),
        None => Ok(false),
    }
}
