//! BITCOUNT: the number of ones.

use keystead_resp::{Args, ReplyWriter};

use super::range::{RangeUnit, masked_byte};
use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;

pub(crate) fn bitcount(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let Some(bytes) = reader.string(&args[1])? else {
        reply.integer(0);
        return Ok(());
    };
    let range = match args.len() {
        2 => Some((0, bytes.len() * 8)),
        4 | 5 => {
            let start = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
            let end = parse_integer(&args[3]).ok_or(CommandError::NotAnInteger)?;
            if start < 0 && end < 0 && start > end {
                None
            } else {
                let unit = args.get(4).map(RangeUnit::parse).transpose()?.unwrap_or_default();
                unit.bits(start, end, bytes.len())
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    reply.integer(range.map_or(0, |range| count(bytes, range)));
    Ok(())
}

fn count(bytes: &[u8], (start, end): (usize, usize)) -> i64 {
    if start >= end {
        return 0;
    }
    let (first, last) = (start / 8, (end - 1) / 8);
    let edge = |at: usize| i64::from(masked_byte(bytes, at, (start, end)).count_ones());
    if first == last {
        return edge(first);
    }
    let whole: i64 = bytes[first + 1..last].iter().map(|byte| i64::from(byte.count_ones())).sum();
    edge(first) + whole + edge(last)
}
