//! SADD, SREM, SMOVE: adding and removing members.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::value::set::{Member, Set};

pub(crate) fn sadd(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let added = writer.edit(&args[1], |set: &mut Set, hasher| {
        let added =
            args.iter().skip(2).filter(|member| set.add(hasher, Member::Bytes(member))).count();
        (Change::of(added > 0), added)
    })?;
    if added > 0 {
        writer.notify(EventClass::Set, "sadd", &args[1]);
    }
    reply.integer(added as i64);
    Ok(())
}

pub(crate) fn srem(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let removed = remove(writer, &args[1], args.from(2))?;
    reply.integer(removed as i64);
    Ok(())
}

pub(crate) fn smove(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (from, to, member) = (&args[1], &args[2], Member::Bytes(&args[3]));
    let hasher = &writer.keyspace.hasher;
    let Some(source) = writer.kind::<Set>(from)? else {
        reply.integer(0);
        return Ok(());
    };
    let is_there = source.contains(hasher, member);
    writer.kind::<Set>(to)?;
    if is_there && from != to {
        remove(writer, from, args.from(3))?;
        let is_new = writer.edit(to, |set: &mut Set, hasher| {
            let is_new = set.add(hasher, member);
            (Change::of(is_new), is_new)
        })?;
        if is_new {
            writer.notify(EventClass::Set, "sadd", to);
        }
    }
    reply.integer(i64::from(is_there));
    Ok(())
}

/// Removes members; returns how many were there.
fn remove(writer: &mut Writer<'_>, key: &[u8], members: Args<'_>) -> Result<usize, CommandError> {
    let removed = writer.edit(key, |set: &mut Set, hasher| {
        let removed =
            members.iter().filter(|member| set.remove(hasher, Member::Bytes(member))).count();
        (Change::of(removed > 0), removed)
    })?;
    if removed > 0 {
        writer.notify_shrunk(EventClass::Set, "srem", key);
    }
    Ok(removed)
}
