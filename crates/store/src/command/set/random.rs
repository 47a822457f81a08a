//! SRANDMEMBER: members chosen at random, which stay.

use std::collections::BTreeSet;

use keystead_resp::{Args, ReplyWriter};

use super::put;
use crate::chance::below;
use crate::command::Reader;
use crate::error::CommandError;
use crate::number::parse_integer;
use crate::value::set::{Member, Set};

/// Most members that may be drawn with repetition: the reply must be bounded by more than a number.
const DRAWN_MAX: u64 = 1024 * 1024;
/// If at least one in so many is wanted, one pass over all is cheaper than drawing until enough differ.
const MEMBERS_PER_DRAW: usize = 3;

pub(crate) fn srandmember(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let count = args.get(2).map(|text| parse_count(text, args)).transpose()?;
    let set = reader.kind::<Set>(&args[1])?;
    match (count, set) {
        (None, None) => reply.null(),
        (None, Some(set)) => put(reply, choose(reader, set)),
        (Some(0), _) | (Some(_), None) => reply.array(0),
        (Some(count), Some(set)) => {
            let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            if count < 0 {
                if count.unsigned_abs() > DRAWN_MAX {
                    return Err(CommandError::OutOfRange);
                }
                reply.array(wanted);
                (0..wanted).for_each(|_| put(reply, choose(reader, set)));
            } else {
                reply.array(wanted.min(set.len()));
                put_different(reader, set, (wanted, reply));
            }
        }
    }
    Ok(())
}

fn parse_count(text: &[u8], args: Args<'_>) -> Result<i64, CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    match parse_integer(text).ok_or(CommandError::NotAnInteger)? {
        i64::MIN => Err(CommandError::OutOfRangeBetween { min: -i64::MAX, max: i64::MAX }),
        count => Ok(count),
    }
}

fn choose<'a>(reader: &Reader<'a>, set: &'a Set) -> Member<'a> {
    let chosen = set.choose(&reader.keyspace.hasher, &mut || reader.random());
    chosen.expect("INV-K3: a set that stands under a key is not empty")
}

/// Answers `wanted` members that differ, or all there are.
fn put_different(reader: &Reader<'_>, set: &Set, (wanted, reply): (usize, &mut ReplyWriter<'_>)) {
    if wanted.saturating_mul(MEMBERS_PER_DRAW) < set.len() {
        let mut drawn = BTreeSet::new();
        while drawn.len() < wanted {
            let member = choose(reader, set).to_vec();
            if !drawn.contains(&member) {
                put(reply, Member::Bytes(&member));
                drawn.insert(member);
            }
        }
        return;
    }
    // Selection sampling (Knuth, TAOCP 3.4.2, algorithm S): one pass, in order.
    let mut missing = wanted.min(set.len());
    for (at, member) in set.iter().enumerate() {
        if below(reader.random(), set.len() - at) < missing {
            put(reply, member);
            missing -= 1;
        }
    }
}
