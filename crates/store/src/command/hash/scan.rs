//! HSCAN: walking over the fields of a hash.
//!
//! A packed hash answers whole. In a table the cursor is the upper 48 bits of the next field's hash, with
//! the guarantee of SCAN (see `crate::scan`).

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::command::gather::{parse_count, parse_cursor};
use crate::error::CommandError;
use crate::scan::glob_matches;
use crate::value::hash::{Field, Hash};

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    has_values: bool,
}

pub(crate) fn hscan(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let cursor = parse_cursor(&args[2])?;
    let Some(hash) = reader.kind::<Hash>(&args[1])? else {
        reply.array(2);
        reply.bulk_integer(0);
        reply.array(0);
        return Ok(());
    };
    let options = parse(args.from(3))?;
    let hasher = &reader.keyspace.hasher;
    let mut next = 0;
    let mut found: Vec<Field<'_>> = Vec::new();
    match hash.iter_from(hasher, cursor << 16) {
        // Past the last cursor there is nothing, not a new beginning.
        Some(_) if cursor >> 48 != 0 => {}
        None => found.extend(hash.iter()),
        Some(fields) => {
            for field in fields {
                let place = hasher.hash(field.name) >> 16;
                let is_new_place = found.last().is_none_or(|f| hasher.hash(f.name) >> 16 != place);
                if found.len() >= options.count && is_new_place {
                    next = place;
                    break;
                }
                found.push(field);
            }
        }
    }
    found.retain(|field| {
        field.is_live(reader.now)
            && options.pattern.is_none_or(|pattern| glob_matches(pattern, field.name))
    });
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

fn parse(args: Args<'_>) -> Result<Options<'_>, CommandError> {
    let mut options = Options { pattern: None, count: 10, has_values: true };
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"NOVALUES") {
            options.has_values = false;
        } else if option.eq_ignore_ascii_case(b"COUNT") {
            options.count = parse_count(rest.next().ok_or(CommandError::Syntax)?)?;
        } else if option.eq_ignore_ascii_case(b"MATCH") {
            options.pattern = Some(rest.next().ok_or(CommandError::Syntax)?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}
