//! ZUNION, ZINTER, ZDIFF, ZINTERCARD, ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE: sets put together.
//!
//! The order in which scores are added up shows in their last digits. It is that of Redis: sets from the smallest to
//! the greatest.

use std::borrow::Cow;

use keystead_resp::{Args, ReplyWriter};

use super::range::put_members;
use super::store as put_stored;
use crate::command::{Reader, Writer};
use crate::entry::Entry;
use crate::error::{CommandError, WrongType};
use crate::number::float::parse_float;
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::set::{self, Set};
use crate::value::sorted_set::SortedSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result, hence which options there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    Answer,
    Count,
    Store,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs: neither, so zero.
            Self::Sum if (a + b).is_nan() => 0.0,
            Self::Sum => a + b,
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// A member, whose name may be the digits of a number in a set.
type Member<'a> = (Cow<'a, [u8]>, f64);

/// Something that members are read from. The members of a plain set have the score 1.
#[derive(Clone, Copy)]
enum Source<'a> {
    Absent,
    Set(&'a Set),
    SortedSet(&'a SortedSet),
}

impl<'a> Source<'a> {
    fn of(entry: Option<&'a Entry>) -> Result<Self, WrongType> {
        let Some(entry) = entry else { return Ok(Self::Absent) };
        let set = entry.as_kind().map(Self::Set);
        set.or_else(|| entry.as_kind().map(Self::SortedSet)).ok_or(WrongType)
    }

    fn len(self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Set(set) => set.len(),
            Self::SortedSet(set) => set.len(),
        }
    }

    fn score(self, hasher: &Hasher, name: &[u8]) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::Set(set) => set.contains(hasher, set::Member::Bytes(name)).then_some(1.0),
            Self::SortedSet(set) => set.score(hasher, name),
        }
    }

    fn iter(self) -> impl Iterator<Item = Member<'a>> {
        let (set, sorted_set) = match self {
            Self::Absent => (None, None),
            Self::Set(set) => (Some(set), None),
            Self::SortedSet(set) => (None, Some(set)),
        };
        let plain = set.into_iter().flat_map(Set::iter).map(|member| match member {
            set::Member::Bytes(name) => (Cow::Borrowed(name), 1.0),
            set::Member::Int(_) => (Cow::Owned(member.to_vec()), 1.0),
        });
        let scored = sorted_set.into_iter().flat_map(SortedSet::iter);
        plain.chain(scored.map(|(name, score)| (Cow::Borrowed(name), score)))
    }
}

/// A command with what its keys hold.
struct Query<'a> {
    sources: Vec<(Source<'a>, f64)>,
    aggregate: Aggregate,
    has_scores: bool,
    /// Of ZINTERCARD; 0 is none.
    limit: usize,
}

impl<'a> Query<'a> {
    /// Reads from the number of keys on. The keys are looked up before the options are read, as in Redis.
    fn parse(
        args: Args<'_>,
        (operation, aim, command): (Operation, Aim, &'static str),
        look_up: impl Fn(&[u8]) -> Option<&'a Entry>,
    ) -> Result<Self, CommandError> {
        let count = parse_integer(&args[0]).ok_or(CommandError::NotAnInteger)?;
        if count < 1 {
            return Err(CommandError::NoInputKey { command });
        }
        let count = usize::try_from(count).ok().filter(|count| *count < args.len());
        let count = count.ok_or(CommandError::Syntax)?;
        let keys = args.iter().skip(1).take(count);
        let sources: Result<Vec<_>, WrongType> =
            keys.map(|key| Ok((Source::of(look_up(key))?, 1.0))).collect();
        let mut query =
            Self { sources: sources?, aggregate: Aggregate::Sum, has_scores: false, limit: 0 };
        let mut rest = args.from(count + 1);
        while let Some(word) = rest.get(0) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let is_weighted = operation != Operation::Diff && aim != Aim::Count;
            rest = rest.from(1);
            let used = if is_weighted && rest.len() >= count && is(b"WEIGHTS") {
                for ((_, weight), text) in query.sources.iter_mut().zip(rest.iter()) {
                    *weight = parse_float(text).ok_or(CommandError::WeightNotAFloat)?;
                }
                count
            } else if is_weighted && !rest.is_empty() && is(b"AGGREGATE") {
                query.aggregate = parse_aggregate(&rest[0])?;
                1
            } else if aim == Aim::Answer && is(b"WITHSCORES") {
                query.has_scores = true;
                0
            } else if aim == Aim::Count && !rest.is_empty() && is(b"LIMIT") {
                let limit = parse_integer(&rest[0]).and_then(|limit| usize::try_from(limit).ok());
                query.limit = limit.ok_or(CommandError::LimitNegative)?;
                1
            } else {
                return Err(CommandError::Syntax);
            };
            rest = rest.from(used);
        }
        if operation != Operation::Diff {
            query.sources.sort_by_key(|(source, _)| source.len());
        }
        Ok(query)
    }

    /// The members of the result with their scores, in order.
    fn run(&self, operation: Operation, hasher: &Hasher) -> Vec<Member<'a>> {
        let mut members = match operation {
            Operation::Union => self.union(),
            Operation::Inter => self.inter(hasher).collect(),
            Operation::Diff => self.diff(hasher),
        };
        members.sort_by(|(a_name, a), (b_name, b)| {
            a.partial_cmp(b).expect("INV-Z5: a score is a number").then_with(|| a_name.cmp(b_name))
        });
        members
    }

    fn union(&self) -> Vec<Member<'a>> {
        let mut all: Vec<Member<'_>> = Vec::new();
        for (source, weight) in &self.sources {
            all.extend(source.iter().map(|(name, score)| (name, weighted(score, *weight))));
        }
        // A stable sort: the scores of a name stay in the order of the sets.
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(name, score), (kept_name, kept)| {
            let is_same = name == kept_name;
            if is_same {
                *kept = self.aggregate.of(*kept, *score);
            }
            is_same
        });
        all
    }

    fn inter(&self, hasher: &Hasher) -> impl Iterator<Item = Member<'a>> {
        let first = self.sources.first().copied();
        let others = self.sources.get(1..).unwrap_or_default();
        first
            .into_iter()
            .flat_map(|(source, weight)| source.iter().map(move |m| (m, weight)))
            .filter_map(move |((name, score), weight)| {
                let mut sum = weighted(score, weight);
                for (other, weight) in others {
                    let value = other.score(hasher, &name)? * weight;
                    sum = self.aggregate.of(sum, value);
                }
                Some((name, sum))
            })
    }

    fn diff(&self, hasher: &Hasher) -> Vec<Member<'a>> {
        let Some(((first, _), others)) = self.sources.split_first() else { return Vec::new() };
        let is_elsewhere =
            |name: &[u8]| others.iter().any(|(other, _)| other.score(hasher, name).is_some());
        first.iter().filter(|(name, _)| !is_elsewhere(name)).collect()
    }
}

/// Zero times infinity counts as zero.
fn weighted(score: f64, weight: f64) -> f64 {
    let product = weight * score;
    if product.is_nan() { 0.0 } else { product }
}

fn parse_aggregate(word: &[u8]) -> Result<Aggregate, CommandError> {
    let words: [(&[u8], Aggregate); 3] =
        [(b"SUM", Aggregate::Sum), (b"MIN", Aggregate::Min), (b"MAX", Aggregate::Max)];
    let found = words.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    found.map(|(_, aggregate)| aggregate).ok_or(CommandError::Syntax)
}

fn answer(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    (operation, command): (Operation, &'static str),
) -> Result<(), CommandError> {
    let kind = (operation, Aim::Answer, command);
    let query = Query::parse(args.from(1), kind, |key| reader.entry(key))?;
    let members = query.run(operation, &reader.keyspace.hasher);
    put_members(reply, members.iter().map(|(name, score)| (&**name, *score)), query.has_scores);
    Ok(())
}

fn store(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    (operation, command): (Operation, &'static str),
) -> Result<(), CommandError> {
    let kind = (operation, Aim::Store, command);
    let query = Query::parse(args.from(2), kind, |key| writer.entry(key))?;
    let hasher = &writer.keyspace.hasher;
    let members = query.run(operation, hasher);
    let members = members.iter().map(|(name, score)| (&**name, *score));
    let stored = SortedSet::collect(hasher, members);
    put_stored(writer, (&args[1], command), stored, reply);
    Ok(())
}

macro_rules! combinations {
    ($run:ident($door:ty): $($name:ident => $operation:expr;)+) => {$(
        pub(crate) fn $name(
            door: $door,
            args: Args<'_>,
            reply: &mut ReplyWriter<'_>,
        ) -> Result<(), CommandError> {
            $run(door, args, reply, ($operation, stringify!($name)))
        }
    )+};
}

combinations! {
    answer(&Reader<'_>):
    zunion => Operation::Union;
    zinter => Operation::Inter;
    zdiff => Operation::Diff;
}

combinations! {
    store(&mut Writer<'_>):
    zunionstore => Operation::Union;
    zinterstore => Operation::Inter;
    zdiffstore => Operation::Diff;
}

pub(crate) fn zintercard(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let kind = (Operation::Inter, Aim::Count, "zintercard");
    let query = Query::parse(args.from(1), kind, |key| reader.entry(key))?;
    let limit = if query.limit == 0 { usize::MAX } else { query.limit };
    reply.integer(query.inter(&reader.keyspace.hasher).take(limit).count() as i64);
    Ok(())
}
