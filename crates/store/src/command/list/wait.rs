//! BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH: what their relatives do that do not wait, if there is something.
//! Each says false, and answers nothing, if there is not; who waits then, and for how long, is not known here.

use keystead_resp::{Args, ReplyWriter};

use super::ends::pop;
use super::pop::{Popping, pop_first_of};
use super::transfer::{Route, move_element};
use crate::command::Writer;
use crate::command::wait::{Scope, seconds};
use crate::error::CommandError;
use crate::value::list::Side;

pub(crate) fn blpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    pop_one(writer, args, (scope, Side::Left), reply)
}

pub(crate) fn brpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    pop_one(writer, args, (scope, Side::Right), reply)
}

fn pop_one(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    (scope, side): (Scope<'_>, Side),
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let last = args.len() - 1;
    seconds(&args[last])?;
    for key in scope.of(args.from(1).up_to(last - 1)).iter() {
        if let Some(element) = pop(writer, key, side)? {
            reply.array(2);
            reply.bulk(key);
            reply.bulk(&element);
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn blmpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let mut popping = Popping::parse(args.from(2))?;
    seconds(&args[1])?;
    popping.keys = scope.of(popping.keys);
    Ok(pop_first_of(writer, &popping, reply)?)
}

pub(crate) fn blmove(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let route = Route::parse(args.from(1))?;
    seconds(&args[5])?;
    move_one(writer, route, reply)
}

pub(crate) fn brpoplpush(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    seconds(&args[3])?;
    move_one(writer, Route::from_tail_to_head(args.from(1)), reply)
}

fn move_one(
    writer: &mut Writer<'_>,
    route: Route<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let element = move_element(writer, route)?;
    if let Some(element) = &element {
        reply.bulk(element);
    }
    Ok(element.is_some())
}
