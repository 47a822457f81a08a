//! ZRANDMEMBER: members chosen at random.

use std::collections::BTreeSet;

use keystead_resp::{Args, ReplyWriter};

use super::range::put_members;
use crate::command::Reader;
use crate::command::hash::random::{DRAWN_MAX, below, parse_count};
use crate::error::CommandError;
use crate::value::sorted_set::{Direction, SortedSet};

pub(crate) fn zrandmember(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let count = args.get(2).map(|text| parse_count(text, args, b"WITHSCORES")).transpose()?;
    let set = reader.kind::<SortedSet>(&args[1])?;
    let Some(count) = count else {
        let drawn = set.and_then(|set| {
            let rank = below(reader, set.len());
            set.walk(rank..rank + 1, Direction::Up).next()
        });
        match drawn {
            Some((name, _)) => reply.bulk(name),
            None => reply.null(),
        }
        return Ok(());
    };
    let Some(set) = set else {
        reply.array(0);
        return Ok(());
    };
    let has_scores = args.len() == 4;
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count >= 0 && wanted >= set.len() {
        put_members(reply, set.walk(0..set.len(), Direction::Down), has_scores);
        return Ok(());
    }
    if count.unsigned_abs() > DRAWN_MAX {
        return Err(CommandError::OutOfRange);
    }
    let ranks: Vec<usize> = if count < 0 {
        (0..wanted).map(|_| below(reader, set.len())).collect()
    } else {
        distinct(reader, wanted, set.len())
    };
    let drawn: Vec<_> = ranks
        .into_iter()
        .filter_map(|rank| set.walk(rank..rank + 1, Direction::Up).next())
        .collect();
    put_members(reply, drawn.into_iter(), has_scores);
    Ok(())
}

/// `count` different numbers below `bound`, which is greater (Floyd: "A sample of brilliance", CACM 30:9, 1987).
fn distinct(reader: &Reader<'_>, count: usize, bound: usize) -> Vec<usize> {
    let mut drawn = BTreeSet::new();
    let mut order = Vec::with_capacity(count);
    for last in bound - count..bound {
        let number = below(reader, last + 1);
        let number = if drawn.contains(&number) { last } else { number };
        drawn.insert(number);
        order.push(number);
    }
    order
}
