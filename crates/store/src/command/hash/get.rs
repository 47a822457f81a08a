//! HGET, HMGET, HEXISTS, HSTRLEN, HLEN: reading single fields.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::error::{CommandError, WrongType};
use crate::value::hash::{Field, Hash};

/// The field that args 1 and 2 name.
fn field<'a>(reader: &Reader<'a>, args: Args<'_>) -> Result<Option<Field<'a>>, WrongType> {
    let hash = reader.kind::<Hash>(&args[1])?;
    Ok(hash.and_then(|hash| hash.get_live(&reader.keyspace.hasher, reader.now, &args[2])))
}

pub(crate) fn hget(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match field(reader, args)? {
        Some(field) => reply.bulk(field.value),
        None => reply.null(),
    }
    Ok(())
}

pub(crate) fn hmget(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let hash = reader.kind::<Hash>(&args[1])?;
    reply.array(args.len() - 2);
    for name in args.iter().skip(2) {
        let field = hash.and_then(|hash| hash.get_live(&reader.keyspace.hasher, reader.now, name));
        match field {
            Some(field) => reply.bulk(field.value),
            None => reply.null(),
        }
    }
    Ok(())
}

pub(crate) fn hexists(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.integer(i64::from(field(reader, args)?.is_some()));
    Ok(())
}

pub(crate) fn hstrlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.integer(field(reader, args)?.map_or(0, |field| field.value.len() as i64));
    Ok(())
}

pub(crate) fn hlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply
        .integer(reader.kind::<Hash>(&args[1])?.map_or(0, |hash| hash.live_len(reader.now) as i64));
    Ok(())
}
