//! Commands that need every shard but no atomicity: DBSIZE, FLUSHALL, FLUSHDB, KEYS, RANDOMKEY, SCAN, SWAPDB, SCRIPT,
//! FUNCTION.
//!
//! Owns: asking the shards, and making one reply of theirs. Never: walks over keys (see `store`); each
//! shard answers the command as if it were alone.
//!
//! SCAN goes through the shards in slot order. A cursor names its slot, so it says which shard is next,
//! and stays valid when shards move between nodes. A shard that is at its end answers cursor 0, which
//! becomes the beginning of the next shard.
//!
//! A FLUSHALL that succeeded on some shards only is answered UNCERTAIN: it is not true that nothing
//! happened. FUNCTION LOAD and its kin go to the node itself, which keeps one order for all shards (`node/libraries.rs`). SWAPDB exchanges the databases of each shard at one moment, but not those of all shards at the same.

use keystead_node::{Access, Door, Outcome, Refusal, UnknownReason, internal};
use keystead_resp::{Args, ReplyWriter, encode, skip_reply};
use keystead_store::ScanCursor;
use keystead_store::command::{Command, GatherCommand, Joining, Query};
use keystead_types::{SLOT_COUNT, ShardId, Slot};

use crate::dispatch::{Dispatch, Verdict, note_failed};
use crate::pipeline::Turn;
use crate::purpose::Purpose;
use crate::reply::{Failure, PartCause};
use crate::window::{Entry, Window};

/// A command under way on several shards.
#[derive(Debug)]
pub(crate) struct Gather {
    kind: GatherCommand,
    /// Replies of the shards that answered at once.
    local: Vec<Vec<u8>>,
    /// For SCAN: the shard that is walked through, and the slot its cursor stands in.
    scanned: Option<(ShardId, Slot)>,
}

/// What a shard answers to SCAN at its end: cursor 0, before the last keys.
const LAST_PAGE: &[u8] = b"*2\r\n$1\r\n0\r\n";

/// One shard's part.
#[derive(Clone, Debug)]
enum Part<'a> {
    Done(&'a [u8]),
    Refused(ShardId, Refusal),
    Unknown(ShardId, UnknownReason),
}

/// Asks the shards, and answers if all of them answered at once.
pub(crate) fn begin(
    dispatch: &mut Dispatch<'_, '_>,
    (kind, row): (GatherCommand, &'static Command),
    args: Args<'_>,
) -> Verdict {
    let shards = dispatch.turn.door.shards();
    if shards.is_empty() {
        return dispatch.fail(&Failure::NoTopology);
    }
    if kind.changes_libraries() && shards.len() > 1 {
        let mut run = Vec::new();
        encode::command(&mut run, [internal::LIBRARIES]);
        run.extend_from_slice(args.wire());
        return dispatch.submit_single(ShardId::META, Access::Write, &run);
    }
    let mut gather = Gather { kind, local: Vec::new(), scanned: None };
    let asked = match kind {
        GatherCommand::Scan => match place_of_cursor(dispatch, args) {
            Ok((shard, slot)) => {
                gather.scanned = Some((shard, slot));
                vec![shard]
            }
            Err(failure) => return dispatch.fail(&failure),
        },
        GatherCommand::RandomKey => {
            // Begins anywhere, so that the keys of every shard have their chance.
            let start = dispatch.turn.local.next_random() % shards.len() as u64;
            let start = usize::try_from(start).expect("below the number of shards");
            shards[start..].iter().chain(&shards[..start]).copied().collect()
        }
        kind if kind.asks_one() => vec![shards[0]],
        _ => shards.to_vec(),
    };
    let access = if kind.is_write() { Access::Write } else { Access::Read };
    let mut window = dispatch.turn.local.take_window();
    for shard in asked {
        let mut part = Vec::new();
        let mut writer = ReplyWriter::new(&mut part, dispatch.session.protocol());
        let query = Query { database: dispatch.session.database(), row, args, key: None };
        if access == Access::Read
            && dispatch.turn.door.try_read(shard, &query, &mut writer).is_some()
        {
            gather.local.push(part);
        } else {
            let (wire, input_start) = (args.wire(), dispatch.input_start);
            let row = dispatch.row;
            window.push_single(Entry { row, shard, access, wire, input_start, is_silent: false });
        }
    }
    if window.is_empty() {
        dispatch.turn.local.give_window(window);
        let mut answer = Vec::new();
        let mut reply = ReplyWriter::new(&mut answer, dispatch.session.protocol());
        gather.write_local(&*dispatch.turn.door, &mut reply);
        if answer.first() == Some(&b'-') {
            note_failed(&dispatch.turn.local.stats, dispatch.row, &answer);
        }
        return dispatch.answer(|reply| reply.raw(&answer));
    }
    *dispatch.window = Some(window);
    *dispatch.purpose = Purpose::Gather(Box::new(gather));
    Verdict::Submit
}

/// The shard and slot that a cursor leads to.
fn place_of_cursor(
    dispatch: &Dispatch<'_, '_>,
    args: Args<'_>,
) -> Result<(ShardId, Slot), Failure<'static>> {
    let text = args.get(1).and_then(|text| std::str::from_utf8(text).ok());
    let cursor: u64 = text.and_then(|text| text.parse().ok()).ok_or(Failure::InvalidCursor)?;
    // A number that never was a cursor finds nothing and ends the walk, as in Redis.
    let slot = ScanCursor(cursor).slot().or(Slot::new(SLOT_COUNT - 1));
    let place = slot.and_then(|slot| Some((dispatch.turn.door.shard_of(slot)?, slot)));
    place.ok_or(Failure::NoTopology)
}

/// The cursor at the beginning of the shard that follows `shard`; 0 behind the last.
///
/// Looks slot by slot, as cursors are compared with the slot map alone; once per shard of a walk.
fn cursor_behind(door: &dyn Door, shard: ShardId, from: Slot) -> u64 {
    let mut later = (from.number()..SLOT_COUNT).filter_map(Slot::new);
    let next = later.find(|slot| door.shard_of(*slot) != Some(shard));
    next.map_or(0, |slot| ScanCursor::start_of(slot).0)
}

impl Gather {
    /// Makes one reply of those of the shards.
    pub(crate) fn finish(&self, window: &Window, turn: &Turn<'_>, reply: &mut ReplyWriter<'_>) {
        let local = self.local.iter().map(|part| Part::Done(part));
        let remote = window.results().map(|(shard, outcome)| match outcome {
            Outcome::Done(replies) => Part::Done(replies),
            Outcome::Refused(refusal) => Part::Refused(shard, refusal),
            Outcome::Unknown(reason) => Part::Unknown(shard, reason),
        });
        let parts: Vec<Part<'_>> = local.chain(remote).collect();
        self.write(&*turn.door, &parts, reply);
    }

    fn write_local(&self, door: &dyn Door, reply: &mut ReplyWriter<'_>) {
        let parts: Vec<Part<'_>> = self.local.iter().map(|part| Part::Done(part)).collect();
        self.write(door, &parts, reply);
    }

    fn write(&self, door: &dyn Door, parts: &[Part<'_>], reply: &mut ReplyWriter<'_>) {
        if let Some(failure) = self.failure(parts) {
            return reply.error(&failure);
        }
        let parts = parts.iter().filter_map(|part| match part {
            Part::Done(bytes) => Some(*bytes),
            Part::Refused(..) | Part::Unknown(..) => None,
        });
        // All shards refuse the same arguments alike; one of the refusals is the reply.
        if let Some(error) = parts.clone().find(|part| part.first() == Some(&b'-')) {
            return reply.raw(error);
        }
        match self.kind.joining() {
            Joining::Sum => {
                reply.integer(parts.filter_map(|part| number(part, b':')).map(|(n, _)| n).sum());
            }
            Joining::Conjunction => write_conjunction(parts, reply),
            Joining::Alike => {
                if let Some(part) = parts.clone().next() {
                    reply.raw(part);
                }
            }
            Joining::Concatenation => write_concatenated(parts, reply),
            Joining::AnyOne => {
                let found =
                    parts.clone().find(|part| !matches!(part, [b'$', b'-', ..] | [b'_', ..]));
                match found {
                    Some(part) => reply.raw(part),
                    None => reply.null(),
                }
            }
            Joining::Page => parts.for_each(|part| self.write_scan(door, part, reply)),
        }
    }

    /// What is wrong if a part is missing.
    fn failure<'p>(&self, parts: &'p [Part<'_>]) -> Option<Failure<'p>> {
        let missing = parts.iter().find(|part| !matches!(part, Part::Done(_)))?;
        let is_partly =
            self.kind.is_write() && parts.iter().any(|part| !matches!(part, Part::Refused(..)));
        Some(match missing {
            Part::Refused(shard, refusal) if is_partly => {
                Failure::Partly { shard: *shard, cause: PartCause::Refused(refusal) }
            }
            Part::Unknown(shard, reason) if is_partly => {
                Failure::Partly { shard: *shard, cause: PartCause::Unknown(*reason) }
            }
            Part::Refused(_, refusal) => Failure::Refused(refusal),
            Part::Unknown(_, reason) => Failure::ReadLost(*reason),
            Part::Done(_) => return None,
        })
    }

    /// Passes a shard's page on, with the cursor that leads to the next shard if this one is done.
    fn write_scan(&self, door: &dyn Door, part: &[u8], reply: &mut ReplyWriter<'_>) {
        let keys = part.strip_prefix(LAST_PAGE);
        let (Some(keys), Some((shard, slot))) = (keys, self.scanned) else {
            reply.raw(part);
            return;
        };
        reply.array(2);
        reply.bulk(cursor_behind(door, shard, slot).to_string().as_bytes());
        reply.raw(keys);
    }
}

/// One array of the elements of several.
fn write_concatenated<'p>(
    parts: impl Iterator<Item = &'p [u8]> + Clone,
    reply: &mut ReplyWriter<'_>,
) {
    let bodies = parts.filter_map(|part| {
        let (count, header) = number(part, b'*')?;
        let length = skip_reply(part).ok().flatten()?;
        Some((usize::try_from(count).ok()?, &part[header..length]))
    });
    reply.array(bodies.clone().map(|(count, _)| count).sum());
    bodies.for_each(|(_, body)| reply.raw(body));
}

/// One array of the integers of several: 1 where all of them have 1.
fn write_conjunction<'p>(
    parts: impl Iterator<Item = &'p [u8]> + Clone,
    reply: &mut ReplyWriter<'_>,
) {
    let rows: Vec<Vec<i64>> = parts
        .filter_map(|part| {
            let (_, header) = number(part, b'*')?;
            let lines = part[header..].split_inclusive(|&byte| byte == b'\n');
            lines.map(|line| Some(number(line, b':')?.0)).collect()
        })
        .collect();
    let count = rows.first().map_or(0, Vec::len);
    reply.array(count);
    for at in 0..count {
        reply.integer(i64::from(rows.iter().all(|row| row.get(at) == Some(&1))));
    }
}

/// The number on the first line of a reply of this kind, and the length of that line.
fn number(reply: &[u8], kind: u8) -> Option<(i64, usize)> {
    let line = reply.strip_prefix(&[kind])?;
    let end = line.iter().position(|&byte| byte == b'\r')?;
    let value = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((value, end + 3))
}
