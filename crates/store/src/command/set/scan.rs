//! SSCAN: walking over the members of a set. A small set answers whole; see `part_scan.rs` for tables.

use keystead_resp::{Args, ReplyWriter};

use super::put;
use crate::command::Reader;
use crate::command::part_scan::{PartCursor, PartScan};
use crate::error::CommandError;
use crate::value::set::{Member, Set};

pub(crate) fn sscan(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let cursor = PartCursor::parse(&args[2])?;
    let Some(set) = reader.kind::<Set>(&args[1])? else {
        reply.array(2);
        reply.bulk_integer(0);
        reply.array(0);
        return Ok(());
    };
    let options = PartScan::parse(args.from(3), None)?;
    let hasher = &reader.keyspace.hasher;
    let (mut found, next) = match set.iter_from(hasher, cursor.hash()) {
        None => (set.iter().collect(), 0),
        Some(members) => {
            let (found, next) = cursor.step(members, options.count, |member| hasher.hash(member));
            (found.into_iter().map(Member::Bytes).collect::<Vec<_>>(), next)
        }
    };
    found.retain(|member| member.with_bytes(|bytes| options.matches(bytes)));
    reply.array(2);
    reply.bulk_integer(next.cast_signed());
    reply.array(found.len());
    found.into_iter().for_each(|member| put(reply, member));
    Ok(())
}
