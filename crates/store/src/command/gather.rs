//! DBSIZE, FLUSHALL, FLUSHDB, KEYS, RANDOMKEY, SCAN, SWAPDB as one store answers them.
//! Owns: their arguments and this store's part. Never: other shards; the node asks each and joins.

use keystead_resp::{Args, ReplyWriter};

use crate::error::CommandError;
use crate::number::parse_integer;
use crate::scan::{ScanCursor, ScanOptions, matching_keys, random_key, scan_keys};

use super::{GatherCommand, Reader, Writer, database, script};

/// Runs the command on this store alone: inside a transaction, or as the shard's part of FLUSHALL.
pub(crate) fn apply(
    writer: &mut Writer<'_>,
    kind: GatherCommand,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match kind {
        GatherCommand::ScriptLoad => return script::cache::load(writer, args, reply),
        GatherCommand::ScriptFlush => return script::cache::flush(writer, args, reply),
        GatherCommand::FunctionLoad => return script::function::load(writer, args, reply),
        GatherCommand::FunctionDelete => return script::function::delete(writer, args, reply),
        GatherCommand::FunctionFlush => return script::function::flush(writer, args, reply),
        GatherCommand::FunctionRestore => return script::function::restore(writer, args, reply),
        GatherCommand::FlushAll => {
            check_flush(args)?;
            writer.keyspace.clear_all();
        }
        GatherCommand::FlushDb => {
            check_flush(args)?;
            writer.keyspace.clear();
        }
        GatherCommand::SwapDb => {
            let (one, other) = database::swapped(args)?;
            writer.keyspace.swap(writer.ctx.now, one, other);
        }
        _ => return writer.reading(|reader| read(reader, kind, args, reply)),
    }
    reply.ok();
    Ok(())
}

/// Answers from this store alone.
pub(crate) fn read(
    reader: &Reader<'_>,
    kind: GatherCommand,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match kind {
        GatherCommand::DbSize => {
            reply.integer(reader.database.counts.keys.cast_signed());
        }
        GatherCommand::Keys => {
            let mut found = Vec::new();
            matching_keys(reader.database, reader.now, &args[1], |key| found.push(key.to_vec()));
            reply.array(found.len());
            for key in &found {
                reply.bulk(key);
            }
        }
        GatherCommand::RandomKey => {
            reply.bulk_or_null(random_key(reader.database, reader.now, reader.random()));
        }
        GatherCommand::Scan => {
            let (cursor, options) = parse_scan(args)?;
            let mut found = Vec::new();
            let keys = (reader.database, &reader.keyspace.hasher);
            let next = scan_keys(keys, reader.now, cursor, &options, |key| {
                found.push(key.to_vec());
            });
            reply.array(2);
            reply.bulk_integer(next.map_or(0, |cursor| cursor.0.cast_signed()));
            reply.array(found.len());
            for key in &found {
                reply.bulk(key);
            }
        }
        GatherCommand::ScriptExists => script::cache::exists(reader, args, reply),
        GatherCommand::FunctionDump => script::function::dump(reader, reply),
        GatherCommand::FunctionList => script::function::list(reader, args, reply)?,
        GatherCommand::FunctionStats => script::function::stats(reader, reply),
        GatherCommand::FlushAll
        | GatherCommand::FlushDb
        | GatherCommand::FunctionDelete
        | GatherCommand::FunctionFlush
        | GatherCommand::FunctionLoad
        | GatherCommand::FunctionRestore
        | GatherCommand::ScriptFlush
        | GatherCommand::ScriptLoad
        | GatherCommand::SwapDb => {
            return Err(CommandError::NotInTransaction);
        }
    }
    Ok(())
}

/// Reads SCAN's arguments.
///
/// # Errors
/// In the words of Redis.
pub fn parse_scan(args: Args<'_>) -> Result<(ScanCursor, ScanOptions<'_>), CommandError> {
    let cursor = parse_cursor(&args[1])?;
    let mut options = ScanOptions::default();
    let mut rest = args.from(2);
    while let Some(option) = rest.get(0) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        let value = rest.get(1).ok_or(CommandError::Syntax)?;
        if is("COUNT") {
            options.count = parse_count(value)?;
        } else if is("MATCH") {
            options.pattern = Some(value);
        } else if is("TYPE") {
            options.kind = Some(value);
        } else {
            return Err(CommandError::Syntax);
        }
        rest = rest.from(2);
    }
    Ok((ScanCursor(cursor), options))
}

/// A cursor: an unsigned integer as `strtoul` reads it, without blanks.
pub(crate) fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = std::str::from_utf8(text).map_err(|_| CommandError::InvalidCursor)?;
    text.parse().map_err(|_| CommandError::InvalidCursor)
}

/// COUNT: at least 1.
pub(crate) fn parse_count(text: &[u8]) -> Result<usize, CommandError> {
    let count = parse_integer(text).ok_or(CommandError::NotAnInteger)?;
    if count < 1 {
        return Err(CommandError::Syntax);
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// FLUSHALL takes nothing, SYNC or ASYNC; the two differ in nothing here.
fn check_flush(args: Args<'_>) -> Result<(), CommandError> {
    match args.get(1) {
        None => Ok(()),
        Some(mode)
            if args.len() == 2
                && (mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC")) =>
        {
            Ok(())
        }
        Some(_) => Err(CommandError::Syntax),
    }
}
