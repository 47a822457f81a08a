//! XINFO STREAM, GROUPS, CONSUMERS: what a stream, its groups and their consumers say of themselves.
//!
//! `inactive` and `active-time` of consumers are those of Redis 7.2.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{elapsed, millis, parse_number, reply_entries, reply_entry, reply_id};
use crate::command::Reader;
use crate::error::{Bytes, CommandError};
use crate::value::stream::{Consumer, Group, Progress, Stream, StreamEntry, StreamId};

/// Entries and records that FULL shows unless COUNT says otherwise.
const COUNT_DEFAULT: usize = 10;

pub(crate) fn consumers(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let stream = stream_of(reader, args)?;
    let group = stream.groups().get(&args[3]).ok_or_else(|| CommandError::NoGroup {
        group: Bytes::whole(&args[3]),
        key: Bytes::whole(&args[2]),
    })?;
    let now = millis(reader.now);
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(4);
        field(reply, "name").bulk(name);
        field(reply, "pending").integer(consumer.pending_count() as i64);
        field(reply, "idle").integer(elapsed(now, consumer.seen_at));
        let inactive = consumer.active_at.map_or(-1, |at| elapsed(now, at));
        field(reply, "inactive").integer(inactive);
    }
    Ok(())
}

pub(crate) fn groups(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let stream = stream_of(reader, args)?;
    let progress = Progress::of(stream);
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        field(reply, "name").bulk(name);
        field(reply, "consumers").integer(group.consumers().len() as i64);
        field(reply, "pending").integer(group.pending().len() as i64);
        reply_progress(group, &progress, reply);
    }
    Ok(())
}

pub(crate) fn stream(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let stream = stream_of(reader, args)?;
    let is = |at: usize, word: &str| {
        args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let count = match args.len() {
        3 => None,
        4 if is(3, "FULL") => Some(COUNT_DEFAULT),
        6 if is(3, "FULL") && is(4, "COUNT") => {
            let count = parse_number(&args[5])?;
            Some(usize::try_from(count).unwrap_or(COUNT_DEFAULT))
        }
        _ => {
            let name = Bytes::from(&args[1]);
            return Err(CommandError::SubcommandSyntax { container: "XINFO", name });
        }
    };
    let marks = stream.marks();
    reply.map(if count.is_some() { 9 } else { 10 });
    field(reply, "length").integer(stream.len().cast_signed());
    field(reply, "radix-tree-keys").integer(stream.block_count() as i64);
    field(reply, "radix-tree-nodes").integer(radix_nodes(stream) as i64);
    reply_id(field(reply, "last-generated-id"), marks.last_id);
    reply_id(field(reply, "max-deleted-entry-id"), marks.max_deleted);
    field(reply, "entries-added").integer(marks.entries_added.cast_signed());
    reply_id(field(reply, "recorded-first-entry-id"), stream.first_id());
    if let Some(count) = count {
        // Zero stands for all.
        let count = if count == 0 { usize::MAX } else { count };
        reply_entries(field(reply, "entries"), stream.from(StreamId::MIN).take(count));
        reply_groups_in_full(stream, count, reply);
        return Ok(());
    }
    field(reply, "groups").integer(stream.groups().len() as i64);
    let ends = [stream.from(StreamId::MIN).next(), stream.back_from(StreamId::MAX).next()];
    for (name, entry) in ["first-entry", "last-entry"].into_iter().zip(ends) {
        reply_end(field(reply, name), entry);
    }
    Ok(())
}

fn reply_end(reply: &mut ReplyWriter<'_>, entry: Option<StreamEntry<'_>>) {
    match entry {
        Some(entry) => reply_entry(reply, entry),
        None => reply.null(),
    }
}

fn reply_progress(group: &Group, progress: &Progress, reply: &mut ReplyWriter<'_>) {
    reply_id(field(reply, "last-delivered-id"), group.last_id);
    for (name, number) in [("entries-read", group.entries_read), ("lag", progress.lag(group))] {
        match number {
            Some(number) => field(reply, name).integer(number),
            None => field(reply, name).null(),
        }
    }
}

fn reply_groups_in_full(stream: &Stream, count: usize, reply: &mut ReplyWriter<'_>) {
    let progress = Progress::of(stream);
    field(reply, "groups").array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        field(reply, "name").bulk(name);
        reply_progress(group, &progress, reply);
        let pending = group.pending();
        field(reply, "pel-count").integer(pending.len() as i64);
        field(reply, "pending").array(pending.len().min(count));
        for (id, record) in pending.iter().take(count) {
            reply.array(4);
            reply_id(reply, *id);
            reply.bulk(&record.consumer);
            reply.integer(record.delivered_at);
            reply.integer(record.deliveries.cast_signed());
        }
        field(reply, "consumers").array(group.consumers().len());
        for (name, consumer) in group.consumers() {
            reply.map(5);
            field(reply, "name").bulk(name);
            reply_consumer_in_full(group, consumer, count, reply);
        }
    }
}

fn reply_consumer_in_full(
    group: &Group,
    consumer: &Consumer,
    count: usize,
    reply: &mut ReplyWriter<'_>,
) {
    field(reply, "seen-time").integer(consumer.seen_at);
    field(reply, "active-time").integer(consumer.active_at.unwrap_or(-1));
    field(reply, "pel-count").integer(consumer.pending_count() as i64);
    field(reply, "pending").array(consumer.pending_count().min(count));
    for id in consumer.pending_from(StreamId::MIN).take(count) {
        let record = group.pending().get(&id).expect("INV-ST3: who has it pending has a record");
        reply.array(3);
        reply_id(reply, id);
        reply.integer(record.delivered_at);
        reply.integer(record.deliveries.cast_signed());
    }
}

/// Writes the name of a field, and gives back the writer for its value.
fn field<'r, 'a>(reply: &'r mut ReplyWriter<'a>, name: &str) -> &'r mut ReplyWriter<'a> {
    reply.bulk(name.as_bytes());
    reply
}

fn stream_of<'a>(reader: &Reader<'a>, args: Args<'_>) -> Result<&'a Stream, CommandError> {
    reader.kind::<Stream>(&args[2])?.ok_or(CommandError::NoSuchKey)
}

/// How many nodes the radix tree would have in which Redis keeps the blocks: a leaf for each, one for each byte at which
/// keys part, and one for each run of bytes between these. O(blocks).
fn radix_nodes(stream: &Stream) -> usize {
    const KEY_BYTES: usize = 16;
    // Where keys part, from the root to the last key looked at.
    let (mut forks, mut nodes, mut last) = (Vec::<usize>::new(), 1, None::<[u8; KEY_BYTES]>);
    // A run above a fork or a leaf at `depth`, below a fork at `above`.
    let run = |above: Option<usize>, depth: usize| {
        usize::from(depth > above.map_or(0, |above| above + 1))
    };
    for (first, _) in stream.blocks() {
        let key = first.to_bytes();
        let Some(old) = last.replace(key) else {
            nodes = 1;
            continue;
        };
        let fork = key.iter().zip(&old).take_while(|(a, b)| a == b).count();
        let mut below = KEY_BYTES;
        while let Some(depth) = forks.pop_if(|depth| *depth > fork) {
            nodes += run(Some(depth), below);
            below = depth;
            // The fork itself, once nothing more can part there.
            nodes += 1;
        }
        nodes += run(Some(fork), below);
        if forks.last() != Some(&fork) {
            forks.push(fork);
        }
        nodes += 1;
    }
    if last.is_none() {
        return nodes;
    }
    let mut below = KEY_BYTES;
    while let Some(depth) = forks.pop() {
        nodes += run(Some(depth), below) + 1;
        below = depth;
    }
    nodes + run(None, below)
}
