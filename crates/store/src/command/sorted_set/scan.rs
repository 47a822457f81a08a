//! ZSCAN: walking over the members of a sorted set.
//!
//! A packed set answers whole. In a large one the cursor is the upper half of the next member's hash, with the
//! guarantee of SCAN (see `crate::scan`), whatever happens to scores meanwhile.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Reader;
use crate::command::gather::{parse_count, parse_cursor};
use crate::error::CommandError;
use crate::number::float::FloatText;
use crate::scan::glob_matches;
use crate::value::sorted_set::SortedSet;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    has_scores: bool,
}

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
    let options = parse(args.from(3))?;
    let (mut next, mut found) = (0, Vec::new());
    let is_packed = set.is_packed();
    match (u32::try_from(cursor).ok(), set.iter_from(u32::try_from(cursor).unwrap_or(0))) {
        (_, None) => found.extend(set.iter()),
        // Past the last cursor there is nothing, not a new beginning.
        (None, Some(_)) => {}
        (Some(_), Some(members)) => {
            let mut last = None;
            for (place, name, score) in members {
                if found.len() >= options.count && last != Some(place) {
                    next = i64::from(place);
                    break;
                }
                last = Some(place);
                found.push((name, score));
            }
        }
    }
    found.retain(|(name, _)| options.pattern.is_none_or(|pattern| glob_matches(pattern, name)));
    reply.array(2);
    reply.bulk_integer(next);
    reply.array(found.len() * if options.has_scores { 2 } else { 1 });
    for (name, score) in found {
        reply.bulk(name);
        if options.has_scores {
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

fn parse(args: Args<'_>) -> Result<Options<'_>, CommandError> {
    let mut options = Options { pattern: None, count: 10, has_scores: true };
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"NOSCORES") {
            options.has_scores = false;
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
