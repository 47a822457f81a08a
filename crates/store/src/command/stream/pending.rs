//! XPENDING: what was delivered and is not acknowledged.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{
    elapsed, millis, no_group, parse_count, parse_end, parse_number, parse_start, reply_id,
};
use crate::command::Reader;
use crate::error::CommandError;
use crate::value::stream::{Group, Pending, Stream, StreamId};

/// The form with an interval.
struct Interval<'a> {
    start: StreamId,
    end: StreamId,
    count: usize,
    idle_min: i64,
    consumer: Option<&'a [u8]>,
}

pub(crate) fn xpending(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let interval = match args.len() {
        3 => None,
        6..=9 => Some(parse(args)?),
        _ => return Err(CommandError::Syntax),
    };
    let stream = reader.kind::<Stream>(&args[1])?;
    let group = stream.and_then(|stream| stream.groups().get(&args[2]));
    let group = group.ok_or_else(|| no_group(&args[1], &args[2], ""))?;
    match interval {
        None => reply_summary(group, reply),
        Some(interval) => reply_interval(group, &interval, millis(reader.now), reply),
    }
    Ok(())
}

fn parse(args: Args<'_>) -> Result<Interval<'_>, CommandError> {
    let (mut at, mut idle_min) = (3, 0);
    if args[3].eq_ignore_ascii_case(b"IDLE") {
        idle_min = parse_number(&args[4])?;
        if args.len() < 8 {
            return Err(CommandError::Syntax);
        }
        at = 5;
    }
    let count = parse_count(&args[at + 2])?;
    let start = parse_start(&args[at])?;
    let end = parse_end(&args[at + 1])?;
    Ok(Interval { start, end, count, idle_min, consumer: args.get(at + 3) })
}

fn reply_summary(group: &Group, reply: &mut ReplyWriter<'_>) {
    let pending = group.pending();
    reply.array(4);
    reply.integer(pending.len() as i64);
    let ends = pending.first_key_value().zip(pending.last_key_value());
    let Some(((first, _), (last, _))) = ends else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, *first);
    reply_id(reply, *last);
    let busy = || group.consumers().iter().filter(|(_, consumer)| consumer.pending_count() > 0);
    reply.array(busy().count());
    for (name, consumer) in busy() {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_integer(consumer.pending_count() as i64);
    }
}

fn reply_interval(group: &Group, interval: &Interval<'_>, now: i64, reply: &mut ReplyWriter<'_>) {
    let pending = group.pending();
    let is_wanted = |record: &Pending| {
        interval.idle_min == 0 || now.saturating_sub(record.delivered_at) >= interval.idle_min
    };
    let found: Vec<(StreamId, &Pending)> = match interval.consumer {
        None => pending
            .range(interval.start..)
            .map(|(id, record)| (*id, record))
            .take_while(|(id, _)| *id <= interval.end)
            .filter(|(_, record)| is_wanted(record))
            .take(interval.count)
            .collect(),
        Some(name) => group
            .consumer(name)
            .into_iter()
            .flat_map(|consumer| consumer.pending_from(interval.start))
            .take_while(|id| *id <= interval.end)
            .filter_map(|id| pending.get(&id).map(|record| (id, record)))
            .filter(|(_, record)| is_wanted(record))
            .take(interval.count)
            .collect(),
    };
    reply.array(found.len());
    for (id, record) in found {
        reply.array(4);
        reply_id(reply, id);
        reply.bulk(&record.consumer);
        reply.integer(elapsed(now, record.delivered_at));
        reply.integer(record.deliveries.cast_signed());
    }
}
