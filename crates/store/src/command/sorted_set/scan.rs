//! ZSCAN: walking over the members of a sorted set.
//!
//! A packed set answers whole. In a large one the cursor is the upper half of the next member's hash, with the
//! guarantee of SCAN (see `crate::scan`), whatever happens to scores meanwhile.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::command::gather::parse_cursor;
use crate::command::part_scan::{PartScan, step};
use crate::error::CommandError;
use crate::number::float::FloatText;
use crate::value::sorted_set::SortedSet;

pub(crate) fn zscan(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let cursor = parse_cursor(&args[2])?;
    let Some(set) = reader.kind::<SortedSet>(&args[1])? else {
        reply.array(2);
        reply.bulk_integer(0);
        reply.array(0);
        return Ok(());
    };
    let options = PartScan::parse(args.from(3), Some("NOSCORES"))?;
    let is_packed = set.is_packed();
    // Past the last cursor there is nothing, not a new beginning.
    let place = u32::try_from(cursor).ok();
    let (mut found, next) = match (place, set.iter_from(place.unwrap_or(0))) {
        (_, None) => (set.iter().collect(), 0),
        (None, Some(_)) => (Vec::new(), 0),
        (Some(_), Some(members)) => {
            let (found, next) = step(members, options.count, |(place, ..)| u64::from(*place));
            (found.into_iter().map(|(_, name, score)| (name, score)).collect::<Vec<_>>(), next)
        }
    };
    found.retain(|(name, _)| options.matches(name));
    reply.array(2);
    reply.bulk_integer(next.cast_signed());
    reply.array(found.len() * if options.has_values { 2 } else { 1 });
    for (name, score) in found {
        reply.bulk(name);
        if options.has_values {
            match whole_number(score).filter(|_| is_packed) {
                Some(number) => reply.bulk_integer(number),
                None => reply.bulk(FloatText::of(score).as_str().as_bytes()),
            }
        }
    }
    Ok(())
}

/// What a listpack of Redis holds as an integer, and so shows all digits of.
fn whole_number(score: f64) -> Option<i64> {
    const MAX: f64 = (1u64 << 62) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "a number of at most 62 bits")]
    (score.abs() <= MAX && score.trunc() == score).then_some(score as i64)
}
