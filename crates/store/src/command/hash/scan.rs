//! HSCAN: walking over the fields of a hash. A packed hash answers whole; see `part_scan.rs` for tables.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::command::part_scan::{PartCursor, PartScan};
use crate::error::CommandError;
use crate::value::hash::Hash;

pub(crate) fn hscan(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let cursor = PartCursor::parse(&args[2])?;
    let Some(hash) = reader.kind::<Hash>(&args[1])? else {
        reply.array(2);
        reply.bulk_integer(0);
        reply.array(0);
        return Ok(());
    };
    let options = PartScan::parse(args.from(3), Some("NOVALUES"))?;
    let hasher = &reader.keyspace.hasher;
    let (mut found, next) = match hash.iter_from(hasher, cursor.hash()) {
        None => (hash.iter().collect(), 0),
        Some(fields) => cursor.step(fields, options.count, |field| hasher.hash(field.name)),
    };
    found.retain(|field| field.is_live(reader.now) && options.matches(field.name));
    reply.array(2);
    reply.bulk_integer(next.cast_signed());
    reply.array(found.len() * if options.has_values { 2 } else { 1 });
    for field in found {
        reply.bulk(field.name);
        if options.has_values {
            reply.bulk(field.value);
        }
    }
    Ok(())
}
