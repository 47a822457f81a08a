//! HGETALL, HKEYS, HVALS: reading all fields.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::{CommandError, WrongType};
use crate::value::hash::{Field, Hash};

/// The number of visible fields, and these fields.
fn fields<'a>(
    reader: &Reader<'a>,
    args: Args<'_>,
) -> Result<(usize, impl Iterator<Item = Field<'a>> + use<'a>), WrongType> {
    let (hash, now) = (reader.kind::<Hash>(&args[1])?, reader.now);
    let len = hash.map_or(0, |hash| hash.live_len(now));
    let all = hash.into_iter().flat_map(Hash::iter);
    Ok((len, all.filter(move |field| field.is_live(now))))
}

pub(crate) fn hgetall(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (len, fields) = fields(reader, args)?;
    reply.map(len);
    for field in fields {
        reply.bulk(field.name);
        reply.bulk(field.value);
    }
    Ok(())
}

pub(crate) fn hkeys(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (len, fields) = fields(reader, args)?;
    reply.array(len);
    fields.for_each(|field| reply.bulk(field.name));
    Ok(())
}

pub(crate) fn hvals(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (len, fields) = fields(reader, args)?;
    reply.array(len);
    fields.for_each(|field| reply.bulk(field.value));
    Ok(())
}
