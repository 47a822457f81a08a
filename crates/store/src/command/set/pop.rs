//! SPOP: removing members chosen at random, the same on every replica.

use keystead_resp::{Args, ReplyWriter};

use super::put;
use crate::chance::Chance;
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::Kind;
use crate::value::set::{Member, Set};

pub(crate) fn spop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = args.get(2).map(parse_count).transpose()?;
    let key = &args[1];
    let len = writer.kind::<Set>(key)?.map_or(0, Set::len);
    let mut chance = writer.chance(key, len);
    match count {
        None if len == 0 => reply.null(),
        Some(count) if count == 0 || len == 0 => reply.set(0),
        _ => {
            writer.edit(key, |set: &mut Set, hasher| {
                match count {
                    None => {
                        let popped = pop(set, hasher, &mut chance);
                        put(reply, Member::Bytes(&popped));
                    }
                    Some(count) => pop_many(set, hasher, &mut chance, (count, reply)),
                }
                (Change::Changed, ())
            })?;
            writer.notify_shrunk(EventClass::Set, "spop", key);
        }
    }
    Ok(())
}

fn parse_count(text: &[u8]) -> Result<usize, CommandError> {
    let count = parse_integer(text).ok_or(CommandError::NotPositive)?;
    usize::try_from(count).map_err(|_| CommandError::NotPositive)
}

/// Removes `count` members and answers them.
fn pop_many(
    set: &mut Set,
    hasher: &Hasher,
    chance: &mut Chance,
    (count, reply): (usize, &mut ReplyWriter<'_>),
) {
    /// If not even one in so many stays, those that stay are chosen instead, as Redis does; the set that they make is
    /// new, which shows in its encoding.
    const LEAVING_PER_STAYING: usize = 5;
    let staying = set.len().saturating_sub(count);
    reply.set(set.len() - staying);
    if staying * LEAVING_PER_STAYING > count {
        for _ in 0..count {
            let popped = pop(set, hasher, chance);
            put(reply, Member::Bytes(&popped));
        }
        return;
    }
    let mut kept = Set::new();
    for _ in 0..staying {
        let member = pop(set, hasher, chance);
        kept.add(hasher, Member::Bytes(&member));
    }
    set.iter().for_each(|member| put(reply, member));
    *set = kept;
}

/// Takes one member out of a set that is not empty.
fn pop(set: &mut Set, hasher: &Hasher, chance: &mut Chance) -> Vec<u8> {
    let chosen = set.choose(hasher, &mut || chance.next());
    let member = chosen.expect("the caller pops no more than the set holds").to_vec();
    set.remove(hasher, Member::Bytes(&member));
    member
}
