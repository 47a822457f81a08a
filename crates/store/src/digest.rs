//! One number for a whole store, to compare replicas.
//! Owns: what counts as state. Never: caches anything; a digest walks the whole store, O(keys).
//!
//! Two stores have the same digest if and only if (but for a chance of 2^-128) they hold the same
//! keys in the same databases with the same values, the same times to
//! expire, and the same watches, waiters, scripts and functions. How they got there
//! (order of inserts, capacities, packed or not) does not matter: parts are added up.

use std::fmt;

use keystead_resp::Protocol;
use keystead_types::{DatabaseId, Slot, UnixMillis};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

use crate::entry::{Entry, Value};
use crate::functions::put_library;
use crate::keyspace::Keyspace;
use crate::value::Collection;
use crate::waiters::{WaiterId, Waiters};
use crate::watch::KeyAtWatch;

/// The digest of a store's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Fixed, unlike the seed of the tables: digests of different clusters may be compared.
const SECRETS: [RapidSecrets; 2] =
    [RapidSecrets::seed(0x6b65_7973_7465_6164), RapidSecrets::seed(0x6469_6765_7374_0001)];

/// The digest of everything in `keyspace`.
pub(crate) fn of_keyspace(keyspace: &Keyspace) -> Digest {
    let mut scratch = Vec::new();
    let mut sum = 0u128;
    for (id, database) in keyspace.databases() {
        for (_, table) in database.slots.iter_from(Slot::default()) {
            for entry in table.iter() {
                sum = sum.wrapping_add(of_entry(id, entry, &mut scratch));
            }
        }
    }
    for (id, watch) in keyspace.watches.iter() {
        scratch.clear();
        scratch.push(b'W');
        scratch.extend_from_slice(&id.0.to_le_bytes());
        scratch.extend_from_slice(&watch.since.0.to_le_bytes());
        scratch.push(u8::from(watch.is_dirty));
        for (database, key, was) in watch.keys() {
            put_database(&mut scratch, database);
            put_bytes(&mut scratch, key);
            scratch.push(u8::from(was == KeyAtWatch::Expired));
        }
        sum = sum.wrapping_add(hash(&scratch));
    }
    for (place, (is_loaded, text)) in (0u64..).zip(keyspace.scripts.iter()) {
        scratch.clear();
        scratch.extend_from_slice(&[b'S', u8::from(is_loaded)]);
        scratch.extend_from_slice(&place.to_le_bytes());
        scratch.extend_from_slice(text);
        sum = sum.wrapping_add(hash(&scratch));
    }
    for (name, library) in keyspace.functions.iter() {
        scratch.clear();
        scratch.push(b'F');
        put_library(&mut scratch, name, library);
        sum = sum.wrapping_add(hash(&scratch));
    }
    for part in of_waiters(&keyspace.waiters) {
        sum = sum.wrapping_add(hash(&part));
    }
    if keyspace.functions.version() > 0 {
        let version = keyspace.functions.version().to_le_bytes();
        sum = sum.wrapping_add(hash(&[&b"V"[..], &version].concat()));
    }
    Digest(sum)
}

/// Everything about who waits, and what was answered of late.
fn of_waiters(waiters: &Waiters) -> impl Iterator<Item = Vec<u8>> {
    let id = |tag: u8, id: WaiterId| {
        let mut part = vec![tag];
        [id.home, id.life, id.number].iter().for_each(|n| part.extend_from_slice(&n.to_le_bytes()));
        part
    };
    let waiting = waiters.iter().map(move |(name, waiter)| {
        let mut part = id(b'Q', name);
        part.extend_from_slice(&waiter.arrival.to_le_bytes());
        part.extend_from_slice(&waiter.seen.0.to_le_bytes());
        part.extend_from_slice(&waiter.database.0.to_le_bytes());
        part.push(u8::from(waiter.is_suspended));
        part.push(u8::from(waiter.protocol == Protocol::Resp3));
        put_bytes(&mut part, &waiter.command);
        part
    });
    let answered = waiters.answers().enumerate().map(move |(place, answer)| {
        let mut part = id(b'A', answer.id);
        part.extend_from_slice(&(place as u64).to_le_bytes());
        part.extend_from_slice(&answer.at.0.to_le_bytes());
        put_bytes(&mut part, &answer.reply);
        part
    });
    let next = [b"N".as_slice(), &waiters.next_arrival().to_le_bytes()].concat();
    let next = (waiters.next_arrival() > 0).then_some(next);
    waiting.chain(answered).chain(next)
}

fn of_entry(database: DatabaseId, entry: &Entry, scratch: &mut Vec<u8>) -> u128 {
    let (code, content) = match entry.value() {
        Value::String(bytes) => (b'$', hash(bytes)),
        Value::Collection(collection) => (collection.code(), of_parts(collection, scratch)),
    };
    scratch.clear();
    put_database(scratch, database);
    scratch.push(code);
    put_expiry(scratch, entry.expiry());
    put_bytes(scratch, entry.key());
    scratch.extend_from_slice(&content.to_le_bytes());
    hash(scratch)
}

/// The sum over the parts, each with its place in front where that counts.
fn of_parts(collection: &Collection, scratch: &mut Vec<u8>) -> u128 {
    let (mut sum, mut place) = (0u128, 0u64);
    collection.each_part(&mut |part| {
        scratch.clear();
        if collection.is_ordered() {
            scratch.extend_from_slice(&place.to_le_bytes());
            place += 1;
        }
        scratch.extend_from_slice(part);
        sum = sum.wrapping_add(hash(scratch));
    });
    sum
}

/// The first database stands for itself: a store that uses no other has the digest that it had before there were any.
fn put_database(out: &mut Vec<u8>, database: DatabaseId) {
    if database != DatabaseId::FIRST {
        out.push(b'D');
        out.extend_from_slice(&database.0.to_le_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_expiry(out: &mut Vec<u8>, expiry: Option<UnixMillis>) {
    out.push(u8::from(expiry.is_some()));
    out.extend_from_slice(&expiry.unwrap_or_default().0.to_le_bytes());
}

fn hash(bytes: &[u8]) -> u128 {
    let [high, low] = SECRETS.each_ref().map(|secret| rapidhash_v3_seeded(bytes, secret));
    (u128::from(high) << 64) | u128::from(low)
}
