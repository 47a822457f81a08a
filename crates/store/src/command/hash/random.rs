//! HRANDFIELD: fields chosen at random.

use keystead_resp::{Args, Protocol, ReplyWriter};

use crate::chance;
use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;
use crate::value::hash::{Field, Hash};

/// Most fields that may be drawn with repetition: the reply must be bounded by more than a number.
pub(crate) const DRAWN_MAX: u64 = 1024 * 1024;

pub(crate) fn hrandfield(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let count = args.get(2).map(|text| parse_count(text, args, b"WITHVALUES")).transpose()?;
    let hash = reader.kind::<Hash>(&args[1])?;
    let fields: Vec<_> =
        hash.into_iter().flat_map(Hash::iter).filter(|field| field.is_live(reader.now)).collect();
    let Some(count) = count else {
        match fields.get(below(reader, fields.len())) {
            Some(field) => reply.bulk(field.name),
            None => reply.null(),
        }
        return Ok(());
    };
    let drawn = draw(reader, fields, count)?;
    let has_values = args.len() == 4;
    let is_flat = reply.protocol() == Protocol::Resp2;
    reply.array(drawn.len() * if has_values && is_flat { 2 } else { 1 });
    for field in drawn {
        if has_values && !is_flat {
            reply.array(2);
        }
        reply.bulk(field.name);
        if has_values {
            reply.bulk(field.value);
        }
    }
    Ok(())
}

/// Reads the count, args 2, and checks what stands behind it: nothing, or `word`.
pub(crate) fn parse_count(text: &[u8], args: Args<'_>, word: &[u8]) -> Result<i64, CommandError> {
    let count = parse_integer(text).ok_or(CommandError::NotAnInteger)?;
    if count == i64::MIN {
        return Err(CommandError::OutOfRangeBetween { min: -i64::MAX, max: i64::MAX });
    }
    let has_values = args.get(3).is_some_and(|said| said.eq_ignore_ascii_case(word));
    if args.len() > 4 || (args.len() == 4 && !has_values) {
        return Err(CommandError::Syntax);
    }
    if has_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::OutOfRange);
    }
    Ok(count)
}

/// Different fields for a positive count, fields that may repeat for a negative one.
fn draw<'a>(
    reader: &Reader<'a>,
    fields: Vec<Field<'a>>,
    count: i64,
) -> Result<Vec<Field<'a>>, CommandError> {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if fields.is_empty() {
        return Ok(fields);
    }
    if count < 0 {
        if count.unsigned_abs() > DRAWN_MAX {
            return Err(CommandError::OutOfRange);
        }
        return Ok((0..wanted).map(|_| fields[below(reader, fields.len())]).collect());
    }
    // Selection sampling (Knuth, TAOCP 3.4.2, algorithm S): one pass, in order.
    let mut drawn = Vec::with_capacity(wanted.min(fields.len()));
    for (at, field) in fields.iter().enumerate() {
        let missing = wanted.saturating_sub(drawn.len());
        if below(reader, fields.len() - at) < missing {
            drawn.push(*field);
        }
    }
    Ok(drawn)
}

/// A random number below `bound`; 0 if there is none.
pub(crate) fn below(reader: &Reader<'_>, bound: usize) -> usize {
    chance::below(reader.random(), bound)
}
