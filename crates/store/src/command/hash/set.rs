//! HSET, HMSET, HSETNX, HDEL: setting and removing fields.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::value::hash::{Field, Hash};

pub(crate) fn hset(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let added = set_pairs(writer, args, "hset")?;
    reply.integer(added);
    Ok(())
}

pub(crate) fn hmset(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_pairs(writer, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets the fields, which from then on do not expire; returns how many were not there.
fn set_pairs(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    command: &'static str,
) -> Result<i64, CommandError> {
    if args.len() % 2 == 1 {
        return Err(CommandError::Arity { command });
    }
    let added = writer.edit(&args[1], |hash: &mut Hash, hasher| {
        let mut added = 0;
        for at in (2..args.len()).step_by(2) {
            let field = Field { name: &args[at], value: &args[at + 1], expiry: None };
            added += i64::from(hash.set(hasher, field));
        }
        (Change::Changed, added)
    })?;
    writer.notify(EventClass::Hash, "hset", &args[1]);
    Ok(added)
}

pub(crate) fn hsetnx(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let is_set = writer.edit(&args[1], |hash: &mut Hash, hasher| {
        if hash.get(hasher, &args[2]).is_some() {
            return (Change::Unchanged, false);
        }
        hash.set(hasher, Field { name: &args[2], value: &args[3], expiry: None });
        (Change::Changed, true)
    })?;
    if is_set {
        writer.notify(EventClass::Hash, "hset", &args[1]);
    }
    reply.integer(i64::from(is_set));
    Ok(())
}

pub(crate) fn hdel(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let removed = writer.edit(&args[1], |hash: &mut Hash, hasher| {
        let removed = args.iter().skip(2).filter(|name| hash.remove(hasher, name)).count();
        (Change::of(removed > 0), removed)
    })?;
    if removed > 0 {
        writer.notify_shrunk(EventClass::Hash, "hdel", &args[1]);
    }
    reply.integer(removed as i64);
    Ok(())
}
