//! ZPOPMIN, ZPOPMAX, ZMPOP: taking out the least or the greatest.
//! [`pop`] and [`first_filled`] are also what the blocking forms do once there is something to take.

use keystead_resp::{Args, Protocol, ReplyWriter};

use super::put_score;
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::{CommandError, WrongType};
use crate::keyspace::Change;
use crate::number::parse_integer;
use crate::value::sorted_set::{Direction, SortedSet};

/// At which end to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The least scores.
    Least,
    /// The greatest scores.
    Greatest,
}

/// How members are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Names and scores in one array.
    Flat,
    /// A pair for each member.
    Pairs,
    /// The key, then one name and score: what BZPOPMIN and BZPOPMAX answer.
    KeyThenFlat,
    /// The key, then an array of pairs: what ZMPOP and BZMPOP answer.
    KeyThenPairs,
}

/// Takes at most `count` members from one end and answers them; nothing is answered if nothing is there, and the
/// result says so.
pub(crate) fn pop(
    writer: &mut Writer<'_>,
    key: &[u8],
    (end, count): (End, usize),
    (reply, shape): (&mut ReplyWriter<'_>, Shape),
) -> Result<bool, WrongType> {
    let is_taken = writer.edit(key, |set: &mut SortedSet, hasher| {
        let taken = count.min(set.len());
        if taken == 0 {
            return (Change::Unchanged, false);
        }
        match shape {
            Shape::Flat => reply.array(taken * 2),
            Shape::Pairs => reply.array(taken),
            Shape::KeyThenFlat => {
                reply.array(taken * 2 + 1);
                reply.bulk(key);
            }
            Shape::KeyThenPairs => {
                reply.array(2);
                reply.bulk(key);
                reply.array(taken);
            }
        }
        let (ranks, direction) = match end {
            End::Least => (0..taken, Direction::Up),
            End::Greatest => (set.len() - taken..set.len(), Direction::Down),
        };
        for (name, score) in set.walk(ranks.clone(), direction) {
            if matches!(shape, Shape::Pairs | Shape::KeyThenPairs) {
                reply.array(2);
            }
            reply.bulk(name);
            put_score(reply, score);
        }
        set.remove_ranks(hasher, ranks);
        (Change::Changed, true)
    })?;
    if is_taken {
        let event = match end {
            End::Least => "zpopmin",
            End::Greatest => "zpopmax",
        };
        writer.notify_shrunk(EventClass::SortedSet, event, key);
    }
    Ok(is_taken)
}

/// The first of `keys` under which something stands; it must be a sorted set.
pub(crate) fn first_filled<'a>(
    writer: &Writer<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a [u8]>, WrongType> {
    for key in keys {
        if writer.kind::<SortedSet>(key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

pub(crate) fn zpopmin(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    pop_one_key(writer, args, reply, End::Least)
}

pub(crate) fn zpopmax(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    pop_one_key(writer, args, reply, End::Greatest)
}

fn pop_one_key(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    end: End,
) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = match args.get(2) {
        None => 1,
        Some(text) => {
            let count = parse_integer(text).and_then(|count| usize::try_from(count).ok());
            count.ok_or(CommandError::NotPositive)?
        }
    };
    let is_paired = args.len() == 3 && reply.protocol() == Protocol::Resp3;
    let shape = if is_paired { Shape::Pairs } else { Shape::Flat };
    if !pop(writer, &args[1], (end, count), (reply, shape))? {
        reply.array(0);
    }
    Ok(())
}

/// The arguments of ZMPOP and, from the number of keys on, of BZMPOP.
pub(crate) struct PopQuery<'a> {
    args: Args<'a>,
    keys: usize,
    /// At which end.
    pub(crate) end: End,
    /// How many at most; at least 1.
    pub(crate) count: usize,
}

impl<'a> PopQuery<'a> {
    /// Reads `numkeys key [key ...] MIN | MAX [COUNT count]`.
    pub(crate) fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let positive = |text: &[u8], error: CommandError| {
            let number = parse_integer(text).and_then(|number| usize::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or(error)
        };
        let keys = positive(&args[0], CommandError::KeyCountNotPositive)?;
        let Some(end) = keys.checked_add(1).and_then(|at| args.get(at)) else {
            return Err(CommandError::Syntax);
        };
        let end = if end.eq_ignore_ascii_case(b"MIN") {
            End::Least
        } else if end.eq_ignore_ascii_case(b"MAX") {
            End::Greatest
        } else {
            return Err(CommandError::Syntax);
        };
        let rest = args.from(keys + 2);
        let count = match (rest.get(0), rest.get(1), rest.len()) {
            (None, ..) => 1,
            (Some(word), Some(count), _) if word.eq_ignore_ascii_case(b"COUNT") => {
                let count = positive(count, CommandError::CountNotPositive)?;
                if rest.len() > 2 {
                    return Err(CommandError::Syntax);
                }
                count
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Self { args, keys, end, count })
    }

    /// The keys, in the order in which they are looked at.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.args.iter().skip(1).take(self.keys)
    }
}

pub(crate) fn zmpop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let query = PopQuery::parse(args.from(1))?;
    match first_filled(writer, query.keys())? {
        None => reply.null_array(),
        Some(key) => {
            pop(writer, key, (query.end, query.count), (reply, Shape::KeyThenPairs))?;
        }
    }
    Ok(())
}
