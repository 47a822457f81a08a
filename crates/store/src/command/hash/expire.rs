//! HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HPERSIST: when fields expire.
//! Source: the Redis 7.4 documentation of these commands. One number a field: -2 no such field, 0
//! the condition was not met, 1 set, 2 removed since the moment has passed; HPERSIST: -1 never expired.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::command::Writer;
use crate::command::options::{ExpireCondition, TimeUnit, parse_fields};
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::hash::Hash;

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const NOT_MET: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;
/// Redis keeps 46 bits of a field's moment, milliseconds.
const MOMENT_MAX: i64 = 1 << 46;

pub(crate) fn hexpire(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::Seconds, "hexpire"))
}

pub(crate) fn hpexpire(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::Millis, "hpexpire"))
}

pub(crate) fn hexpireat(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::UnixSeconds, "hexpireat"))
}

pub(crate) fn hpexpireat(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    set_expiry(writer, args, reply, (TimeUnit::UnixMillis, "hpexpireat"))
}

fn set_expiry(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    (unit, command): (TimeUnit, &'static str),
) -> Result<(), CommandError> {
    let number = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    if number < 0 {
        return Err(CommandError::NegativeFieldExpiry);
    }
    let now = writer.now();
    let moment = unit.moment(number, now).filter(|moment| *moment <= MOMENT_MAX);
    let moment = moment.ok_or(CommandError::InvalidExpireTime { command })?;
    let mut condition = ExpireCondition::default();
    let mut rest = args.from(3);
    while rest.get(0).is_some_and(|option| condition.accept(option)) {
        rest = rest.from(1);
    }
    let condition = condition.check()?;
    let names = parse_fields(rest, 1)?;
    let at = UnixMillis(moment.cast_unsigned());
    let happened = each_field(writer, &args[1], (names, reply), |hash, hasher, name| {
        let Some(field) = hash.get(hasher, name) else { return NO_FIELD };
        if !condition.is_met(field.expiry, moment) {
            return NOT_MET;
        }
        if at <= now {
            hash.remove(hasher, name);
            return REMOVED;
        }
        hash.set_expiry(hasher, name, Some(at));
        DONE
    })?;
    if happened.has_set {
        writer.notify(EventClass::Hash, "hexpire", &args[1]);
    }
    if happened.has_removed {
        writer.notify_shrunk(EventClass::Hash, "hdel", &args[1]);
    }
    Ok(())
}

pub(crate) fn hpersist(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let names = parse_fields(args.from(2), 1)?;
    let happened = each_field(writer, &args[1], (names, reply), |hash, hasher, name| {
        match hash.get(hasher, name) {
            None => NO_FIELD,
            Some(field) if field.expiry.is_none() => NO_EXPIRY,
            Some(_) => {
                hash.set_expiry(hasher, name, None);
                DONE
            }
        }
    })?;
    if happened.has_set {
        writer.notify(EventClass::Hash, "hpersist", &args[1]);
    }
    Ok(())
}

/// What became of the fields that a command named.
#[derive(Clone, Copy, Default)]
struct Happened {
    has_set: bool,
    has_removed: bool,
}

/// Runs `change` for every name and answers its numbers; an absent hash has none of the fields.
fn each_field(
    writer: &mut Writer<'_>,
    key: &[u8],
    (names, reply): (Args<'_>, &mut ReplyWriter<'_>),
    mut change: impl FnMut(&mut Hash, &Hasher, &[u8]) -> i64,
) -> Result<Happened, CommandError> {
    let happened = writer.edit(key, |hash: &mut Hash, hasher| {
        reply.array(names.len());
        let mut happened = Happened::default();
        for name in names.iter() {
            let code = change(hash, hasher, name);
            happened.has_set |= code == DONE;
            happened.has_removed |= code == REMOVED;
            reply.integer(code);
        }
        (Change::of(happened.has_set || happened.has_removed), happened)
    })?;
    Ok(happened)
}
