//! SINTER, SINTERCARD, SUNION, SDIFF and those that store: several sets made one.

use std::ops::ControlFlow;

use keystead_resp::{Args, ReplyWriter};

use super::put;
use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::error::{CommandError, WrongType};
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::Kind;
use crate::value::set::{Member, Set};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Combination {
    Intersection,
    Union,
    Difference,
}

pub(crate) fn sinter(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, Combination::Intersection, args, reply)
}

pub(crate) fn sunion(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, Combination::Union, args, reply)
}

pub(crate) fn sdiff(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, Combination::Difference, args, reply)
}

pub(crate) fn sinterstore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    store(writer, Combination::Intersection, args, reply)
}

pub(crate) fn sunionstore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    store(writer, Combination::Union, args, reply)
}

pub(crate) fn sdiffstore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    store(writer, Combination::Difference, args, reply)
}

pub(crate) fn sintercard(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let count = parse_integer(&args[1]).and_then(|count| usize::try_from(count).ok());
    let count = count
        .filter(|count| *count > 0)
        .ok_or(CommandError::Text { text: "ERR numkeys should be greater than 0" })?;
    if count > args.len() - 2 {
        let text = "ERR Number of keys can't be greater than number of args";
        return Err(CommandError::Text { text });
    }
    let limit = parse_limit(args.from(2 + count))?;
    let sets = operands(reader, args.iter().skip(2).take(count))?;
    let mut found = 0;
    let _is_cut = each_shared(&sets, &reader.keyspace.hasher, &mut |_| {
        found += 1;
        if found == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    reply.integer(found as i64);
    Ok(())
}

/// The limit that `LIMIT n` sets, the last one if there are several; 0 is none.
fn parse_limit(args: Args<'_>) -> Result<usize, CommandError> {
    let mut limit = 0;
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        let value = rest.next().filter(|_| option.eq_ignore_ascii_case(b"LIMIT"));
        let value = parse_integer(value.ok_or(CommandError::Syntax)?);
        limit = value
            .and_then(|value| usize::try_from(value).ok())
            .ok_or(CommandError::Text { text: "ERR LIMIT can't be negative" })?;
    }
    Ok(limit)
}

/// The sets under the keys; that one holds another kind is found before anything else is looked at.
fn operands<'a, 'k>(
    reader: &Reader<'a>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Vec<Option<&'a Set>>, WrongType> {
    keys.map(|key| reader.kind::<Set>(key)).collect()
}

fn answer(
    reader: &Reader<'_>,
    combination: Combination,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let sets = operands(reader, args.iter().skip(1))?;
    let hasher = &reader.keyspace.hasher;
    if combination == Combination::Union {
        let union = united(&sets, hasher);
        reply.set(union.len());
        union.iter().for_each(|member| put(reply, member));
        return Ok(());
    }
    let mut found = Vec::new();
    each_member(&sets, combination, hasher, &mut |member| found.push(member));
    reply.set(found.len());
    found.into_iter().for_each(|member| put(reply, member));
    Ok(())
}

fn store(
    writer: &mut Writer<'_>,
    combination: Combination,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let event = match combination {
        Combination::Intersection => "sinterstore",
        Combination::Union => "sunionstore",
        Combination::Difference => "sdiffstore",
    };
    let result = writer.reading(|reader| {
        let sets = operands(reader, args.iter().skip(2))?;
        let hasher = &reader.keyspace.hasher;
        if combination == Combination::Union {
            return Ok(united(&sets, hasher));
        }
        let mut result = Set::new();
        each_member(&sets, combination, hasher, &mut |member| {
            result.add(hasher, member);
        });
        Ok::<_, WrongType>(result)
    })?;
    reply.integer(result.len() as i64);
    let is_empty = result.is_empty();
    let was_there = is_empty && writer.entry(&args[1]).is_some();
    writer.replace(&args[1], result);
    if !is_empty {
        writer.notify(EventClass::Set, event, &args[1]);
    } else if was_there {
        writer.notify(EventClass::Generic, "del", &args[1]);
    }
    Ok(())
}

/// All members of the sets.
fn united(sets: &[Option<&Set>], hasher: &Hasher) -> Set {
    let mut union = Set::new();
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        union.add(hasher, member);
    }
    union
}

/// Visits what an intersection or a difference holds, each member once.
fn each_member<'a>(
    sets: &[Option<&'a Set>],
    combination: Combination,
    hasher: &Hasher,
    visit: &mut dyn FnMut(Member<'a>),
) {
    if combination == Combination::Intersection {
        let _is_whole = each_shared(sets, hasher, &mut |member| {
            visit(member);
            ControlFlow::Continue(())
        });
        return;
    }
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    let looks = first.len().saturating_mul(others.len());
    let removals = others.iter().map(|other| other.len()).sum::<usize>();
    // Many small sets: it is less work to take their members out of a copy, which is made and looked through.
    if looks > removals.saturating_add(2 * first.len()) {
        let mut left = first.duplicate(hasher);
        for member in others.iter().flat_map(|other| other.iter()) {
            left.remove(hasher, member);
        }
        first.iter().filter(|member| left.contains(hasher, *member)).for_each(visit);
        return;
    }
    // A member is likeliest to be in the largest.
    others.sort_by_key(|other| std::cmp::Reverse(other.len()));
    let is_alone = |member: &Member<'_>| !others.iter().any(|set| set.contains(hasher, *member));
    first.iter().filter(is_alone).for_each(visit);
}

/// Visits the members that all of the sets hold, looked for from the smallest set on, until `visit` breaks.
fn each_shared<'a>(
    sets: &[Option<&'a Set>],
    hasher: &Hasher,
    visit: &mut dyn FnMut(Member<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let present: Option<Vec<&Set>> = sets.iter().copied().collect();
    let Some(mut present) = present else { return ControlFlow::Continue(()) };
    present.sort_by_key(|set| set.len());
    let Some((smallest, others)) = present.split_first() else { return ControlFlow::Continue(()) };
    for member in smallest.iter() {
        if others.iter().all(|other| other.contains(hasher, member)) {
            visit(member)?;
        }
    }
    ControlFlow::Continue(())
}
