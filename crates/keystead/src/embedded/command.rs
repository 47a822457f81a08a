//! Any command on keys, by its words.
//!
//! Owns: where a command of the table goes, and one reply out of those of all shards. Never: what a
//! command does (see `store`); commands of connections.

use std::hash::{BuildHasher, RandomState};

use keystead_node::{Access, internal};
use keystead_resp::{Args, RunDecoder, Span, Value, encode};
use keystead_store::command::{self, Command, GatherCommand, Handler, Joining, Query};
use keystead_store::{CommandError, ScanCursor};
use keystead_types::{DatabaseId, SLOT_COUNT, ShardId, Slot};

use super::exchange::{Laid, Place};
use super::{Keystead, reply};
use crate::error::Error;

impl Keystead {
    /// See [`Keystead::command`].
    pub(super) async fn command_of(&self, words: &[&[u8]]) -> Result<Value, Error> {
        if words.is_empty() {
            return Err(Error::EmptyCommand);
        }
        let mut bytes = Vec::new();
        encode::command(&mut bytes, words.iter().copied());
        let mut spans = Vec::new();
        let args = args_of(&bytes, &mut spans);
        let row = command::resolve(args)
            .map_err(|refused| Error::Reply { message: refused.to_string() })?;
        if let Some(bounded) = command::database::bounded(row, args, self.inner.host().databases())
        {
            let mut spans = Vec::new();
            let args = args_of(&bounded, &mut spans);
            return self.command_of_row(row, args, &args.iter().collect::<Vec<_>>()).await;
        }
        self.command_of_row(row, args, words).await
    }

    async fn command_of_row(
        &self,
        row: &'static Command,
        args: Args<'_>,
        words: &[&[u8]],
    ) -> Result<Value, Error> {
        let access = if row.is_read_only() { Access::Read } else { Access::Write };
        match row.handler {
            Handler::Refused(why) => {
                let refused = CommandError::Refused { command: row.name, why };
                Err(Error::Reply { message: refused.to_string() })
            }
            Handler::Session(_) => Err(Error::NeedsConnection { command: row.name }),
            Handler::Gather(GatherCommand::Scan) => self.scan_step(words).await,
            Handler::Gather(kind) => self.gather(kind, words).await,
            Handler::Read(_) | Handler::Write(_) | Handler::Wait(_) => {
                let place = self.place_of(row, args)?;
                reply::value(&self.run(place, access, words).await?)
            }
        }
    }

    /// The shard of all the command's keys; the first one if it has none.
    fn place_of(&self, row: &'static Command, args: Args<'_>) -> Result<Place, Error> {
        let mut slots = row.keys(args).map(Slot::of_key);
        let Some(first) = slots.next() else {
            let shards = self.exchange().with_door(|door| door.shards());
            return shards.first().map(|shard| Place::Shard(*shard)).ok_or(Error::NoTopology);
        };
        let others: Vec<Slot> = slots.filter(|slot| *slot != first).collect();
        let is_one_shard = others.is_empty()
            || self.exchange().with_door(|door| {
                let shard = door.shard_of(first);
                others.iter().all(|slot| door.shard_of(*slot) == shard)
            });
        if !is_one_shard {
            return Err(Error::CrossShard { command: row.name });
        }
        Ok(Place::Slot(first))
    }

    /// One step of SCAN by the words of a client; a shard's end leads to the next shard.
    async fn scan_step(&self, words: &[&[u8]]) -> Result<Value, Error> {
        let cursor = words.get(1).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        // A number that never was a cursor finds nothing and ends the walk; one that is no number is
        // refused by the store.
        let slot = ScanCursor(cursor.unwrap_or(0)).slot().or(Slot::new(SLOT_COUNT - 1));
        let (shard, next) = self.exchange().with_door(|door| {
            let shard = slot.and_then(|slot| door.shard_of(slot));
            let cluster = door.cluster();
            let mut later = cluster.shards.iter().skip_while(|view| Some(view.id) != shard).skip(1);
            let next = later.next().and_then(|view| Slot::new(view.slot_first));
            (shard, next.map_or(0, |slot| ScanCursor::start_of(slot).0))
        });
        let shard = shard.ok_or(Error::NoTopology)?;
        let mut page = reply::value(&self.run(Place::Shard(shard), Access::Read, words).await?)?;
        if let Value::Array(parts) = &mut page
            && let Some(cursor) = parts.first_mut()
            && cursor.as_bytes() == Some(b"0")
        {
            *cursor = Value::Bulk(next.to_string().into_bytes());
        }
        Ok(page)
    }

    /// Asks every shard, all at once, and makes one reply of theirs.
    async fn gather(&self, kind: GatherCommand, words: &[&[u8]]) -> Result<Value, Error> {
        let shards = self.exchange().with_door(|door| door.shards());
        if shards.is_empty() {
            return Err(Error::NoTopology);
        }
        let access = if kind.is_write() { Access::Write } else { Access::Read };
        if kind.changes_libraries() && shards.len() > 1 {
            let mut bytes = Vec::new();
            encode::command(&mut bytes, [internal::LIBRARIES]);
            encode::command(&mut bytes, words.iter().copied());
            let place = (self.database, Place::Shard(ShardId::META));
            return reply::value(&self.exchange().submit(place, access, bytes)?.leave().await?);
        }
        let mut asked: Vec<(ShardId, Result<Laid<'_>, Error>)> = Vec::new();
        for &shard in &*shards {
            let mut bytes = Vec::new();
            encode::command(&mut bytes, words.iter().copied());
            let place = (self.database, Place::Shard(shard));
            asked.push((shard, self.exchange().submit(place, access, bytes)));
        }
        let mut values = Vec::new();
        let mut failed = None;
        for (shard, laid) in asked {
            let ending = match laid {
                Ok(laid) => laid.leave().await,
                Err(error) => Err(error),
            };
            match ending.and_then(|reply| reply::value(&reply)) {
                Ok(value) => values.push(value),
                Err(error) => failed = failed.or(Some((shard, error))),
            }
        }
        match failed {
            // Some shards were flushed: it is not true that nothing happened.
            Some((shard, source)) if kind.is_write() && !values.is_empty() => {
                Err(Error::Partly { shard, source: Box::new(source) })
            }
            Some((_, error)) => Err(error),
            None => Ok(joined(kind, values)),
        }
    }
}

/// One reply out of those of all shards.
fn joined(kind: GatherCommand, values: Vec<Value>) -> Value {
    match kind.joining() {
        Joining::Sum => Value::Integer(values.iter().filter_map(Value::as_integer).sum::<i64>()),
        Joining::Concatenation => Value::Array(values.into_iter().flat_map(elements).collect()),
        Joining::AnyOne => {
            let mut values: Vec<Value> = values.into_iter().filter(|v| !v.is_null()).collect();
            let at = chance().checked_rem(values.len()).unwrap_or(0);
            if values.is_empty() { Value::Null } else { values.swap_remove(at) }
        }
        Joining::Conjunction => {
            let rows: Vec<Vec<Value>> = values.into_iter().map(elements).collect();
            let count = rows.first().map_or(0, Vec::len);
            let is_everywhere = |at| rows.iter().all(|row| row.get(at) == Some(&Value::Integer(1)));
            Value::Array((0..count).map(|at| Value::Integer(is_everywhere(at).into())).collect())
        }
        // One shard alone answers SCAN, and `scan_step` has done so.
        Joining::Alike | Joining::Page => values.into_iter().next().unwrap_or(Value::Null),
    }
}

/// A number without a pattern: which shard's key is told need not be repeatable.
#[expect(clippy::cast_possible_truncation, reason = "any bits of the number will do")]
fn chance() -> usize {
    RandomState::new().hash_one(()) as usize
}

fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(elements) => elements,
        other => panic!("such a command answers an array, not {other:?}"),
    }
}

/// A command of the table that only reads, ready for the store.
pub(super) fn query_of(database: DatabaseId, args: Args<'_>) -> Option<Query<'_>> {
    command::resolve(args).ok().map(|row| Query { database, row, args, key: None })
}

/// The arguments of a command that this crate encoded.
pub(super) fn args_of<'a>(bytes: &'a [u8], spans: &'a mut Vec<Span>) -> Args<'a> {
    let args = RunDecoder::new(bytes).next(spans);
    args.ok().flatten().expect("encode::command writes what the decoder reads")
}
