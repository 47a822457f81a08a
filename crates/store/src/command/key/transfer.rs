//! MOVE, COPY: a key's value in another database, or under another key there; with its time to expire.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::DatabaseId;

use crate::command::{Writer, database};
use crate::effect::EventClass;
use crate::error::CommandError;

use super::rename::put;

pub(crate) fn move_between(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = &args[1];
    let source = writer.keyspace.selected();
    let target = database::selected(&args[2])?;
    if source == target {
        return Err(CommandError::SameObject);
    }
    let is_movable = writer.entry(key).is_some() && is_free(writer, target, key);
    let entry = if is_movable { writer.keyspace.take(writer.ctx.now, key) } else { None };
    reply.integer(i64::from(entry.is_some()));
    if let Some(entry) = entry {
        in_database(writer, target, |writer| put(writer, key, entry));
        writer.notify(EventClass::Generic, "move_from", key);
        in_database(writer, target, |writer| {
            writer.notify(EventClass::Generic, "move_to", key);
        });
    }
    Ok(())
}

pub(crate) fn copy(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (from, to) = (&args[1], &args[2]);
    let source = writer.keyspace.selected();
    let mut target = source;
    let mut is_replacing = false;
    let mut rest = args.iter().skip(3);
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"REPLACE") {
            is_replacing = true;
        } else if option.eq_ignore_ascii_case(b"DB") {
            target = database::selected(rest.next().ok_or(CommandError::Syntax)?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if from == to && source == target {
        return Err(CommandError::SameObject);
    }
    let may_copy = is_replacing || is_free(writer, target, to);
    let copied = writer.entry(from).filter(|_| may_copy);
    let copied = copied.map(|entry| entry.duplicate(to, &writer.keyspace.hasher));
    reply.integer(i64::from(copied.is_some()));
    if let Some(entry) = copied {
        in_database(writer, target, |writer| {
            put(writer, to, entry);
            writer.notify(EventClass::Generic, "copy_to", to);
        });
    }
    Ok(())
}

/// True if nothing is visible under `key` of another database.
fn is_free(writer: &mut Writer<'_>, database: DatabaseId, key: &[u8]) -> bool {
    in_database(writer, database, |writer| writer.entry(key).is_none())
}

/// Calls `run` with another database selected.
fn in_database<R>(
    writer: &mut Writer<'_>,
    database: DatabaseId,
    run: impl FnOnce(&mut Writer<'_>) -> R,
) -> R {
    let before = writer.keyspace.selected();
    writer.keyspace.select(database);
    let result = run(writer);
    writer.keyspace.select(before);
    result
}
