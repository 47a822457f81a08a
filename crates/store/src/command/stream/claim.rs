//! XCLAIM, XAUTOCLAIM: taking over what is pending for others.
//!
//! An entry that is no longer in the stream is dropped from what is pending on the way, as in Redis 7.0.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{
    millis, no_group, parse_id, parse_number_or, parse_start, reply_entries, reply_id,
};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::{Bytes, CommandError, WrongType};
use crate::keyspace::Change;
use crate::number::parse_integer;
use crate::value::stream::{Group, Stream, StreamEntry, StreamId};

/// Entries that XAUTOCLAIM looks at for each that it may return.
const LOOKS_PER_ENTRY: usize = 10;
/// Entries that XAUTOCLAIM returns unless COUNT says otherwise.
const COUNT_DEFAULT: usize = 100;
/// The highest COUNT of XAUTOCLAIM: Redis gathers as many ids of 16 bytes.
const COUNT_MAX: i64 = i64::MAX / 16;

/// What a claim does to an entry's record.
struct Claim<'a> {
    consumer: &'a [u8],
    idle_min: i64,
    delivered_at: i64,
    /// RETRYCOUNT.
    deliveries: Option<u64>,
    is_forced: bool,
    /// JUSTID: only ids are returned, and it counts as no delivery.
    is_only_ids: bool,
    now: i64,
}

/// What became of a pending entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claimed {
    /// It is the consumer's.
    Yes,
    /// It stays whose it is.
    No,
    /// Its entry is gone, and so is its record.
    Gone,
}

impl Claim<'_> {
    /// Claims one entry; `is_there` says whether the stream has it.
    fn apply(&self, group: &mut Group, id: StreamId, is_there: bool) -> Claimed {
        if !is_there {
            return if group.acknowledge(id) { Claimed::Gone } else { Claimed::No };
        }
        let record = group.pending().get(&id);
        let deliveries = match record {
            Some(record) => {
                let idle = self.now.wrapping_sub(record.delivered_at);
                if self.idle_min > 0 && idle < self.idle_min {
                    return Claimed::No;
                }
                record.deliveries
            }
            None if self.is_forced => 1,
            None => return Claimed::No,
        };
        let counted = deliveries.wrapping_add(u64::from(!self.is_only_ids));
        group.see(self.consumer, self.now);
        group.note_active(self.consumer, Some(self.now));
        group.assign(id, self.consumer, self.delivered_at, self.deliveries.unwrap_or(counted));
        Claimed::Yes
    }
}

pub(crate) fn xclaim(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    check_group(writer, args)?;
    let now = millis(writer.now());
    let was_known = knows_consumer(writer, args)?;
    let (claim, ids, last_id) = parse_claim(args, now)?;
    writer.edit(&args[1], |stream: &mut Stream, _| {
        let mut claimed = Vec::new();
        stream.edit_group(&args[2], |group| {
            group.last_id = group.last_id.max(last_id);
        });
        for id in ids {
            let is_there = stream.get(id).is_some();
            let outcome = stream.edit_group(&args[2], |group| claim.apply(group, id, is_there));
            if outcome == Some(Claimed::Yes) {
                claimed.push(id);
            }
        }
        reply_claimed(stream, &claimed, claim.is_only_ids, reply);
        (Change::Unchanged, ())
    })?;
    notify_if_new(writer, args, was_known)
}

pub(crate) fn xautoclaim(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    const IDLE: &str = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
    let now = millis(writer.now());
    let mut claim = Claim {
        consumer: &args[3],
        idle_min: parse_number_or(&args[4], IDLE)?.max(0),
        delivered_at: now,
        deliveries: None,
        is_forced: false,
        is_only_ids: false,
        now,
    };
    let start = parse_start(&args[5])?;
    let (count, is_only_ids) = parse_auto_options(args.from(6))?;
    claim.is_only_ids = is_only_ids;
    check_group(writer, args)?;
    let was_known = knows_consumer(writer, args)?;
    writer.edit(&args[1], |stream: &mut Stream, _| {
        let pending = stream.groups().get(&args[2]).map(Group::pending);
        let looks = count.saturating_mul(LOOKS_PER_ENTRY);
        let looked: Vec<StreamId> = pending
            .into_iter()
            .flat_map(|pending| pending.range(start..).map(|(id, _)| *id))
            // One more, for the cursor.
            .take(looks.saturating_add(1))
            .collect();
        let (mut claimed, mut gone, mut next) = (Vec::new(), Vec::new(), StreamId::MIN);
        for (at, id) in looked.into_iter().enumerate() {
            if at == looks || claimed.len() + gone.len() == count {
                next = id;
                break;
            }
            let is_there = stream.get(id).is_some();
            match stream.edit_group(&args[2], |group| claim.apply(group, id, is_there)) {
                Some(Claimed::Yes) => claimed.push(id),
                Some(Claimed::Gone) => gone.push(id),
                Some(Claimed::No) | None => {}
            }
        }
        reply.array(3);
        reply_id(reply, next);
        reply_claimed(stream, &claimed, claim.is_only_ids, reply);
        reply.array(gone.len());
        gone.iter().for_each(|id| reply_id(reply, *id));
        (Change::Unchanged, ())
    })?;
    notify_if_new(writer, args, was_known)
}

fn reply_claimed(
    stream: &Stream,
    ids: &[StreamId],
    is_only_ids: bool,
    reply: &mut ReplyWriter<'_>,
) {
    if is_only_ids {
        reply.array(ids.len());
        ids.iter().for_each(|id| reply_id(reply, *id));
    } else {
        let entries: Vec<StreamEntry<'_>> = ids.iter().filter_map(|id| stream.get(*id)).collect();
        reply_entries(reply, entries);
    }
}

fn check_group(writer: &Writer<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let stream = writer.kind::<Stream>(&args[1])?;
    let has_group = stream.is_some_and(|stream| stream.groups().contains_key(&args[2]));
    if has_group { Ok(()) } else { Err(no_group(&args[1], &args[2], "")) }
}

/// True if the group knows the consumer that arg 3 names.
fn knows_consumer(writer: &Writer<'_>, args: Args<'_>) -> Result<bool, WrongType> {
    let group = writer.kind::<Stream>(&args[1])?.and_then(|held| held.groups().get(&args[2]));
    Ok(group.is_some_and(|group| group.consumer(&args[3]).is_some()))
}

/// Tells that the consumer was added, if it was.
fn notify_if_new(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    was_known: bool,
) -> Result<(), CommandError> {
    if !was_known && knows_consumer(writer, args)? {
        writer.notify(EventClass::Stream, "xgroup-createconsumer", &args[1]);
    }
    Ok(())
}

/// The claim, the entries, and LASTID.
fn parse_claim(
    args: Args<'_>,
    now: i64,
) -> Result<(Claim<'_>, Vec<StreamId>, StreamId), CommandError> {
    const MIN_IDLE: &str = "ERR Invalid min-idle-time argument for XCLAIM";
    const IDLE: &str = "ERR Invalid IDLE option argument for XCLAIM";
    const TIME: &str = "ERR Invalid TIME option argument for XCLAIM";
    const RETRYCOUNT: &str = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
    let idle_min = parse_number_or(&args[4], MIN_IDLE)?.max(0);
    let ids: Vec<StreamId> =
        args.from(5).iter().map_while(|text| StreamId::parse(text, 0)).collect();
    let mut claim = Claim {
        consumer: args.get(3).unwrap_or_default(),
        idle_min,
        delivered_at: now,
        deliveries: None,
        is_forced: false,
        is_only_ids: false,
        now,
    };
    let mut last_id = StreamId::MIN;
    let mut rest = args.from(5 + ids.len());
    while let Some(option) = rest.get(0) {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        let value = rest.get(1);
        rest = rest.from(2.min(rest.len()));
        match value {
            Some(text) if is(b"IDLE") => {
                claim.delivered_at = now.wrapping_sub(parse_number_or(text, IDLE)?);
            }
            Some(text) if is(b"TIME") => claim.delivered_at = parse_number_or(text, TIME)?,
            Some(text) if is(b"RETRYCOUNT") => {
                claim.deliveries = u64::try_from(parse_number_or(text, RETRYCOUNT)?).ok();
            }
            Some(text) if is(b"LASTID") => last_id = parse_id(text)?,
            _ if is(b"FORCE") || is(b"JUSTID") => {
                claim.is_forced |= is(b"FORCE");
                claim.is_only_ids |= is(b"JUSTID");
                // They take no value.
                rest = args.from(args.len() - rest.len() - usize::from(value.is_some()));
            }
            _ => {
                let option = Bytes::whole(option);
                return Err(CommandError::UnrecognizedClaimOption { option });
            }
        }
    }
    // A time that cannot be is that of a client whose clock goes wrong, and counts as now.
    if !(0..=now).contains(&claim.delivered_at) {
        claim.delivered_at = now;
    }
    Ok((claim, ids, last_id))
}

/// COUNT, and whether JUSTID was given.
fn parse_auto_options(args: Args<'_>) -> Result<(usize, bool), CommandError> {
    const COUNT: &str = "ERR COUNT must be > 0";
    let (mut count, mut is_only_ids, mut rest) = (COUNT_DEFAULT, false, args.iter());
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"JUSTID") {
            is_only_ids = true;
        } else if let (true, Some(text)) = (option.eq_ignore_ascii_case(b"COUNT"), rest.next()) {
            let number = parse_integer(text).filter(|count| (1..=COUNT_MAX).contains(count));
            let number = number.and_then(|count| usize::try_from(count).ok());
            count = number.ok_or(CommandError::Text { text: COUNT })?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, is_only_ids))
}
