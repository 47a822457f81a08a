//! ZRANGE and its older forms, ZRANGESTORE: the members of a range.

use std::ops::Range;

use keystead_resp::{Args, Protocol, ReplyWriter};

use super::bound::{Bounds, By};
use super::{put_score, store};
use crate::command::{Reader, Writer};
use crate::error::CommandError;
use crate::number::parse_integer;
use crate::value::Kind;
use crate::value::sorted_set::{Direction, SortedSet};

/// What the name of a command says already.
#[derive(Clone, Copy)]
struct Form {
    by: Option<By>,
    direction: Option<Direction>,
    is_storing: bool,
}

/// A range with its options.
struct Query<'a> {
    bounds: Bounds<'a>,
    direction: Direction,
    has_scores: bool,
    offset: i64,
    /// Negative: all.
    limit: i64,
}

impl<'a> Query<'a> {
    /// Reads start and end, which stand first in `args`, and the options behind them.
    fn parse(args: Args<'a>, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut direction) = (form.by, form.direction);
        let (mut has_scores, mut offset, mut limit) = (false, 0, -1);
        let mut rest = args.from(2);
        while let Some(word) = rest.get(0) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            rest = rest.from(1);
            if !form.is_storing && is(b"WITHSCORES") {
                has_scores = true;
            } else if is(b"LIMIT") && rest.len() >= 2 {
                offset = parse_integer(&rest[0]).ok_or(CommandError::NotAnInteger)?;
                limit = parse_integer(&rest[1]).ok_or(CommandError::NotAnInteger)?;
                rest = rest.from(2);
            } else if direction.is_none() && is(b"REV") {
                direction = Some(Direction::Down);
            } else if by.is_none() && is(b"BYLEX") {
                by = Some(By::Name);
            } else if by.is_none() && is(b"BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Up));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::RangeLimit);
        }
        if has_scores && by == By::Name {
            return Err(CommandError::RangeNameScores);
        }
        let is_swapped = direction == Direction::Down && by != By::Rank;
        let (min, max) = if is_swapped { (1, 0) } else { (0, 1) };
        let argument = |at| args.get(at).ok_or(CommandError::Syntax);
        let bounds = Bounds::parse(by, argument(min)?, argument(max)?)?;
        Ok(Self { bounds, direction, has_scores, offset, limit })
    }

    /// The ranks that are wanted, counted from the least.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let Range { start, end } = self.bounds.ranks(set);
        if matches!(self.bounds, Bounds::Rank(..)) {
            return match self.direction {
                Direction::Up => start..end,
                Direction::Down => set.len() - end.min(set.len())..set.len() - start,
            };
        }
        let len = end - start;
        let skipped = usize::try_from(self.offset).map_or(len, |offset| offset.min(len));
        let taken = usize::try_from(self.limit).map_or(len, |limit| limit).min(len - skipped);
        match self.direction {
            Direction::Up => start + skipped..start + skipped + taken,
            Direction::Down => end - skipped - taken..end - skipped,
        }
    }
}

macro_rules! ranges {
    ($($name:ident: $by:expr, $direction:expr;)+) => {$(
        pub(crate) fn $name(
            reader: &Reader<'_>,
            args: Args<'_>,
            reply: &mut ReplyWriter<'_>,
        ) -> Result<(), CommandError> {
            answer(reader, args, reply, Form { by: $by, direction: $direction, is_storing: false })
        }
    )+};
}

ranges! {
    zrange: None, None;
    zrevrange: Some(By::Rank), Some(Direction::Down);
    zrangebyscore: Some(By::Score), Some(Direction::Up);
    zrevrangebyscore: Some(By::Score), Some(Direction::Down);
    zrangebylex: Some(By::Name), Some(Direction::Up);
    zrevrangebylex: Some(By::Name), Some(Direction::Down);
}

fn answer(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    form: Form,
) -> Result<(), CommandError> {
    let query = Query::parse(args.from(2), form)?;
    let Some(set) = reader.kind::<SortedSet>(&args[1])? else {
        reply.array(0);
        return Ok(());
    };
    put_members(reply, set.walk(query.ranks(set), query.direction), query.has_scores);
    Ok(())
}

/// Answers members, with their scores if these are wanted: flat in RESP2, in pairs in RESP3.
pub(super) fn put_members<'a>(
    reply: &mut ReplyWriter<'_>,
    members: impl ExactSizeIterator<Item = (&'a [u8], f64)>,
    has_scores: bool,
) {
    let is_paired = has_scores && reply.protocol() == Protocol::Resp3;
    reply.array(members.len() * if has_scores && !is_paired { 2 } else { 1 });
    for (name, score) in members {
        if is_paired {
            reply.array(2);
        }
        reply.bulk(name);
        if has_scores {
            put_score(reply, score);
        }
    }
}

pub(crate) fn zrangestore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let form = Form { by: None, direction: None, is_storing: true };
    let query = Query::parse(args.from(3), form)?;
    let stored = match writer.kind::<SortedSet>(&args[2])? {
        None => SortedSet::new(),
        Some(set) => {
            let members = set.walk(query.ranks(set), query.direction);
            SortedSet::collect(&writer.keyspace.hasher, members)
        }
    };
    store(writer, (&args[1], "zrangestore"), stored, reply);
    Ok(())
}
