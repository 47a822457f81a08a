//! TTL, PTTL, EXPIRETIME, PEXPIRETIME: when a key expires.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use crate::command::Reader;
use crate::error::CommandError;

const NO_KEY: i64 = -2;
const NO_EXPIRY: i64 = -1;

pub(crate) fn ttl(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let now = reader.now;
    answer(reader, args, reply, |at| rounded_seconds(at.0.saturating_sub(now.0)))
}

pub(crate) fn pttl(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let now = reader.now;
    answer(reader, args, reply, |at| at.0.saturating_sub(now.0))
}

pub(crate) fn expire_time(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |at| rounded_seconds(at.0))
}

pub(crate) fn pexpire_time(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    answer(reader, args, reply, |at| at.0)
}

fn answer(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    shown: impl FnOnce(UnixMillis) -> u64,
) -> Result<(), CommandError> {
    reply.integer(match reader.peek(&args[1]) {
        None => NO_KEY,
        Some(entry) => entry.expiry().map_or(NO_EXPIRY, |at| shown(at).cast_signed()),
    });
    Ok(())
}

/// Redis rounds to the nearest second, so a TTL set a moment ago reads as it was set.
pub(crate) const fn rounded_seconds(millis: u64) -> u64 {
    millis.saturating_add(500) / 1000
}

/// For fields Redis rounds up, so a field that lives never shows 0.
pub(crate) const fn rounded_up_seconds(millis: u64) -> u64 {
    millis.div_ceil(1000)
}
