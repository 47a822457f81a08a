//! GETDEL, GETEX: reading a string and removing it, or setting when it expires.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::command::Writer;
use crate::command::options::TimeUnit;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;

/// What GETEX does to the time to expire.
enum Action<'a> {
    Keep,
    Persist,
    At(TimeUnit, &'a [u8]),
}

pub(crate) fn getdel(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.bulk_or_null(writer.string(&args[1])?);
    let now = writer.now();
    if writer.keyspace.take(now, &args[1]).is_some() {
        writer.notify(EventClass::Generic, "del", &args[1]);
    }
    Ok(())
}

pub(crate) fn getex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let action = parse(args)?;
    let Some(bytes) = writer.string(&args[1])? else {
        reply.null();
        return Ok(());
    };
    let expiry = match action {
        Action::At(unit, text) => Some(unit.positive_moment(text, writer.now(), "getex")?),
        Action::Keep | Action::Persist => None,
    };
    reply.bulk(bytes);
    match (action, expiry) {
        (Action::Keep, _) => {}
        (_, Some(at)) if at <= writer.now() => {
            drop(writer.keyspace.take(writer.ctx.now, &args[1]));
            writer.notify(EventClass::Generic, "del", &args[1]);
        }
        (_, expiry) => set_expiry(writer, &args[1], expiry),
    }
    Ok(())
}

fn set_expiry(writer: &mut Writer<'_>, key: &[u8], expiry: Option<UnixMillis>) {
    let is_changed = writer.keyspace.edit(writer.ctx.now, key, |entry, _| {
        // PERSIST on a key that never expires is no change.
        let is_changed = expiry.is_some() || entry.expiry().is_some();
        entry.set_expiry(expiry);
        (Change::of(is_changed), is_changed)
    });
    if is_changed == Some(true) {
        let event = if expiry.is_some() { "expire" } else { "persist" };
        writer.notify(EventClass::Generic, event, key);
    }
}

fn parse(args: Args<'_>) -> Result<Action<'_>, CommandError> {
    let mut action = Action::Keep;
    let mut rest = args.iter().skip(2);
    while let Some(option) = rest.next() {
        let unit = TimeUnit::of_option(option);
        action = match (action, unit) {
            (Action::Keep, Some(unit)) => {
                Action::At(unit, rest.next().ok_or(CommandError::Syntax)?)
            }
            (Action::At(other, _), Some(unit)) if other == unit => {
                Action::At(unit, rest.next().ok_or(CommandError::Syntax)?)
            }
            (Action::Keep | Action::Persist, None) if option.eq_ignore_ascii_case(b"PERSIST") => {
                Action::Persist
            }
            _ => return Err(CommandError::Syntax),
        };
    }
    Ok(action)
}
