//! Ranges of a sorted set as clients write them: by rank, by score, by name.
//! Owns: reading them with the leniency of Redis, and which ranks they come to. Never: replies.

use std::ops::Range;

use crate::error::CommandError;
use crate::number::float::parse_prefix;
use crate::number::parse_integer;
use crate::value::sorted_set::SortedSet;

/// What a range is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Name,
}

/// A range with both its bounds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Name(NameBound<'a>, NameBound<'a>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ScoreBound {
    value: f64,
    is_exclusive: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NameBound<'a> {
    Least,
    Greatest,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

impl<'a> Bounds<'a> {
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        match by {
            By::Rank => {
                let number = |text| parse_integer(text).ok_or(CommandError::NotAnInteger);
                Ok(Self::Rank(number(min)?, number(max)?))
            }
            By::Score => {
                let bound = |text| ScoreBound::parse(text).ok_or(CommandError::ScoreRange);
                Ok(Self::Score(bound(min)?, bound(max)?))
            }
            By::Name => {
                let bound = |text| NameBound::parse(text).ok_or(CommandError::NameRange);
                Ok(Self::Name(bound(min)?, bound(max)?))
            }
        }
    }

    /// The ranks of the members within; those by rank are counted from the least.
    pub(super) fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let (start, end) = match self {
            Self::Rank(start, end) => return ranks(*start, *end, set.len()),
            Self::Score(min, max) => (
                set.rank_by_score(|score| !min.is_below(score)),
                set.rank_by_score(|score| max.is_above(score)),
            ),
            Self::Name(min, max) => (
                set.rank_by_name(|name| !min.is_below(name)),
                set.rank_by_name(|name| max.is_above(name)),
            ),
        };
        start..end.max(start)
    }
}

/// Ranks of which negative ones count from the end.
fn ranks(start: i64, end: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let absolute = |rank: i64| if rank < 0 { rank + len } else { rank };
    let start = usize::try_from(absolute(start).clamp(0, len)).unwrap_or(0);
    let end = usize::try_from((absolute(end).min(len - 1) + 1).max(0)).unwrap_or(0);
    start..end.max(start)
}

impl ScoreBound {
    /// A number, `(` before it if it is not part of the range. Blanks may stand before it, and nothing is 0.
    fn parse(text: &[u8]) -> Option<Self> {
        let (is_exclusive, text) = match text {
            [b'(', text @ ..] => (true, text),
            text => (false, text),
        };
        let prefix = parse_prefix(text);
        // Redis reads up to a byte of zero.
        let is_whole = text.get(prefix.len).is_none_or(|byte| *byte == 0);
        (is_whole && !prefix.value.is_nan()).then_some(Self { value: prefix.value, is_exclusive })
    }

    fn is_below(&self, score: f64) -> bool {
        self.value < score || (self.value == score && !self.is_exclusive)
    }

    fn is_above(&self, score: f64) -> bool {
        self.value > score || (self.value == score && !self.is_exclusive)
    }
}

impl<'a> NameBound<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            [b'-'] | [b'-', 0, ..] => Some(Self::Least),
            [b'+'] | [b'+', 0, ..] => Some(Self::Greatest),
            [b'[', name @ ..] => Some(Self::Inclusive(name)),
            [b'(', name @ ..] => Some(Self::Exclusive(name)),
            _ => None,
        }
    }

    fn is_below(&self, name: &[u8]) -> bool {
        match self {
            Self::Least => true,
            Self::Greatest => false,
            Self::Inclusive(bound) => *bound <= name,
            Self::Exclusive(bound) => *bound < name,
        }
    }

    fn is_above(&self, name: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Inclusive(bound) => *bound >= name,
            Self::Exclusive(bound) => *bound > name,
        }
    }
}
