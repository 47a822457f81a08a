//! BITPOS: the first one, or the first zero.

use keystead_resp::{Args, ReplyWriter};

use super::range::RangeUnit;
use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;

const NOT_FOUND: i64 = -1;

pub(crate) fn bitpos(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let is_one = match parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::BitArgument),
    };
    let Some(bytes) = reader.string(&args[1])? else {
        // An absent string is endless zeros.
        reply.integer(if is_one { NOT_FOUND } else { 0 });
        return Ok(());
    };
    if args.len() > 6 {
        return Err(CommandError::Syntax);
    }
    let number = |at: usize| {
        let text = args.get(at);
        text.map(|text| parse_integer(text).ok_or(CommandError::NotAnInteger)).transpose()
    };
    let start = number(3)?.unwrap_or(0);
    let unit = args.get(5).map(RangeUnit::parse).transpose()?.unwrap_or_default();
    let end = number(4)?;
    let range = unit.bits(start, end.unwrap_or(-1), bytes.len());
    let found = range.map(|(from, to)| (find(bytes, is_one, from, to), to));
    reply.integer(match found {
        Some((Some(at), _)) => at as i64,
        // Behind a string whose end nobody named there are zeros.
        Some((None, to)) if !is_one && end.is_none() => to as i64,
        _ => NOT_FOUND,
    });
    Ok(())
}

fn find(bytes: &[u8], is_one: bool, from: usize, to: usize) -> Option<usize> {
    let skipped = if is_one { 0 } else { 0xff };
    let mut at = from;
    while at < to {
        if at.is_multiple_of(8) {
            let rest = &bytes[at / 8..to.div_ceil(8)];
            at += 8 * rest.iter().take_while(|byte| **byte == skipped).count();
            if at >= to {
                return None;
            }
        }
        if (bytes[at / 8] >> (7 - at % 8) & 1 == 1) == is_one {
            return Some(at);
        }
        at += 1;
    }
    None
}
