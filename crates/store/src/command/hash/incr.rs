//! HINCRBY, HINCRBYFLOAT: fields as numbers. A field's time to expire stays.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::extended::{Extended, Parsed};
use crate::number::parse_integer;
use crate::value::hash::{Field, Hash};

pub(crate) fn hincrby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let delta = parse_integer(&args[3]).ok_or(CommandError::NotAnInteger)?;
    let sum = change_field(writer, args, |old| {
        let old = parse_integer(old).ok_or(CommandError::HashNotAnInteger)?;
        let new = old.checked_add(delta).ok_or(CommandError::Overflow)?;
        Ok((new, new.to_string()))
    })?;
    writer.notify(EventClass::Hash, "hincrby", &args[1]);
    reply.integer(sum);
    Ok(())
}

pub(crate) fn hincrbyfloat(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let delta = match Extended::parse(&args[3]).ok_or(CommandError::NotAFloat)? {
        Parsed::Finite(delta) => delta,
        Parsed::Infinite => return Err(CommandError::FloatNotFinite),
    };
    let text = change_field(writer, args, |old| {
        let old = match Extended::parse(old).ok_or(CommandError::HashNotAFloat)? {
            Parsed::Finite(old) => old,
            Parsed::Infinite => return Err(CommandError::NotFinite),
        };
        let text = old.plus(delta).ok_or(CommandError::NotFinite)?.print();
        Ok((text.clone(), text))
    })?;
    writer.notify(EventClass::Hash, "hincrbyfloat", &args[1]);
    reply.bulk(text.as_bytes());
    Ok(())
}

/// Replaces the field that args 1 and 2 name by what `change` makes of it; absent, it counts as 0.
fn change_field<R>(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    change: impl FnOnce(&[u8]) -> Result<(R, String), CommandError>,
) -> Result<R, CommandError> {
    let name = &args[2];
    writer.edit(&args[1], |hash: &mut Hash, hasher| {
        let old = hash.get(hasher, name);
        let expiry = old.and_then(|field| field.expiry);
        match change(old.map_or(b"0", |field| field.value)) {
            Ok((result, value)) => {
                hash.set(hasher, Field { name, value: value.as_bytes(), expiry });
                (Change::Changed, Ok(result))
            }
            Err(error) => (Change::Unchanged, Err(error)),
        }
    })?
}
