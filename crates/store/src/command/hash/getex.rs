//! HGETEX, HSETEX, HGETDEL: fields read or set together with when they expire.
//! Source: the Redis 8.0 documentation of these commands.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::command::Writer;
use crate::command::options::{FieldExpiry, FieldOptions, parse_fields};
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::value::hash::{Field, Hash};

pub(crate) fn hgetex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let now = writer.now();
    let options = FieldOptions::parse(args.from(2), now, 1, "hgetex")?;
    let event = writer.edit(&args[1], |hash: &mut Hash, hasher| {
        let mut event = None;
        reply.array(options.fields.len());
        for name in options.fields.iter() {
            let Some(field) = hash.get(hasher, name) else {
                reply.null();
                continue;
            };
            reply.bulk(field.value);
            let was_timed = field.expiry.is_some();
            match options.expiry {
                FieldExpiry::At(at) if at <= now => {
                    hash.remove(hasher, name);
                    event = Some("hdel");
                }
                FieldExpiry::At(at) => {
                    hash.set_expiry(hasher, name, Some(at));
                    event = Some("hexpire");
                }
                FieldExpiry::Persist if was_timed => {
                    hash.set_expiry(hasher, name, None);
                    event = Some("hpersist");
                }
                _ => {}
            }
        }
        (Change::of(event.is_some()), event)
    })?;
    if let Some(event) = event {
        writer.notify_shrunk(EventClass::Hash, event, &args[1]);
    }
    Ok(())
}

pub(crate) fn hsetex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let now = writer.now();
    let options = FieldOptions::parse(args.from(2), now, 2, "hsetex")?;
    let fields = options.fields;
    let is_set = writer.edit(&args[1], |hash: &mut Hash, hasher| {
        let mut names = fields.iter().step_by(2);
        let is_refused = (options.is_if_absent && names.any(|n| hash.get(hasher, n).is_some()))
            || (options.is_if_present && !names.all(|n| hash.get(hasher, n).is_some()));
        if is_refused {
            return (Change::Unchanged, false);
        }
        for at in (0..fields.len()).step_by(2) {
            let (name, value) = (&fields[at], &fields[at + 1]);
            let expiry: Option<UnixMillis> = match options.expiry {
                FieldExpiry::At(at) => Some(at),
                FieldExpiry::Keep => hash.get(hasher, name).and_then(|field| field.expiry),
                FieldExpiry::Unsaid | FieldExpiry::Persist => None,
            };
            if expiry.is_some_and(|at| at <= now) {
                hash.remove(hasher, name);
            } else {
                hash.set(hasher, Field { name, value, expiry });
            }
        }
        (Change::Changed, true)
    })?;
    if is_set {
        notify_set(writer, &args[1], options.expiry);
    }
    reply.integer(i64::from(is_set));
    Ok(())
}

/// Tells what HSETEX did to the hash.
fn notify_set(writer: &mut Writer<'_>, key: &[u8], expiry: FieldExpiry) {
    writer.notify(EventClass::Hash, "hset", key);
    match expiry {
        FieldExpiry::At(at) if at <= writer.now() => {
            writer.notify_shrunk(EventClass::Hash, "hdel", key);
        }
        FieldExpiry::At(_) => writer.notify(EventClass::Hash, "hexpire", key),
        FieldExpiry::Keep | FieldExpiry::Unsaid | FieldExpiry::Persist => {}
    }
}

pub(crate) fn hgetdel(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let names = parse_fields(args.from(2), 1)?;
    let is_changed = writer.edit(&args[1], |hash: &mut Hash, hasher| {
        let mut is_changed = false;
        reply.array(names.len());
        for name in names.iter() {
            match hash.get(hasher, name) {
                Some(field) => reply.bulk(field.value),
                None => reply.null(),
            }
            is_changed |= hash.remove(hasher, name);
        }
        (Change::of(is_changed), is_changed)
    })?;
    if is_changed {
        writer.notify_shrunk(EventClass::Hash, "hdel", &args[1]);
    }
    Ok(())
}
