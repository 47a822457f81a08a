//! DUMP: a value as bytes that RESTORE takes.

use keystead_resp::{Args, ReplyWriter};

use super::payload::{
    TYPE_HASH, TYPE_HASH_FIELD_EXPIRY, TYPE_STRING, VERSION, VERSION_FIELD_EXPIRY, crc64, put_len,
    put_string,
};
use crate::command::Reader;
use crate::entry::Value;
use crate::error::CommandError;

pub(crate) fn dump(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let Some(entry) = reader.entry(&args[1]) else {
        reply.null();
        return Ok(());
    };
    let mut out = Vec::new();
    let mut version = VERSION;
    match entry.value() {
        Value::String(bytes) => {
            out.push(TYPE_STRING);
            put_string(&mut out, bytes);
        }
        Value::Hash(hash) => {
            let earliest = hash.next_expiry();
            if let Some(earliest) = earliest {
                version = VERSION_FIELD_EXPIRY;
                out.push(TYPE_HASH_FIELD_EXPIRY);
                out.extend_from_slice(&earliest.0.to_le_bytes());
            } else {
                out.push(TYPE_HASH);
            }
            put_len(&mut out, hash.live_len(reader.now) as u64);
            for field in hash.iter().filter(|field| field.is_live(reader.now)) {
                if let Some(earliest) = earliest {
                    // Times are counted from the earliest, and from one: zero is never.
                    put_len(&mut out, field.expiry.map_or(0, |at| at.0 - earliest.0 + 1));
                }
                put_string(&mut out, field.name);
                put_string(&mut out, field.value);
            }
        }
    }
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    reply.bulk(&out);
    Ok(())
}
