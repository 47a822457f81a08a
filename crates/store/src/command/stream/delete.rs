//! XDEL, XDELEX, XSETID: removing entries by id, and setting what a stream says of its past.
//! XDELEX is that of the Redis 8.2 documentation.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{parse_id, parse_ids, parse_number, references_of};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::value::stream::{References, Stream, StreamId};

/// Replies of XDELEX and XACKDEL.
pub(super) const NOT_FOUND: i64 = -1;
/// The entry was removed.
pub(super) const DELETED: i64 = 1;
/// Some group still needs it.
pub(super) const STILL_NEEDED: i64 = 2;

pub(crate) fn xdel(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if writer.kind::<Stream>(&args[1])?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    let ids = parse_ids(args.from(2))?;
    let deleted = writer.edit(&args[1], |stream: &mut Stream, _| {
        let deleted = ids.iter().filter(|id| stream.delete(**id)).count();
        (Change::of(deleted > 0), deleted)
    })?;
    if deleted > 0 {
        writer.notify(EventClass::Stream, "xdel", &args[1]);
    }
    reply.integer(deleted as i64);
    Ok(())
}

pub(crate) fn xdelex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (references, ids) = parse_deletion(args.from(2))?;
    if writer.kind::<Stream>(&args[1])?.is_none() {
        reply.array(ids.len());
        ids.iter().for_each(|_| reply.integer(NOT_FOUND));
        return Ok(());
    }
    let outcomes = writer.edit(&args[1], |stream: &mut Stream, _| {
        let outcomes: Vec<i64> = ids.iter().map(|id| delete(stream, *id, references)).collect();
        (Change::of(outcomes.contains(&DELETED)), outcomes)
    })?;
    answer_outcomes(writer, &args[1], &outcomes, reply);
    Ok(())
}

/// Tells that entries were removed, if any was, and answers what became of each id.
pub(super) fn answer_outcomes(
    writer: &mut Writer<'_>,
    key: &[u8],
    outcomes: &[i64],
    reply: &mut ReplyWriter<'_>,
) {
    if outcomes.contains(&DELETED) {
        writer.notify(EventClass::Stream, "xdel", key);
    }
    reply.array(outcomes.len());
    outcomes.iter().for_each(|outcome| reply.integer(*outcome));
}

/// Removes an entry, as far as `references` allows.
pub(super) fn delete(stream: &mut Stream, id: StreamId, references: References) -> i64 {
    if references == References::Delete {
        // Also where the entry itself is gone already.
        stream.delete_references(id);
    }
    if stream.get(id).is_none() {
        return NOT_FOUND;
    }
    if references == References::Acknowledged && stream.is_needed(id) {
        return STILL_NEEDED;
    }
    stream.delete(id);
    DELETED
}

/// `[KEEPREF | DELREF | ACKED] IDS n id ...`, in either order.
pub(super) fn parse_deletion(args: Args<'_>) -> Result<(References, Vec<StreamId>), CommandError> {
    const COUNT: &str = "ERR Number of IDs must be a positive integer";
    const MISMATCH: &str = "ERR The `numids` parameter must match the number of arguments";
    let (mut references, mut ids, mut rest) = (None, None, args);
    while let Some(word) = rest.get(0) {
        if let (Some(said), None) = (references_of(word), references) {
            references = Some(said);
            rest = rest.from(1);
        } else if word.eq_ignore_ascii_case(b"IDS") && ids.is_none() && rest.len() > 1 {
            let count = parse_number(&rest[1]).ok().and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|count| *count > 0);
            let count = count.ok_or(CommandError::Text { text: COUNT })?;
            rest = rest.from(2);
            if count > rest.len() {
                return Err(CommandError::Text { text: MISMATCH });
            }
            let named: Result<Vec<_>, _> = rest.iter().take(count).map(parse_id).collect();
            ids = Some(named?);
            rest = rest.from(count);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((references.unwrap_or_default(), ids.ok_or(CommandError::Syntax)?))
}

pub(crate) fn xsetid(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let id = parse_id(&args[2])?;
    let (entries_added, max_deleted) = parse_marks(args.from(3), id)?;
    let Some(stream) = writer.kind::<Stream>(&args[1])? else {
        return Err(CommandError::NoSuchKey);
    };
    let mut marks = stream.marks();
    let refused = if Some(id) < stream.last_entry_id() {
        Some("ERR The ID specified in XSETID is smaller than the target stream top item")
    } else if stream.len() > 0 && entries_added.is_some_and(|added| stream.len() > added) {
        Some("ERR The entries_added specified in XSETID is smaller than the target stream length")
    } else {
        None
    };
    if let Some(text) = refused {
        return Err(CommandError::Text { text });
    }
    marks.last_id = id;
    marks.entries_added = entries_added.unwrap_or(marks.entries_added);
    if max_deleted != StreamId::MIN {
        marks.max_deleted = max_deleted;
    }
    writer.edit(&args[1], |stream: &mut Stream, _| {
        stream.set_marks(marks);
        (Change::Unchanged, ())
    })?;
    writer.notify(EventClass::Stream, "xsetid", &args[1]);
    reply.ok();
    Ok(())
}

fn parse_marks(args: Args<'_>, id: StreamId) -> Result<(Option<u64>, StreamId), CommandError> {
    let (mut entries_added, mut max_deleted, mut rest) = (None, StreamId::MIN, args.iter());
    while let Some(option) = rest.next() {
        let value = rest.next().ok_or(CommandError::Syntax)?;
        if option.eq_ignore_ascii_case(b"ENTRIESADDED") {
            const NEGATIVE: &str = "ERR entries_added must be positive";
            let added = u64::try_from(parse_number(value)?);
            entries_added = Some(added.map_err(|_| CommandError::Text { text: NEGATIVE })?);
        } else if option.eq_ignore_ascii_case(b"MAXDELETEDID") {
            const ABOVE: &str =
                "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
            max_deleted = parse_id(value)?;
            if id < max_deleted {
                return Err(CommandError::Text { text: ABOVE });
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((entries_added, max_deleted))
}
