//! XREAD, XREADGROUP: reading what is new, of several streams at once.
//!
//! Each says false, and answers nothing, if there is nothing new; who waits then, and for how long, is not known here.

use keystead_resp::{Args, Protocol, ReplyWriter, encode};

use super::arguments::{
    millis, no_group, parse_count, parse_id, reply_entries, reply_entry, reply_id,
};
use crate::command::wait::{Patience, Scope, WaitCommand, millis as patience_of};
use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::error::{CommandError, WrongType};
use crate::keyspace::Change;
use crate::value::stream::{Delivery, Stream, StreamId};

/// Which of the two commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Plain,
    Group,
}

/// The arguments of both.
struct Request<'a> {
    /// `None`: all.
    count: Option<usize>,
    patience: Patience,
    is_acknowledged: bool,
    group: Option<(&'a [u8], &'a [u8])>,
    keys: Vec<&'a [u8]>,
    ids: Vec<&'a [u8]>,
}

/// How long the command wants to wait.
pub(crate) fn patience(command: WaitCommand, args: Args<'_>) -> Result<Patience, CommandError> {
    let is_plain = command == WaitCommand::XRead;
    let reading = if is_plain { Reading::Plain } else { Reading::Group };
    Ok(Request::parse(args, reading)?.patience)
}

pub(crate) fn xread(
    reader: &Reader<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let request = Request::parse(args, Reading::Plain)?;
    let mut served = Vec::new();
    for (key, id) in request.streams().filter(|(key, _)| scope.has(key)) {
        let stream = reader.kind::<Stream>(key)?;
        let after = resolved(stream, id)?;
        let start = after.next();
        let has_new = stream.and_then(Stream::last_entry_id) > Some(after);
        if let (Some(stream), Some(start), true) = (stream, start, has_new) {
            served.push((key, stream, start));
        }
    }
    if served.is_empty() {
        return Ok(false);
    }
    begin_reply(served.len(), reply);
    for (key, stream, start) in served {
        begin_stream(key, reply);
        reply_entries(reply, stream.from(start).take(request.count.unwrap_or(usize::MAX)));
    }
    Ok(true)
}

/// Behind which entry XREAD reads.
fn resolved(stream: Option<&Stream>, id: &[u8]) -> Result<StreamId, CommandError> {
    Ok(match id {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        // Redis 7.4: the last entry.
        b"+" => stream.and_then(Stream::last_entry_id).map_or_else(
            || stream.map_or(StreamId::MIN, Stream::last_id),
            |last| last.previous().unwrap_or_default(),
        ),
        b">" => return Err(text(PLAIN_NEW)),
        id => parse_id(id)?,
    })
}

/// Appends an XREAD that was found sound, with the ids that `$` and `+` mean now.
pub(crate) fn put_resolved(reader: &Reader<'_>, args: Args<'_>, out: &mut Vec<u8>) {
    let Ok(request) = Request::parse(args, Reading::Plain) else { return };
    let ids = request.streams().map(|(key, id)| {
        let stream = reader.kind::<Stream>(key).ok().flatten();
        resolved(stream, id).unwrap_or_default().to_string().into_bytes()
    });
    let ids: Vec<Vec<u8>> = ids.collect();
    let front = args.up_to(args.len() - ids.len());
    let words: Vec<&[u8]> = front.iter().chain(ids.iter().map(Vec::as_slice)).collect();
    encode::command(out, words);
}

/// From where a consumer reads.
#[derive(Clone, Copy)]
enum Source {
    /// What its group has not read.
    New,
    /// What is pending for it behind this id.
    History(StreamId),
}

pub(crate) fn xreadgroup(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    scope: Scope<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, CommandError> {
    let request = Request::parse(args, Reading::Group)?;
    let (group, consumer) = request.group.ok_or(text(GROUP_MISSING))?;
    let mut sources = Vec::new();
    for (key, id) in request.streams().filter(|(key, _)| scope.has(key)) {
        let stream = writer.kind::<Stream>(key)?;
        if !stream.is_some_and(|stream| stream.groups().contains_key(group)) {
            return Err(match scope {
                Scope::Whole => no_group(key, group, " in XREADGROUP with GROUP option"),
                Scope::Only(_) => text(GROUP_GONE),
            });
        }
        let from = match id {
            b"$" => return Err(text(GROUP_LAST)),
            b">" => Source::New,
            // The highest id stands for `>`, as in Redis.
            id => Some(parse_id(id)?)
                .filter(|id| *id != StreamId::MAX)
                .map_or(Source::New, Source::History),
        };
        sources.push((key, from));
    }
    let now = millis(writer.now());
    let delivery = Delivery {
        consumer,
        count: request.count.unwrap_or(usize::MAX),
        is_acknowledged: request.is_acknowledged,
        now,
    };
    // How many streams answer is known at the end: one that is named twice may have nothing more for the second.
    let (mut body, mut served) = (Vec::new(), 0);
    let mut answers = match reply.is_discarding() {
        true => ReplyWriter::discard(),
        false => ReplyWriter::new(&mut body, reply.protocol()),
    };
    for (key, from) in sources {
        served += usize::from(serve(writer, key, group, (from, delivery), &mut answers)?);
    }
    if served > 0 {
        begin_reply(served, reply);
        reply.raw(&body);
    }
    Ok(served > 0)
}

/// True if the stream holds what the group has not read.
fn has_new(stream: Option<&Stream>, group: &[u8]) -> bool {
    let Some(stream) = stream else { return false };
    let read = stream.groups().get(group).map(|group| group.last_id);
    read.is_some() && stream.last_entry_id() > read
}

/// Answers for one stream; true if there was something to answer.
fn serve(
    writer: &mut Writer<'_>,
    key: &[u8],
    group: &[u8],
    (from, delivery): (Source, Delivery<'_>),
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, WrongType> {
    let (is_served, is_new) = writer.edit(key, |stream: &mut Stream, _| {
        // As in Redis 7.0, who gets no answer is not remembered as a consumer either.
        if matches!(from, Source::New) && !has_new(Some(stream), group) {
            return (Change::Unchanged, (false, false));
        }
        let is_new = stream.edit_group(group, |held| held.see(delivery.consumer, delivery.now));
        begin_stream(key, reply);
        match from {
            Source::New => reply_entries(reply, stream.deliver(group, delivery)),
            Source::History(after) => reply_history(stream, group, after, delivery, reply),
        }
        (Change::Unchanged, (true, is_new == Some(true)))
    })?;
    if is_new {
        writer.notify(EventClass::Stream, "xgroup-createconsumer", key);
    }
    Ok(is_served)
}

/// Writes what is pending for the consumer behind `after`, and counts it as delivered again.
fn reply_history(
    stream: &mut Stream,
    group: &[u8],
    after: StreamId,
    delivery: Delivery<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let start = after.next().unwrap_or(StreamId::MAX);
    let held = stream.groups().get(group).and_then(|group| group.consumer(delivery.consumer));
    let ids: Vec<StreamId> = held
        .into_iter()
        .flat_map(|consumer| consumer.pending_from(start))
        .take(delivery.count)
        .collect();
    reply.array(ids.len());
    let mut again = Vec::new();
    for id in ids {
        if let Some(entry) = stream.get(id) {
            reply_entry(reply, entry);
            again.push(id);
        } else {
            reply.array(2);
            reply_id(reply, id);
            reply.null_array();
        }
    }
    stream.edit_group(group, |group| {
        again.into_iter().for_each(|id| group.deliver_again(id, delivery.now));
    });
}

fn begin_reply(streams: usize, reply: &mut ReplyWriter<'_>) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(streams),
        Protocol::Resp3 => reply.map(streams),
    }
}

fn begin_stream(key: &[u8], reply: &mut ReplyWriter<'_>) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

impl<'a> Request<'a> {
    /// The streams, and from where each is read.
    fn streams(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        self.keys.iter().copied().zip(self.ids.iter().copied())
    }

    fn parse(args: Args<'a>, reading: Reading) -> Result<Self, CommandError> {
        let mut request = Self {
            count: None,
            patience: Patience::None,
            is_acknowledged: false,
            group: None,
            keys: Vec::new(),
            ids: Vec::new(),
        };
        let mut rest = args.from(1);
        loop {
            let word = rest.get(0).ok_or(CommandError::Syntax)?;
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let used = match (rest.get(1), rest.get(2)) {
                (Some(text), _) if is(b"BLOCK") => {
                    request.patience = patience_of(text)?;
                    2
                }
                (Some(text), _) if is(b"COUNT") => {
                    request.count = Some(parse_count(text)?).filter(|count| *count > 0);
                    2
                }
                (Some(_), _) if is(b"STREAMS") => break,
                (Some(group), Some(consumer)) if is(b"GROUP") => {
                    if reading == Reading::Plain {
                        return Err(text(PLAIN_GROUP));
                    }
                    request.group = Some((group, consumer));
                    3
                }
                _ if is(b"NOACK") => {
                    if reading == Reading::Plain {
                        return Err(text(PLAIN_NOACK));
                    }
                    request.is_acknowledged = true;
                    1
                }
                _ => return Err(CommandError::Syntax),
            };
            rest = rest.from(used);
        }
        let streams = rest.from(1);
        if streams.len() % 2 == 1 {
            return Err(text(UNBALANCED));
        }
        if reading == Reading::Group && request.group.is_none() {
            return Err(text(GROUP_MISSING));
        }
        request.keys = streams.iter().take(streams.len() / 2).collect();
        request.ids = streams.iter().skip(streams.len() / 2).collect();
        Ok(request)
    }
}

const fn text(text: &'static str) -> CommandError {
    CommandError::Text { text }
}

/// The same for both commands, in Redis 7.0.
const UNBALANCED: &str =
    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";
const PLAIN_GROUP: &str =
    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
const PLAIN_NOACK: &str =
    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
const PLAIN_NEW: &str = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
const GROUP_MISSING: &str = "ERR Missing GROUP option for XREADGROUP";
const GROUP_GONE: &str = "NOGROUP the consumer group this client was blocked on no longer exists";
const GROUP_LAST: &str = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.";
