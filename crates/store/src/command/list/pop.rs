//! LPOP, RPOP, LMPOP: taking elements out at an end.

use keystead_resp::{Args, ReplyWriter};

use super::ends::{parse_side, popped};
use crate::command::Writer;
use crate::error::{CommandError, WrongType};
use crate::keyspace::Change;
use crate::number::parse_integer;
use crate::value::Kind;
use crate::value::list::{List, Side};

pub(crate) fn lpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    pop_at(writer, args, reply, (Side::Left, "lpop"))
}

pub(crate) fn rpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    pop_at(writer, args, reply, (Side::Right, "rpop"))
}

fn pop_at(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    (side, command): (Side, &'static str),
) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Arity { command });
    }
    let Some(count) = args.get(2) else {
        let is_changed = writer.edit(&args[1], |list: &mut List, _| {
            reply.bulk_or_null(list.end(side));
            let is_changed = !list.is_empty();
            list.drop_at(side, 1);
            (Change::of(is_changed), is_changed)
        })?;
        if is_changed {
            popped(writer, &args[1], side);
        }
        return Ok(());
    };
    let count = parse_integer(count).ok_or(CommandError::NotPositive)?;
    let count = usize::try_from(count).map_err(|_| CommandError::NotPositive)?;
    let is_changed = writer.edit(&args[1], |list: &mut List, _| {
        if list.is_empty() {
            reply.null_array();
            return (Change::Unchanged, false);
        }
        take(list, side, count, reply);
        (Change::of(count > 0), count > 0)
    })?;
    if is_changed {
        popped(writer, &args[1], side);
    }
    Ok(())
}

/// Answers with up to `count` elements from an end on, and takes them out.
fn take(list: &mut List, side: Side, count: usize, reply: &mut ReplyWriter<'_>) {
    let count = count.min(list.len());
    reply.array(count);
    list.iter(side).take(count).for_each(|element| reply.bulk(element));
    list.drop_at(side, count);
}

pub(crate) fn lmpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let popping = Popping::parse(args.from(1))?;
    if !pop_first_of(writer, &popping, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// What LMPOP and BLMPOP ask for.
pub(crate) struct Popping<'a> {
    /// The lists, the first one with elements is taken.
    pub(crate) keys: Args<'a>,
    /// From where.
    pub(crate) side: Side,
    /// At most so many elements.
    pub(crate) count: usize,
}

impl<'a> Popping<'a> {
    /// Reads `numkeys key ... LEFT|RIGHT [COUNT count]`.
    pub(crate) fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let positive = |text: &[u8], refusal: &'static str| {
            let number = parse_integer(text).filter(|number| *number > 0);
            let number = number.and_then(|number| usize::try_from(number).ok());
            number.ok_or(CommandError::Text { text: refusal })
        };
        let key_count = positive(&args[0], "ERR numkeys should be greater than 0")?;
        let side = key_count.checked_add(1).and_then(|at| args.get(at));
        let side = parse_side(side.ok_or(CommandError::Syntax)?)?;
        let mut count = None;
        let mut rest = args.from(key_count + 2);
        while let Some(option) = rest.get(0) {
            let number = rest.get(1).ok_or(CommandError::Syntax)?;
            if !option.eq_ignore_ascii_case(b"COUNT") || count.is_some() {
                return Err(CommandError::Syntax);
            }
            count = Some(positive(number, "ERR count should be greater than 0")?);
            rest = rest.from(2);
        }
        Ok(Self { keys: args.from(1).up_to(key_count), side, count: count.unwrap_or(1) })
    }
}

/// Pops from the first list with elements and answers with its key and them; false, and no answer, if there is none.
///
/// # Errors
/// If a key that comes before holds something else.
pub(crate) fn pop_first_of(
    writer: &mut Writer<'_>,
    popping: &Popping<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, WrongType> {
    for key in popping.keys.iter() {
        if writer.kind::<List>(key)?.is_some() {
            reply.array(2);
            reply.bulk(key);
            writer.edit(key, |list: &mut List, _| {
                take(list, popping.side, popping.count, reply);
                (Change::Changed, ())
            })?;
            popped(writer, key, popping.side);
            return Ok(true);
        }
    }
    Ok(false)
}
