//! FUNCTION LOAD, DELETE, FLUSH, RESTORE, LIST, DUMP, STATS as one shard answers them.
//! Owns: their arguments and replies. Never: other shards (the gateway asks them); what a function does.

use keystead_resp::{Args, ReplyWriter};
use keystead_script::{LibraryError, Loaded, library_name, load_library};

use crate::command::key::payload::{self, VERSION, put_string};
use crate::command::{Reader, Writer};
use crate::error::CommandError;
use crate::functions::{Functions, Library, OnSame};
use crate::scan::glob_matches;

/// What stands before a library in a dump, as in an RDB file.
const LIBRARY: u8 = 0xf5;

/// `FUNCTION LOAD [REPLACE] code`.
pub(in crate::command) fn load(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut on_same = OnSame::Refuse;
    for option in args.from(2).iter().take(args.len() - 3) {
        if !option.eq_ignore_ascii_case(b"REPLACE") {
            return Err(CommandError::UnknownOption { option: option.into() });
        }
        on_same = OnSame::Replace;
    }
    let code = &args[args.len() - 1];
    let functions = &mut writer.keyspace.functions;
    let loaded = look_into(code, |name| {
        if on_same == OnSame::Refuse && functions.contains(name) {
            return Err(CommandError::LibraryExists { name: name.into() });
        }
        Ok(())
    })?;
    let name = loaded.name.clone();
    functions.add(loaded, code, on_same)?;
    functions.changed();
    reply.bulk(name.as_bytes());
    Ok(())
}

/// What is in a library, once its name is accepted.
fn look_into(
    code: &[u8],
    accept: impl FnOnce(&str) -> Result<(), CommandError>,
) -> Result<Loaded, CommandError> {
    let refused = |error: LibraryError| CommandError::NotAScript { text: error.to_string().into() };
    accept(&library_name(code).map_err(refused)?)?;
    load_library(code).map_err(refused)
}

/// FUNCTION DELETE name.
pub(in crate::command) fn delete(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if !writer.keyspace.functions.remove(&args[2]) {
        return Err(CommandError::NoLibrary);
    }
    writer.keyspace.functions.changed();
    reply.ok();
    Ok(())
}

/// FUNCTION FLUSH [SYNC|ASYNC].
pub(in crate::command) fn flush(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if args.len() > 3 {
        return Err(CommandError::FunctionArguments { verb: args[1].into() });
    }
    let is_mode =
        |mode: &[u8]| mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC");
    if args.get(2).is_some_and(|mode| !is_mode(mode)) {
        return Err(CommandError::FunctionFlushMode);
    }
    let functions = &mut writer.keyspace.functions;
    let version = functions.version();
    *functions = Functions::default();
    functions.set_version(version.saturating_add(1));
    reply.ok();
    Ok(())
}

/// FUNCTION RESTORE payload [FLUSH|APPEND|REPLACE].
pub(in crate::command) fn restore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if args.len() > 4 {
        return Err(CommandError::FunctionArguments { verb: args[1].into() });
    }
    let policy = args.get(3).unwrap_or(b"APPEND");
    let is = |name: &[u8]| policy.eq_ignore_ascii_case(name);
    let (mut functions, on_same) = if is(b"FLUSH") {
        (Functions::default(), OnSame::Refuse)
    } else if is(b"APPEND") {
        (writer.keyspace.functions.clone(), OnSame::Refuse)
    } else if is(b"REPLACE") {
        (writer.keyspace.functions.clone(), OnSame::Replace)
    } else {
        return Err(CommandError::RestorePolicy);
    };
    let payload = payload::checked(&args[2]).ok_or(CommandError::RestoreChecksum)?;
    let (mut brought, mut input) = (Functions::default(), payload::Reader(payload));
    while let Some(kind) = input.byte() {
        if kind != LIBRARY {
            return Err(CommandError::NotAFunction);
        }
        let code = input.string().ok_or(CommandError::FunctionPayload)?;
        let loaded = look_into(&code, |_| Ok(()))?;
        brought.add(loaded.clone(), &code, OnSame::Refuse)?;
        functions.add(loaded, &code, on_same).map_err(CommandError::unquoted)?;
    }
    functions.set_version(writer.keyspace.functions.version());
    functions.changed();
    writer.keyspace.functions = functions;
    reply.ok();
    Ok(())
}

/// FUNCTION DUMP.
pub(in crate::command) fn dump(reader: &Reader<'_>, reply: &mut ReplyWriter<'_>) {
    let mut out = Vec::new();
    for (_, library) in reader.keyspace.functions.iter() {
        out.push(LIBRARY);
        put_string(&mut out, &library.code);
    }
    payload::seal(&mut out, VERSION);
    reply.bulk(&out);
}

/// FUNCTION STATS.
pub(in crate::command) fn stats(reader: &Reader<'_>, reply: &mut ReplyWriter<'_>) {
    let functions = &reader.keyspace.functions;
    reply.map(2);
    reply.bulk(b"running_script");
    // Whoever reads comes between two entries, when none runs.
    reply.null();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    for (name, count) in
        [("libraries_count", functions.iter().len()), ("functions_count", functions.count())]
    {
        reply.bulk(name.as_bytes());
        reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`.
pub(in crate::command) fn list(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (mut pattern, mut has_code) = (None, false);
    let mut rest = args.from(2).iter();
    while let Some(option) = rest.next() {
        if !has_code && option.eq_ignore_ascii_case(b"WITHCODE") {
            has_code = true;
        } else if pattern.is_none() && option.eq_ignore_ascii_case(b"LIBRARYNAME") {
            pattern = Some(rest.next().ok_or(CommandError::NoLibraryName)?);
        } else {
            return Err(CommandError::UnknownListArgument { argument: option.into() });
        }
    }
    let is_asked =
        |name: &str| pattern.is_none_or(|pattern| glob_matches(pattern, name.as_bytes()));
    let libraries = reader.keyspace.functions.iter().filter(|(name, _)| is_asked(name));
    let libraries: Vec<(&str, &Library)> = libraries.collect();
    reply.array(libraries.len());
    for (name, library) in libraries {
        reply.map(if has_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(name.as_bytes());
        reply.bulk(b"engine");
        reply.bulk(b"LUA");
        reply.bulk(b"functions");
        list_functions(library, reply);
        if has_code {
            reply.bulk(b"library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

fn list_functions(library: &Library, reply: &mut ReplyWriter<'_>) {
    reply.array(library.functions.len());
    for row in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(row.name.as_bytes());
        reply.bulk(b"description");
        reply.bulk_or_null(row.description.as_deref());
        reply.bulk(b"flags");
        let names = row.flags.names();
        reply.set(names.clone().count());
        names.for_each(|name| reply.simple(name));
    }
}
