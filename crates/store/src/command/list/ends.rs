//! LPUSH, RPUSH, LPUSHX, RPUSHX, and what else takes or gives an element at an end.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::{CommandError, WrongType};
use crate::keyspace::Change;
use crate::value::list::{List, Side};

pub(crate) fn lpush(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    push_all(writer, args, reply, Side::Left)
}

pub(crate) fn rpush(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    push_all(writer, args, reply, Side::Right)
}

pub(crate) fn lpushx(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    push_if_there(writer, args, reply, Side::Left)
}

pub(crate) fn rpushx(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    push_if_there(writer, args, reply, Side::Right)
}

fn push_if_there(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    side: Side,
) -> Result<(), CommandError> {
    if writer.kind::<List>(&args[1])?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    push_all(writer, args, reply, side)
}

fn push_all(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    side: Side,
) -> Result<(), CommandError> {
    let len = writer.edit(&args[1], |list: &mut List, _| {
        args.from(2).iter().for_each(|element| list.push(side, element));
        (Change::Changed, list.len())
    })?;
    pushed(writer, &args[1], side);
    reply.integer(len as i64);
    Ok(())
}

/// Puts an element at an end of the list under `key`, which is made if it is not there.
///
/// # Errors
/// If the key holds something else.
pub(crate) fn push(
    writer: &mut Writer<'_>,
    key: &[u8],
    side: Side,
    element: &[u8],
) -> Result<(), WrongType> {
    writer.edit(key, |list: &mut List, _| {
        list.push(side, element);
        (Change::Changed, ())
    })?;
    pushed(writer, key, side);
    Ok(())
}

/// Takes the element out at an end of the list under `key`; `None` if there is none.
///
/// # Errors
/// If the key holds something else.
pub(crate) fn pop(
    writer: &mut Writer<'_>,
    key: &[u8],
    side: Side,
) -> Result<Option<Vec<u8>>, WrongType> {
    let element = writer.edit(key, |list: &mut List, _| {
        let element = list.end(side).map(<[u8]>::to_vec);
        list.drop_at(side, 1);
        (Change::of(element.is_some()), element)
    })?;
    if element.is_some() {
        popped(writer, key, side);
    }
    Ok(element)
}

/// Tells that elements came at an end.
pub(super) fn pushed(writer: &mut Writer<'_>, key: &[u8], side: Side) {
    let event = if side == Side::Left { "lpush" } else { "rpush" };
    writer.notify(EventClass::List, event, key);
}

/// Tells that elements went at an end, and the list with them if it was left empty.
pub(super) fn popped(writer: &mut Writer<'_>, key: &[u8], side: Side) {
    let event = if side == Side::Left { "lpop" } else { "rpop" };
    writer.notify_shrunk(EventClass::List, event, key);
}

/// LEFT or RIGHT.
pub(super) fn parse_side(word: &[u8]) -> Result<Side, CommandError> {
    if word.eq_ignore_ascii_case(b"LEFT") {
        Ok(Side::Left)
    } else if word.eq_ignore_ascii_case(b"RIGHT") {
        Ok(Side::Right)
    } else {
        Err(CommandError::Syntax)
    }
}
