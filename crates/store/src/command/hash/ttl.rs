//! HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME: when fields expire.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::command::Reader;
use crate::command::key::ttl::rounded_up_seconds;
use crate::command::options::parse_fields;
use crate::error::CommandError;
use crate::value::hash::Hash;

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;

pub(crate) fn httl(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let now = reader.now;
    answer(reader, args, reply, |at| rounded_up_seconds(at.0.saturating_sub(now.0)))
}

pub(crate) fn hpttl(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let now = reader.now;
    answer(reader, args, reply, |at| at.0.saturating_sub(now.0))
}

pub(crate) fn hexpiretime(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |at| rounded_up_seconds(at.0))
}

pub(crate) fn hpexpiretime(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |at| at.0)
}

fn answer(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    shown: impl Fn(UnixMillis) -> u64,
) -> Result<(), CommandError> {
    let hash = reader.kind::<Hash>(&args[1])?;
    let names = parse_fields(args.from(2), 1)?;
    reply.array(names.len());
    for name in names.iter() {
        let field = hash.and_then(|hash| hash.get_live(&reader.keyspace.hasher, reader.now, name));
        reply.integer(match field {
            None => NO_FIELD,
            Some(field) => field.expiry.map_or(NO_EXPIRY, |at| shown(at).cast_signed()),
        });
    }
    Ok(())
}
