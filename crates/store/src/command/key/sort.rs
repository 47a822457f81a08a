//! SORT, SORT_RO: the members of a list, a set or a sorted set, ordered by themselves or by what keys named after them hold.
//! Owns: the options, the order. Never: what a pattern names (`sort/pattern.rs`).
//!
//! ALPHA compares bytes, as Redis does under the locale C. What compares equal stays in the order in which the
//! collection holds it, which is the same on every replica, and so is what STORE leaves behind.

mod pattern;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use keystead_resp::{Args, ReplyWriter};
use keystead_types::Slot;

use self::pattern::{KeyPattern, Pattern};
use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::entry::{Entry, Value};
use crate::error::{CommandError, WrongType};
use crate::keyspace::Keyspace;
use crate::number::float::parse_prefix;
use crate::number::parse_integer;
use crate::value::list::{List, Side};
use crate::value::set::Member;
use crate::value::sorted_set::Direction;
use crate::value::{Collection, Kind};

/// Most results of a call with several GET: a short command must not make gigabytes. Without GET there are as many
/// results as members, however many these are.
const RESULTS_MAX: usize = 1 << 24;

/// What a client asked for.
struct Query<'a> {
    key: &'a [u8],
    by: By<'a>,
    direction: Direction,
    comparison: Comparison,
    /// LIMIT: how many members are left out at the beginning.
    skipped: usize,
    /// LIMIT: how many follow; all of them if there is no such limit.
    count: Option<usize>,
    /// What is answered of each member; itself if there is none.
    gets: Vec<Pattern<'a>>,
    store: Option<&'a [u8]>,
}

/// What decides about the order.
#[derive(Clone, Copy)]
enum By<'a> {
    /// The members themselves.
    Members,
    /// What the pattern names for each member.
    Weights(KeyPattern<'a>),
    /// Nothing: it is the collection's own.
    Held,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Numbers,
    Bytes,
}

/// A member with what it is compared by.
struct Weighed<'a> {
    member: Cow<'a, [u8]>,
    weight: Weight<'a>,
}

enum Weight<'a> {
    Number(f64),
    /// Nothing comes before everything.
    Bytes(Option<&'a [u8]>),
    Member,
}

pub(crate) fn sort_ro(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, &Query::parse(args, reader.keyspace, false)?, reply)
}

pub(crate) fn sort(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let query = Query::parse(args, writer.keyspace, true)?;
    let Some(target) = query.store else {
        return writer.reading(|reader| answer(reader, &query, reply));
    };
    let sorted = writer.reading(|reader| -> Result<List, CommandError> {
        let mut list = List::new();
        let members = query.members(reader)?;
        query.results(members.len())?;
        query.each(reader, &members, |found| {
            list.push(Side::Right, found.unwrap_or_default());
        });
        Ok(list)
    })?;
    let len = sorted.len();
    let was_there = writer.entry(target).is_some();
    writer.replace(target, sorted);
    if len > 0 {
        writer.notify(EventClass::List, "sortstore", target);
    } else if was_there {
        writer.notify(EventClass::Generic, "del", target);
    }
    reply.integer(len as i64);
    Ok(())
}

fn answer(
    reader: &Reader<'_>,
    query: &Query<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let members = query.members(reader)?;
    reply.array(query.results(members.len())?);
    query.each(reader, &members, |found| reply.bulk_or_null(found));
    Ok(())
}

impl<'a> Query<'a> {
    /// Reads the options. `takes_store`: it is not SORT_RO.
    fn parse(args: Args<'a>, keyspace: &Keyspace, takes_store: bool) -> Result<Self, CommandError> {
        let mut query = Self {
            key: args.get(1).unwrap_or_default(),
            by: By::Members,
            direction: Direction::Up,
            comparison: Comparison::Numbers,
            skipped: 0,
            count: None,
            gets: Vec::new(),
            store: None,
        };
        // Where a store has every slot, patterns name what they like, as in one Redis; elsewhere see `pattern.rs`.
        let slot = (!keyspace.has_every_slot).then(|| Slot::of_key(query.key));
        let mut rest = args.from(2);
        while let Some(option) = rest.get(0) {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            let values = rest.from(1);
            let used = match (values.get(0), values.get(1)) {
                _ if is(b"ASC") => {
                    query.direction = Direction::Up;
                    0
                }
                _ if is(b"DESC") => {
                    query.direction = Direction::Down;
                    0
                }
                _ if is(b"ALPHA") => {
                    query.comparison = Comparison::Bytes;
                    0
                }
                (Some(skipped), Some(count)) if is(b"LIMIT") => {
                    query.limit(skipped, count)?;
                    2
                }
                (Some(target), _) if is(b"STORE") && takes_store => {
                    query.store = Some(target);
                    1
                }
                (Some(pattern), _) if is(b"BY") => {
                    // As in Redis, whoever asked once for no order gets none.
                    match Pattern::parse(pattern, slot, "BY")? {
                        Pattern::Key(_) if matches!(query.by, By::Held) => {}
                        Pattern::Key(pattern) => query.by = By::Weights(pattern),
                        Pattern::Member | Pattern::Nothing => query.by = By::Held,
                    }
                    1
                }
                (Some(pattern), _) if is(b"GET") => {
                    query.gets.push(Pattern::parse(pattern, slot, "GET")?);
                    1
                }
                _ => return Err(CommandError::Syntax),
            };
            rest = values.from(used);
        }
        Ok(query)
    }

    /// Negative numbers are no limits.
    fn limit(&mut self, skipped: &[u8], count: &[u8]) -> Result<(), CommandError> {
        let skipped = parse_integer(skipped).ok_or(CommandError::NotAnInteger)?;
        let count = parse_integer(count).ok_or(CommandError::NotAnInteger)?;
        self.skipped = usize::try_from(skipped).unwrap_or(0);
        self.count = usize::try_from(count).ok();
        Ok(())
    }

    /// Which of `len` members the limits leave.
    fn window(&self, len: usize) -> Range<usize> {
        let start = self.skipped.min(len);
        let end = self.count.map_or(len, |count| start.saturating_add(count).min(len));
        start..end
    }

    /// The members in the order asked for, within the limits.
    fn members<'e>(&self, reader: &Reader<'e>) -> Result<Vec<Cow<'e, [u8]>>, CommandError> {
        let collection = match reader.entry(self.key).map(Entry::value) {
            None => return Ok(Vec::new()),
            Some(Value::String(_)) => return Err(WrongType.into()),
            Some(Value::Collection(collection)) => collection,
        };
        let is_set = matches!(collection, Collection::Set(_));
        match self.by {
            // What is stored does not follow from how a set is kept.
            By::Held if is_set && self.store.is_some() => {
                self.sorted(reader, collection, By::Members, Comparison::Bytes)
            }
            By::Held => held(collection, self.direction, |len| self.window(len)),
            by => self.sorted(reader, collection, by, self.comparison),
        }
    }

    /// How many results `members` give.
    fn results(&self, members: usize) -> Result<usize, CommandError> {
        let results = members.saturating_mul(self.gets.len().max(1));
        if self.gets.len() > 1 && results > RESULTS_MAX {
            return Err(CommandError::SortResults { results, max: RESULTS_MAX });
        }
        Ok(results)
    }

    fn sorted<'e>(
        &self,
        reader: &Reader<'e>,
        collection: &'e Collection,
        by: By<'a>,
        comparison: Comparison,
    ) -> Result<Vec<Cow<'e, [u8]>>, CommandError> {
        let mut key = Vec::new();
        let weigh = |member: Cow<'e, [u8]>| -> Result<Weighed<'e>, CommandError> {
            let weight = match (by, comparison) {
                (By::Weights(pattern), Comparison::Bytes) => {
                    Weight::Bytes(pattern.find(reader, &member, &mut key))
                }
                (By::Weights(pattern), Comparison::Numbers) => {
                    let found = pattern.find(reader, &member, &mut key);
                    Weight::Number(found.map_or(Ok(0.0), number)?)
                }
                (_, Comparison::Bytes) => Weight::Member,
                (_, Comparison::Numbers) => Weight::Number(number(&member)?),
            };
            Ok(Weighed { member, weight })
        };
        let all = held(collection, Direction::Up, |len| 0..len)?;
        let window = self.window(all.len());
        let weighed: Result<Vec<_>, CommandError> = all.into_iter().map(weigh).collect();
        let mut weighed = weighed?;
        match self.direction {
            Direction::Up => weighed.sort_by(Weighed::order),
            Direction::Down => weighed.sort_by(|a, b| b.order(a)),
        }
        let kept = weighed.into_iter().skip(window.start).take(window.len());
        Ok(kept.map(|weighed| weighed.member).collect())
    }

    /// Calls `visit` with everything that is answered of `members`, in order.
    fn each(
        &self,
        reader: &Reader<'_>,
        members: &[Cow<'_, [u8]>],
        mut visit: impl FnMut(Option<&[u8]>),
    ) {
        let mut key = Vec::new();
        for member in members {
            if self.gets.is_empty() {
                visit(Some(member));
            }
            for pattern in &self.gets {
                match pattern {
                    Pattern::Member => visit(Some(member)),
                    Pattern::Nothing => visit(None),
                    Pattern::Key(pattern) => visit(pattern.find(reader, member, &mut key)),
                }
            }
        }
    }
}

impl Weighed<'_> {
    fn order(&self, other: &Self) -> Ordering {
        let by_member = || self.member.cmp(&other.member);
        match (&self.weight, &other.weight) {
            (Weight::Number(a), Weight::Number(b)) => {
                a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(by_member)
            }
            (Weight::Bytes(a), Weight::Bytes(b)) => a.cmp(b),
            _ => by_member(),
        }
    }
}

/// The members of these places in the order in which the collection holds them, which `direction` turns round unless
/// it is a set's.
fn held<'e>(
    collection: &'e Collection,
    direction: Direction,
    window: impl FnOnce(usize) -> Range<usize>,
) -> Result<Vec<Cow<'e, [u8]>>, CommandError> {
    Ok(match collection {
        Collection::List(list) => {
            let window = window(list.len());
            let (side, first) = match direction {
                Direction::Up => (Side::Left, window.start),
                Direction::Down => (Side::Right, (list.len() - window.start).saturating_sub(1)),
            };
            list.iter_from(side, first).take(window.len()).map(Cow::Borrowed).collect()
        }
        Collection::SortedSet(set) => {
            let window = window(set.len());
            let ranks = match direction {
                Direction::Up => window,
                Direction::Down => set.len() - window.end..set.len() - window.start,
            };
            set.walk(ranks, direction).map(|(name, _)| Cow::Borrowed(name)).collect()
        }
        Collection::Set(set) => {
            let window = window(set.len());
            let members = set.iter().skip(window.start).take(window.len());
            let bytes = members.map(|member| match member {
                Member::Int(_) => Cow::Owned(member.to_vec()),
                Member::Bytes(bytes) => Cow::Borrowed(bytes),
            });
            bytes.collect()
        }
        _ => return Err(WrongType.into()),
    })
}

/// The number that `strtod` finds, if it reads the text to its end (or to a zero byte, which ends it in C); an empty one is 0.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let found = parse_prefix(text);
    if found.len != text.len() || found.is_out_of_range || found.value.is_nan() {
        return Err(CommandError::SortWeight);
    }
    Ok(found.value)
}
