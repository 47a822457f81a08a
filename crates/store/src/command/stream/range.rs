//! XLEN, XRANGE, XREVRANGE: reading entries by id.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{parse_end, parse_number, parse_start, reply_entries};
use crate::command::Reader;
use crate::error::CommandError;
use crate::value::stream::Stream;

pub(crate) fn xlen(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let len = reader.kind::<Stream>(&args[1])?.map_or(0, Stream::len);
    reply.integer(len.cast_signed());
    Ok(())
}

pub(crate) fn xrange(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    range(reader, args, Direction::Up, reply)
}

pub(crate) fn xrevrange(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    range(reader, args, Direction::Down, reply)
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down,
}

fn range(
    reader: &Reader<'_>,
    args: Args<'_>,
    direction: Direction,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (start, end) = match direction {
        Direction::Up => (&args[2], &args[3]),
        Direction::Down => (&args[3], &args[2]),
    };
    let (start, end) = (parse_start(start)?, parse_end(end)?);
    let count = parse_count_options(args.from(4))?;
    let Some(stream) = reader.kind::<Stream>(&args[1])? else {
        reply.array(0);
        return Ok(());
    };
    match (count, direction) {
        (Some(0), _) => reply.null_array(),
        (count, Direction::Up) => {
            let entries = stream.from(start).take_while(|entry| entry.id <= end);
            reply_entries(reply, entries.take(count.unwrap_or(usize::MAX)));
        }
        (count, Direction::Down) => {
            let entries = stream.back_from(end).take_while(|entry| entry.id >= start);
            reply_entries(reply, entries.take(count.unwrap_or(usize::MAX)));
        }
    }
    Ok(())
}

/// `COUNT n`, any number of times; the last counts, and less than zero is none.
fn parse_count_options(args: Args<'_>) -> Result<Option<usize>, CommandError> {
    let (mut count, mut rest) = (None, args.iter());
    while let Some(option) = rest.next() {
        if !option.eq_ignore_ascii_case(b"COUNT") {
            return Err(CommandError::Syntax);
        }
        let number = parse_number(rest.next().ok_or(CommandError::Syntax)?)?;
        count = Some(usize::try_from(number).unwrap_or(0));
    }
    Ok(count)
}
