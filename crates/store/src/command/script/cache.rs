//! SCRIPT LOAD, EXISTS, FLUSH as one shard answers them.
//! Owns: their arguments. Never: other shards; the gateway asks all and joins.

use keystead_resp::{Args, ReplyWriter};

use crate::command::{Reader, Writer};
use crate::error::CommandError;
use crate::scripts::LOADED_BYTES_MAX;

/// SCRIPT LOAD text.
pub(in crate::command) fn load(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let text = &args[2];
    let name = keystead_script::sha1_hex(text);
    if writer.keyspace.scripts.get(name.as_bytes()).is_none() {
        keystead_script::compile(text)
            .map_err(|text| CommandError::Script { text: text.into() })?;
    }
    if !writer.keyspace.scripts.loaded(&name, text) {
        return Err(CommandError::ScriptsFull { bytes_max: LOADED_BYTES_MAX });
    }
    reply.bulk(name.as_bytes());
    Ok(())
}

/// SCRIPT EXISTS name [name ...].
pub(in crate::command) fn exists(reader: &Reader<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) {
    reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        reply.integer(i64::from(reader.keyspace.scripts.get(name).is_some()));
    }
}

/// SCRIPT FLUSH [SYNC|ASYNC].
pub(in crate::command) fn flush(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let is_mode =
        |mode: &[u8]| mode.eq_ignore_ascii_case(b"SYNC") || mode.eq_ignore_ascii_case(b"ASYNC");
    if args.len() > 3 || args.get(2).is_some_and(|mode| !is_mode(mode)) {
        return Err(CommandError::ScriptFlushMode);
    }
    writer.keyspace.scripts.clear();
    reply.ok();
    Ok(())
}
