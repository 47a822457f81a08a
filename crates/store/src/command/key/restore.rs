//! RESTORE: a key from what DUMP gave, here or in a Redis up to 7.4.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use super::payload::ziplist::ziplist_strings;
use super::payload::{
    Reader, TYPE_HASH, TYPE_HASH_FIELD_EXPIRY, TYPE_HASH_LISTPACK, TYPE_HASH_ZIPLIST, TYPE_LIST,
    TYPE_LIST_QUICKLIST, TYPE_LIST_QUICKLIST_2, TYPE_LIST_ZIPLIST, TYPE_SET, TYPE_SET_INTSET,
    TYPE_SET_LISTPACK, TYPE_SORTED_SET, TYPE_SORTED_SET_LISTPACK, TYPE_SORTED_SET_TEXT,
    TYPE_SORTED_SET_ZIPLIST, TYPE_STRING, checked, json, list, listpack_strings, stream,
};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::error::CommandError;
use crate::number::float::parse_float;
use crate::number::parse_integer;
use crate::table::Hasher;
use crate::value::hash::{Field, Hash};
use crate::value::set::{INTS_MAX, Member, Set};
use crate::value::sorted_set::SortedSet;
use crate::value::{Collection, Kind};

#[derive(Default)]
struct Options {
    is_replacing: bool,
    is_absolute: bool,
}

pub(crate) fn restore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = parse(args.from(4))?;
    let (key, now) = (&args[1], writer.now());
    if !options.is_replacing && writer.entry(key).is_some() {
        return Err(CommandError::BusyKey);
    }
    let ttl = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
    let ttl = u64::try_from(ttl).map_err(|_| CommandError::RestoreTtl)?;
    let expiry = match ttl {
        0 => None,
        ttl if options.is_absolute => Some(UnixMillis(ttl)),
        ttl => Some(UnixMillis(now.0.saturating_add(ttl))),
    };
    let payload = checked(&args[3]).ok_or(CommandError::RestoreChecksum)?;
    let entry = decode(&writer.keyspace.hasher, key, payload, now);
    let mut entry = entry.ok_or(CommandError::RestoreFormat)?;
    if expiry.is_some_and(|at| at <= now) || entry.as_collection().is_some_and(Collection::is_empty)
    {
        if writer.keyspace.take(now, key).is_some() {
            writer.notify(EventClass::Generic, "del", key);
        }
    } else {
        entry.set_expiry(expiry);
        writer.keyspace.insert(entry);
        writer.notify(EventClass::Generic, "restore", key);
    }
    reply.ok();
    Ok(())
}

fn parse(args: Args<'_>) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let (mut has_idle_time, mut has_frequency) = (false, false);
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        // Times and frequencies of use are not tracked; they are checked and dropped.
        let mut number = || {
            let text = rest.next().ok_or(CommandError::Syntax)?;
            parse_integer(text).ok_or(CommandError::NotAnInteger)
        };
        if is(b"REPLACE") {
            options.is_replacing = true;
        } else if is(b"ABSTTL") {
            options.is_absolute = true;
        } else if is(b"IDLETIME") && !has_frequency {
            has_idle_time = true;
            if number()? < 0 {
                return Err(CommandError::RestoreIdleTime);
            }
        } else if is(b"FREQ") && !has_idle_time {
            has_frequency = true;
            if !(0..=255).contains(&number()?) {
                return Err(CommandError::RestoreFrequency);
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

fn decode(hasher: &Hasher, key: &[u8], payload: &[u8], now: UnixMillis) -> Option<Entry> {
    let mut input = Reader(payload);
    let kind = input.byte()?;
    let entry = match kind {
        TYPE_STRING => Entry::string(key, &input.string()?, None),
        TYPE_HASH | TYPE_HASH_FIELD_EXPIRY => {
            let earliest = match kind {
                TYPE_HASH => None,
                _ => Some(u64::from_le_bytes(input.array()?)),
            };
            let mut hash = Hash::new();
            for _ in 0..input.len()? {
                let after = if earliest.is_some() { input.len()? } else { 0 };
                let at = earliest.unwrap_or(0).checked_add(after.saturating_sub(1))?;
                let expiry = (after > 0).then_some(UnixMillis(at));
                let (name, value) = (input.string()?, input.string()?);
                let field = Field { name: &name, value: &value, expiry };
                if field.is_live(now) && !hash.set(hasher, field) {
                    return None;
                }
            }
            Entry::collection(key, hash, None)
        }
        TYPE_HASH_LISTPACK | TYPE_HASH_ZIPLIST => {
            Entry::collection(key, packed_hash(hasher, &packed_pairs(kind, &mut input)?)?, None)
        }
        TYPE_LIST | TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST | TYPE_LIST_QUICKLIST_2 => {
            Entry::collection(key, list::read(&mut input, kind)?, None)
        }
        TYPE_SET | TYPE_SET_INTSET | TYPE_SET_LISTPACK => set(hasher, key, kind, &mut input)?,
        TYPE_SORTED_SET_TEXT | TYPE_SORTED_SET => {
            let mut set = SortedSet::new();
            for _ in 0..input.len()? {
                let name = input.string()?;
                let score = match kind {
                    TYPE_SORTED_SET => f64::from_le_bytes(input.array()?),
                    _ => score_in_text(&mut input)?,
                };
                add_member(&mut set, hasher, &name, score)?;
            }
            sorted_set_entry(key, set)?
        }
        TYPE_SORTED_SET_LISTPACK | TYPE_SORTED_SET_ZIPLIST => {
            let mut set = SortedSet::new();
            for [name, score] in packed_pairs(kind, &mut input)? {
                add_member(&mut set, hasher, &name, parse_float(&score)?)?;
            }
            sorted_set_entry(key, set)?
        }
        stream::TYPE_STREAM | stream::TYPE_STREAM_2 | stream::TYPE_STREAM_3 => {
            Entry::collection(key, stream::read(&mut input, kind)?, None)
        }
        json::TYPE_MODULE_2 => Entry::collection(key, json::read(hasher, &mut input)?, None),
        _ => return None,
    };
    input.0.is_empty().then_some(entry)
}

/// The strings of a listpack or, in payloads of older servers, of a ziplist, in pairs.
fn packed_pairs(kind: u8, input: &mut Reader<'_>) -> Option<Vec<[Vec<u8>; 2]>> {
    let bytes = input.string()?;
    let strings = match kind {
        TYPE_HASH_ZIPLIST | TYPE_SORTED_SET_ZIPLIST => ziplist_strings(&bytes)?,
        _ => listpack_strings(&bytes)?,
    };
    let mut strings = strings.into_iter();
    let mut pairs = Vec::with_capacity(strings.len() / 2);
    while let Some(first) = strings.next() {
        pairs.push([first, strings.next()?]);
    }
    Some(pairs)
}

/// The hash of these fields and values: not empty, and without a field that stands there twice.
fn packed_hash(hasher: &Hasher, pairs: &[[Vec<u8>; 2]]) -> Option<Hash> {
    let mut hash = Hash::new();
    for [name, value] in pairs {
        if !hash.set(hasher, Field { name, value, expiry: None }) {
            return None;
        }
    }
    (!hash.is_empty()).then_some(hash)
}

/// Puts in a member that may be neither there already nor without a place in the order.
fn add_member(set: &mut SortedSet, hasher: &Hasher, name: &[u8], score: f64) -> Option<()> {
    (!score.is_nan() && set.set(hasher, name, score)).then_some(())
}

fn sorted_set_entry(key: &[u8], set: SortedSet) -> Option<Entry> {
    (!set.is_empty()).then(|| Entry::collection(key, set, None))
}

/// A score as Redis wrote it before 4.0: its length and digits, or a byte for what has no digits.
fn score_in_text(input: &mut Reader<'_>) -> Option<f64> {
    match input.byte()? {
        253 => None,
        254 => Some(f64::INFINITY),
        255 => Some(f64::NEG_INFINITY),
        len => parse_float(input.take(usize::from(len))?),
    }
}

/// The set that follows: not empty, and without a member that stands there twice.
fn set(hasher: &Hasher, key: &[u8], kind: u8, input: &mut Reader<'_>) -> Option<Entry> {
    let set = match kind {
        TYPE_SET_INTSET => Set::from_intset(hasher, &input.string()?)?,
        TYPE_SET_LISTPACK => {
            let members = listpack_strings(&input.string()?)?;
            set_of(hasher, members.len() as u64, members.into_iter().map(Some))?
        }
        _ => {
            let count = input.len()?;
            set_of(hasher, count, (0..count).map(|_| input.string()))?
        }
    };
    (!set.is_empty()).then(|| Entry::collection(key, set, None))
}

fn set_of(
    hasher: &Hasher,
    count: u64,
    members: impl Iterator<Item = Option<Vec<u8>>>,
) -> Option<Set> {
    let mut set = Set::new();
    // Redis makes a large set a table at once.
    if count > INTS_MAX as u64 {
        set.make_table(hasher);
    }
    for member in members {
        if !set.add(hasher, Member::Bytes(&member?)) {
            return None;
        }
    }
    Some(set)
}
