//! SISMEMBER, SMISMEMBER, SCARD, SMEMBERS: reading one set.

use keystead_resp::{Args, ReplyWriter};

use super::put;
use crate::command::Reader;
use crate::error::CommandError;
use crate::value::set::{Member, Set};

pub(crate) fn sismember(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let set = reader.kind::<Set>(&args[1])?;
    reply.integer(i64::from(is_member(reader, set, &args[2])));
    Ok(())
}

pub(crate) fn smismember(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let set = reader.kind::<Set>(&args[1])?;
    reply.array(args.len() - 2);
    for member in args.iter().skip(2) {
        reply.integer(i64::from(is_member(reader, set, member)));
    }
    Ok(())
}

fn is_member(reader: &Reader<'_>, set: Option<&Set>, member: &[u8]) -> bool {
    set.is_some_and(|set| set.contains(&reader.keyspace.hasher, Member::Bytes(member)))
}

pub(crate) fn scard(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.integer(reader.kind::<Set>(&args[1])?.map_or(0, Set::len) as i64);
    Ok(())
}

pub(crate) fn smembers(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let set = reader.kind::<Set>(&args[1])?;
    reply.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| put(reply, member));
    Ok(())
}
