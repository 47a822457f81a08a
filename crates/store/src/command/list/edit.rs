//! LSET, LINSERT, LREM, LTRIM: changing a list anywhere.

use keystead_resp::{Args, ReplyWriter};

use super::range::{parse_span, place, within};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;
use crate::value::Kind;
use crate::value::list::{Beside, List, Side};

pub(crate) fn lset(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let Some(list) = writer.kind::<List>(&args[1])? else { return Err(CommandError::NoSuchKey) };
    let index = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let index = place(list, index).filter(|index| *index < list.len());
    let index = index.ok_or(CommandError::Text { text: "ERR index out of range" })?;
    writer.edit(&args[1], |list: &mut List, _| {
        list.set(index, &args[3]);
        (Change::Changed, ())
    })?;
    writer.notify(EventClass::List, "lset", &args[1]);
    reply.ok();
    Ok(())
}

pub(crate) fn linsert(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    const NO_PIVOT: i64 = -1;
    let beside = if args[2].eq_ignore_ascii_case(b"BEFORE") {
        Beside::Before
    } else if args[2].eq_ignore_ascii_case(b"AFTER") {
        Beside::After
    } else {
        return Err(CommandError::Syntax);
    };
    let len = writer.edit(&args[1], |list: &mut List, _| {
        if list.is_empty() {
            return (Change::Unchanged, 0);
        }
        match list.insert_beside(&args[3], beside, &args[4]) {
            true => (Change::Changed, list.len() as i64),
            false => (Change::Unchanged, NO_PIVOT),
        }
    })?;
    if len > 0 {
        writer.notify(EventClass::List, "linsert", &args[1]);
    }
    reply.integer(len);
    Ok(())
}

pub(crate) fn lrem(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let count = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let side = if count < 0 { Side::Right } else { Side::Left };
    let limit = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    let removed = writer.edit(&args[1], |list: &mut List, _| {
        let removed = list.remove_equal(&args[3], side, limit);
        (Change::of(removed > 0), removed)
    })?;
    if removed > 0 {
        writer.notify_shrunk(EventClass::List, "lrem", &args[1]);
    }
    reply.integer(removed as i64);
    Ok(())
}

pub(crate) fn ltrim(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let span = parse_span(args)?;
    let is_there = writer.edit(&args[1], |list: &mut List, _| {
        if list.is_empty() {
            return (Change::Unchanged, false);
        }
        let (start, count) = within(list, span);
        let behind = list.len() - (start + count);
        list.drop_at(Side::Right, behind);
        list.drop_at(Side::Left, start);
        // A watch notices even a trim that removed nothing, as in Redis.
        (Change::Changed, true)
    })?;
    if is_there {
        writer.notify_shrunk(EventClass::List, "ltrim", &args[1]);
    }
    reply.ok();
    Ok(())
}
