//! DUMP: a value as bytes that RESTORE takes.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use super::payload::{
    TYPE_HASH, TYPE_HASH_FIELD_EXPIRY, TYPE_LIST, TYPE_SET, TYPE_SET_INTSET, TYPE_SORTED_SET,
    TYPE_STRING, VERSION, VERSION_FIELD_EXPIRY, json, list, put_len, put_string, seal, stream,
};
use crate::command::Reader;
use crate::entry::{Entry, Value};
use crate::error::CommandError;
use crate::value::hash::Hash;
use crate::value::set::Set;
use crate::value::sorted_set::{Direction, SortedSet};
use crate::value::{Collection, Kind};

pub(crate) fn dump(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let Some(entry) = reader.entry(&args[1]) else {
        reply.null();
        return Ok(());
    };
    let (mut out, version) = value(reader, entry);
    seal(&mut out, version);
    reply.bulk(&out);
    Ok(())
}

/// The value's type and its bytes, and the version of the format that has them.
pub(super) fn value(reader: &Reader<'_>, entry: &Entry) -> (Vec<u8>, u16) {
    let mut out = Vec::new();
    let mut version = VERSION;
    match entry.value() {
        Value::String(bytes) => {
            out.push(TYPE_STRING);
            put_string(&mut out, bytes);
        }
        Value::Collection(Collection::SortedSet(set)) => put_sorted_set(&mut out, set),
        Value::Collection(Collection::Hash(hash)) => {
            version = put_hash(&mut out, hash, reader.now);
        }
        Value::Collection(Collection::List(held)) => {
            out.push(TYPE_LIST);
            list::put(&mut out, held);
        }
        Value::Collection(Collection::Set(set)) => put_set(&mut out, set),
        Value::Collection(Collection::Stream(held)) => {
            out.push(stream::TYPE_STREAM_2);
            stream::put(&mut out, held);
        }
        Value::Collection(Collection::Json(held)) => {
            out.push(json::TYPE_MODULE_2);
            json::put(&mut out, held);
        }
    }
    (out, version)
}

/// Appends the set, as an intset if it is one.
fn put_set(out: &mut Vec<u8>, set: &Set) {
    if let Some(intset) = set.to_intset() {
        out.push(TYPE_SET_INTSET);
        put_string(out, &intset);
        return;
    }
    out.push(TYPE_SET);
    put_len(out, set.len() as u64);
    for member in set.iter() {
        member.with_bytes(|member| put_string(out, member));
    }
}

/// Appends the hash as it is visible at `now`; returns the version that knows such hashes.
fn put_hash(out: &mut Vec<u8>, hash: &Hash, now: UnixMillis) -> u16 {
    let earliest = hash.next_expiry();
    if let Some(earliest) = earliest {
        out.push(TYPE_HASH_FIELD_EXPIRY);
        out.extend_from_slice(&earliest.0.to_le_bytes());
    } else {
        out.push(TYPE_HASH);
    }
    put_len(out, hash.live_len(now) as u64);
    for field in hash.iter().filter(|field| field.is_live(now)) {
        if let Some(earliest) = earliest {
            // Times are counted from the earliest, and from one: zero is never.
            put_len(out, field.expiry.map_or(0, |at| at.0 - earliest.0 + 1));
        }
        put_string(out, field.name);
        put_string(out, field.value);
    }
    if earliest.is_some() { VERSION_FIELD_EXPIRY } else { VERSION }
}

/// Appends the set, the greatest first, as Redis does: who reads it back inserts at the front.
fn put_sorted_set(out: &mut Vec<u8>, set: &SortedSet) {
    out.push(TYPE_SORTED_SET);
    put_len(out, set.len() as u64);
    for (name, score) in set.walk(0..set.len(), Direction::Down) {
        put_string(out, name);
        out.extend_from_slice(&score.to_le_bytes());
    }
}
