//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT, PERSIST: when a key expires.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::command::Writer;
use crate::command::options::{ExpireCondition, TimeUnit};
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;

pub(crate) fn expire(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::Seconds, "expire"))
}

pub(crate) fn pexpire(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::Millis, "pexpire"))
}

pub(crate) fn expire_at(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::UnixSeconds, "expireat"))
}

pub(crate) fn pexpire_at(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::UnixMillis, "pexpireat"))
}

fn set_expiry(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    (unit, command): (TimeUnit, &'static str),
) -> Result<(), CommandError> {
    let condition = ExpireCondition::parse(args.from(3))?;
    let number = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let moment =
        unit.moment(number, writer.now()).ok_or(CommandError::InvalidExpireTime { command })?;
    let key = &args[1];
    let Some(entry) = writer.entry(key) else {
        reply.integer(0);
        return Ok(());
    };
    if !condition.is_met(entry.expiry(), moment) {
        reply.integer(0);
        return Ok(());
    }
    match u64::try_from(moment).map(UnixMillis) {
        Ok(at) if at > writer.now() => {
            writer.keyspace.edit(writer.ctx.now, key, |entry, _| {
                entry.set_expiry(Some(at));
                (Change::Changed, ())
            });
            writer.notify(EventClass::Generic, "expire", key);
        }
        // The moment has passed: the key goes at once.
        _ => {
            drop(writer.keyspace.take(writer.ctx.now, key));
            writer.notify(EventClass::Generic, "del", key);
        }
    }
    reply.integer(1);
    Ok(())
}

pub(crate) fn persist(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let removed = writer.keyspace.edit(writer.ctx.now, &args[1], |entry, _| {
        if entry.expiry().is_none() {
            return (Change::Unchanged, false);
        }
        entry.set_expiry(None);
        (Change::Changed, true)
    });
    if removed == Some(true) {
        writer.notify(EventClass::Generic, "persist", &args[1]);
    }
    reply.integer(i64::from(removed == Some(true)));
    Ok(())
}
