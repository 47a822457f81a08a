//! XACK, XACKDEL: what was delivered is done.
//! XACKDEL is that of the Redis 8.2 documentation.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::parse_ids;
use super::delete::{DELETED, NOT_FOUND, STILL_NEEDED, answer_outcomes, delete, parse_deletion};
use crate::command::Writer;
use crate::error::{CommandError, WrongType};
use crate::keyspace::Change;
use crate::value::stream::Stream;

/// True if the group that args 1 and 2 name exists.
fn has_group(writer: &Writer<'_>, args: Args<'_>) -> Result<bool, WrongType> {
    let stream = writer.kind::<Stream>(&args[1])?;
    Ok(stream.is_some_and(|stream| stream.groups().contains_key(&args[2])))
}

pub(crate) fn xack(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if !has_group(writer, args)? {
        reply.integer(0);
        return Ok(());
    }
    let ids = parse_ids(args.from(3))?;
    let acknowledged = writer.edit(&args[1], |stream: &mut Stream, _| {
        let acknowledged = stream
            .edit_group(&args[2], |group| ids.iter().filter(|id| group.acknowledge(**id)).count());
        // As in Redis, what a group knows is nothing that a watch notices: the entries are the same.
        (Change::Unchanged, acknowledged.unwrap_or(0))
    })?;
    reply.integer(acknowledged as i64);
    Ok(())
}

pub(crate) fn xackdel(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (references, ids) = parse_deletion(args.from(3))?;
    if !has_group(writer, args)? {
        reply.array(ids.len());
        ids.iter().for_each(|_| reply.integer(NOT_FOUND));
        return Ok(());
    }
    let outcomes: Vec<i64> = writer.edit(&args[1], |stream: &mut Stream, _| {
        let outcomes = ids.iter().map(|id| {
            let is_acknowledged = stream.edit_group(&args[2], |group| group.acknowledge(*id));
            if is_acknowledged != Some(true) {
                return NOT_FOUND;
            }
            match delete(stream, *id, references) {
                STILL_NEEDED => STILL_NEEDED,
                _ => DELETED,
            }
        });
        let outcomes: Vec<i64> = outcomes.collect();
        (Change::of(outcomes.contains(&DELETED)), outcomes)
    })?;
    answer_outcomes(writer, &args[1], &outcomes, reply);
    Ok(())
}
