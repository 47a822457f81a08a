//! JSON.GET, JSON.MGET: values as JSON text.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::BULK_BYTES_MAX;

use crate::command::Reader;
use crate::command::json::{document, path_at, read_path, selected};
use crate::error::{CommandError, JsonError};
use crate::value::json::Json;
use crate::value::json::path::{Path, Selection};
use crate::value::json::print::{Layout, TooLong};

pub(crate) fn get(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut layout = Layout::plain(BULK_BYTES_MAX);
    let mut texts: Vec<&[u8]> = Vec::new();
    let mut rest = args.from(2);
    while let Some(word) = rest.get(0) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let part = if is(b"INDENT") {
            &mut layout.indent
        } else if is(b"NEWLINE") {
            &mut layout.newline
        } else if is(b"SPACE") {
            &mut layout.space
        } else {
            // NOESCAPE is taken and changes nothing, as in RedisJSON: text is never escaped more than it must.
            if !is(b"NOESCAPE") && !texts.contains(&word) {
                texts.push(word);
            }
            rest = rest.from(1);
            continue;
        };
        *part = rest.get(1).ok_or(CommandError::Arity { command: "json.get" })?;
        rest = rest.from(2);
    }
    if texts.is_empty() {
        texts.push(path_at(args, args.len(), reply));
    }
    let Some(held) = document(reader, &args[1])? else {
        reply.null();
        return Ok(());
    };
    let mut out = Vec::new();
    if let [text] = texts[..] {
        let path = read_path(&reader.keyspace.hasher, text)?;
        let selection = selected(&path, held, &reader.keyspace.hasher)?;
        print(&layout, &selection, (path.is_legacy, 0), &mut out)?;
    } else {
        print_several(reader, held, (&texts, &layout), &mut out)?;
    }
    reply.bulk(&out);
    Ok(())
}

/// Appends an object with what each path found. One `$` among them makes an array of everything.
fn print_several(
    reader: &Reader<'_>,
    held: &Json,
    (texts, layout): (&[&[u8]], &Layout<'_>),
    out: &mut Vec<u8>,
) -> Result<(), CommandError> {
    let hasher = &reader.keyspace.hasher;
    let paths: Result<Vec<Path>, _> = texts.iter().map(|text| read_path(hasher, text)).collect();
    let paths = paths?;
    let are_legacy = paths.iter().all(|path| path.is_legacy);
    out.push(b'{');
    for (nth, (path, text)) in paths.iter().zip(texts).enumerate() {
        layout.begin_item(nth, 1, out).map_err(too_long)?;
        layout.name(text, out);
        print(layout, &selected(path, held, hasher)?, (are_legacy, 1), out)?;
    }
    layout.close(paths.len(), b'}', 0, out).map_err(too_long)
}

/// Appends what a path found: the first value alone, or all of them in an array.
fn print(
    layout: &Layout<'_>,
    selection: &Selection<'_>,
    (is_legacy, level): (bool, usize),
    out: &mut Vec<u8>,
) -> Result<(), CommandError> {
    let printed = if is_legacy {
        layout.print(selection.first().ok_or(JsonError::NoPath)?, level, out)
    } else {
        layout.print_all(selection.nodes(), level, out)
    };
    printed.map_err(too_long)
}

fn too_long(_: TooLong) -> CommandError {
    JsonError::ReplyTooLong { bytes_max: BULK_BYTES_MAX }.into()
}

pub(crate) fn mget(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let last = args.len() - 1;
    let path = read_path(&reader.keyspace.hasher, &args[last])?;
    reply.array(last - 1);
    let mut out = Vec::new();
    for key in args.iter().skip(1).take(last - 1) {
        out.clear();
        // What cannot be answered of one key is left out, whatever the reason.
        let printed = document(reader, key).ok().flatten().and_then(|held| {
            let selection = selected(&path, held, &reader.keyspace.hasher).ok()?;
            print(&Layout::plain(BULK_BYTES_MAX), &selection, (path.is_legacy, 0), &mut out).ok()
        });
        match printed {
            Some(()) => reply.bulk(&out),
            None => reply.null(),
        }
    }
    Ok(())
}
