//! XGROUP CREATE, SETID, DESTROY, CREATECONSUMER, DELCONSUMER: groups and their consumers.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{millis, parse_id, parse_number};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::{Bytes, CommandError};
use crate::keyspace::Change;
use crate::value::stream::{Group, Stream, StreamId};

/// The options of CREATE and SETID.
#[derive(Default)]
struct Options {
    is_making_stream: bool,
    entries_read: Option<i64>,
}

/// Which subcommand reads its options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subcommand {
    Create,
    SetId,
}

pub(crate) fn create(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = Options::parse(args, Subcommand::Create)?;
    let stream = writer.kind::<Stream>(&args[2])?;
    if stream.is_none() && !options.is_making_stream {
        return Err(no_key());
    }
    check_length(args, 8)?;
    let last_id = match &args[4] {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        text => parse_id(text)?,
    };
    let had_stream = stream.is_some();
    let is_new = writer.edit(&args[2], |stream: &mut Stream, _| {
        let is_new = stream.add_group(&args[3], Group::new(last_id, options.entries_read));
        // As in Redis, a watch notices a stream that was not there, and no group.
        (Change::of(!had_stream), is_new)
    })?;
    if !is_new {
        return Err(CommandError::BusyGroup);
    }
    writer.notify(EventClass::Stream, "xgroup-create", &args[2]);
    reply.ok();
    Ok(())
}

pub(crate) fn set_id(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let options = Options::parse(args, Subcommand::SetId)?;
    let stream = group_of(writer, args)?;
    check_length(args, 7)?;
    let last_id = match &args[4] {
        b"$" => stream.last_id(),
        text => StreamId::parse_bound(text, 0).ok_or(CommandError::InvalidStreamId)?,
    };
    edit(writer, args, |group| {
        group.last_id = last_id;
        group.entries_read = options.entries_read;
    })?;
    writer.notify(EventClass::Stream, "xgroup-setid", &args[2]);
    reply.ok();
    Ok(())
}

pub(crate) fn destroy(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if writer.kind::<Stream>(&args[2])?.is_none() {
        return Err(no_key());
    }
    let is_removed = writer.edit(&args[2], |stream: &mut Stream, _| {
        (Change::Unchanged, stream.remove_group(&args[3]))
    })?;
    if is_removed {
        writer.notify(EventClass::Stream, "xgroup-destroy", &args[2]);
        // Who waits for the group's entries is told.
        writer.keyspace.signal(&args[2]);
    }
    reply.integer(i64::from(is_removed));
    Ok(())
}

pub(crate) fn create_consumer(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    group_of(writer, args)?;
    let now = millis(writer.now());
    let is_new = edit(writer, args, |group| group.add_consumer(&args[4], now))?;
    if is_new {
        writer.notify(EventClass::Stream, "xgroup-createconsumer", &args[2]);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

pub(crate) fn delete_consumer(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    group_of(writer, args)?;
    let removed = edit(writer, args, |group| group.remove_consumer(&args[4]))?;
    if removed.is_some() {
        writer.notify(EventClass::Stream, "xgroup-delconsumer", &args[2]);
    }
    reply.integer(removed.unwrap_or(0) as i64);
    Ok(())
}

impl Options {
    fn parse(args: Args<'_>, subcommand: Subcommand) -> Result<Self, CommandError> {
        const NEGATIVE: &str = "ERR value for ENTRIESREAD must be positive or -1";
        let (mut options, mut rest) = (Self::default(), args.from(5).iter());
        while let Some(option) = rest.next() {
            let is_create = subcommand == Subcommand::Create;
            if is_create && option.eq_ignore_ascii_case(b"MKSTREAM") {
                options.is_making_stream = true;
            } else if let (true, Some(text)) =
                (option.eq_ignore_ascii_case(b"ENTRIESREAD"), rest.next())
            {
                let read = parse_number(text)?;
                if read < -1 {
                    return Err(CommandError::Text { text: NEGATIVE });
                }
                options.entries_read = (read >= 0).then_some(read);
            } else {
                return Err(syntax(args));
            }
        }
        Ok(options)
    }
}

/// Refuses options that are given more than once.
fn check_length(args: Args<'_>, most: usize) -> Result<(), CommandError> {
    if args.len() > most { Err(syntax(args)) } else { Ok(()) }
}

fn syntax(args: Args<'_>) -> CommandError {
    CommandError::SubcommandSyntax { container: "XGROUP", name: args[1].into() }
}

const fn no_key() -> CommandError {
    CommandError::Text {
        text: "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
    }
}

/// The stream of the group that args 2 and 3 name.
fn group_of<'a>(writer: &'a Writer<'_>, args: Args<'_>) -> Result<&'a Stream, CommandError> {
    let stream = writer.kind::<Stream>(&args[2])?.ok_or_else(no_key)?;
    if stream.groups().contains_key(&args[3]) {
        return Ok(stream);
    }
    let (group, key) = (Bytes::whole(&args[3]), Bytes::whole(&args[2]));
    Err(CommandError::NoGroup { group, key })
}

/// Changes the group that args 2 and 3 name, which exists.
fn edit<R>(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    change: impl FnOnce(&mut Group) -> R,
) -> Result<R, CommandError> {
    let changed = writer.edit(&args[2], |stream: &mut Stream, _| {
        (Change::Unchanged, stream.edit_group(&args[3], change))
    })?;
    changed.ok_or_else(no_key)
}
