//! RENAME, RENAMENX: a value under another key, with its time to expire.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::error::CommandError;

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

/// Puts `entry` under `key` of the selected database. What it replaces is not changed but gone first, so it is a new key all the same.
pub(super) fn put(writer: &mut Writer<'_>, key: &[u8], entry: Entry) {
    if writer.entry(key).is_some() {
        writer.notify(EventClass::New, "new", key);
    }
    writer.keyspace.insert(entry);
}
