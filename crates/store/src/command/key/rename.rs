//! RENAME, RENAMENX, COPY: a value under another key, with its time to expire.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::error::CommandError;
use crate::number::parse_integer;

pub(crate) fn rename(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if writer.entry(&args[1]).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if args[1] != args[2] {
        move_key(writer, &args[1], &args[2]);
    }
    reply.ok();
    Ok(())
}

pub(crate) fn rename_nx(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if writer.entry(&args[1]).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    let is_free = writer.entry(&args[2]).is_none();
    if is_free {
        move_key(writer, &args[1], &args[2]);
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

fn move_key(writer: &mut Writer<'_>, from: &[u8], to: &[u8]) {
    let now = writer.now();
    let Some(entry) = writer.keyspace.take(now, from) else { return };
    let expiry = entry.expiry();
    put(writer, to, entry.renamed(to, expiry));
    writer.notify(EventClass::Generic, "rename_from", from);
    writer.notify(EventClass::Generic, "rename_to", to);
}

/// Puts `entry` under `key`. What it replaces is not changed but gone first, so it is a new key all the same.
fn put(writer: &mut Writer<'_>, key: &[u8], entry: Entry) {
    if writer.entry(key).is_some() {
        writer.notify(EventClass::New, "new", key);
    }
    writer.keyspace.insert(entry);
}

pub(crate) fn copy(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (from, to) = (&args[1], &args[2]);
    let mut is_replacing = false;
    let mut rest = args.iter().skip(3);
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"REPLACE") {
            is_replacing = true;
        } else if option.eq_ignore_ascii_case(b"DB") {
            let db = rest.next().ok_or(CommandError::Syntax)?;
            match parse_integer(db).and_then(|db| i32::try_from(db).ok()) {
                Some(0) => {}
                Some(_) => return Err(CommandError::DbOutOfRange),
                None => return Err(CommandError::NotAnInteger),
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if from == to {
        return Err(CommandError::SameObject);
    }
    let is_free = is_replacing || writer.entry(to).is_none();
    let copied = writer.entry(from).filter(|_| is_free);
    let copied = copied.map(|entry| entry.duplicate(to, &writer.keyspace.hasher));
    reply.integer(i64::from(copied.is_some()));
    if let Some(entry) = copied {
        put(writer, to, entry);
        writer.notify(EventClass::Generic, "copy_to", to);
    }
    Ok(())
}
