//! DIGEST, DELEX, DELIFEQ, and the conditions IFEQ, IFNE, IFDEQ, IFDNE that DELEX and SET take.
//! Sources: the documentation of Redis 8.4 (DIGEST, DELEX, SET) and of Valkey 9.0 (DELIFEQ).
//! Owns: what a string is compared with. Never: sets one (`set.rs`).

use keystead_resp::{Args, ReplyWriter};
use xxhash_rust::xxh3::xxh3_64;

use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::error::CommandError;

/// What a string must be, or must not be.
#[derive(Clone, Copy)]
pub(super) enum Comparison<'a> {
    /// IFEQ: this string.
    Equals(&'a [u8]),
    /// IFNE: another one.
    Differs(&'a [u8]),
    /// IFDEQ: one with this digest.
    HasDigest(u64),
    /// IFDNE: one with another digest.
    LacksDigest(u64),
}

impl<'a> Comparison<'a> {
    /// The condition that `word` with `value` stands for; `None` if it is no such word.
    pub(super) fn parse(word: &[u8], value: &'a [u8]) -> Result<Option<Self>, CommandError> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        Ok(Some(if is(b"IFEQ") {
            Self::Equals(value)
        } else if is(b"IFNE") {
            Self::Differs(value)
        } else if is(b"IFDEQ") {
            Self::HasDigest(parse_digest(value)?)
        } else if is(b"IFDNE") {
            Self::LacksDigest(parse_digest(value)?)
        } else {
            return Ok(None);
        }))
    }

    /// True if `held` is as it must be. Where there is nothing, all that asks for a difference is met.
    pub(super) fn is_met(self, held: Option<&[u8]>) -> bool {
        match (self, held) {
            (Self::Equals(wanted), Some(held)) => held == wanted,
            (Self::Differs(unwanted), Some(held)) => held != unwanted,
            (Self::HasDigest(wanted), Some(held)) => xxh3_64(held) == wanted,
            (Self::LacksDigest(unwanted), Some(held)) => xxh3_64(held) != unwanted,
            (Self::Equals(_) | Self::HasDigest(_), None) => false,
            (Self::Differs(_) | Self::LacksDigest(_), None) => true,
        }
    }
}

/// A digest as DIGEST prints it, in any case.
fn parse_digest(text: &[u8]) -> Result<u64, CommandError> {
    const DIGITS: usize = 16;
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() == DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit()));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(CommandError::DigestForm)
}

pub(crate) fn digest(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match reader.string(&args[1])? {
        Some(bytes) => reply.bulk(format!("{:016x}", xxh3_64(bytes)).as_bytes()),
        None => reply.null(),
    }
    Ok(())
}

pub(crate) fn delex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let (Some(word), Some(value), None) = (args.get(2), args.get(3), args.get(4)) else {
        if args.len() > 2 {
            return Err(CommandError::Arity { command: "delex" });
        }
        reply.integer(i64::from(remove(writer, &args[1])));
        return Ok(());
    };
    if writer.entry(&args[1]).is_none() {
        reply.integer(0);
        return Ok(());
    }
    let held = writer.string(&args[1]).map_err(|_| CommandError::DelexNotAString)?;
    let comparison = Comparison::parse(word, value)?.ok_or(CommandError::DelexCondition)?;
    let is_removed = comparison.is_met(held) && remove(writer, &args[1]);
    reply.integer(i64::from(is_removed));
    Ok(())
}

pub(crate) fn delifeq(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let is_equal = Comparison::Equals(&args[2]).is_met(writer.string(&args[1])?);
    reply.integer(i64::from(is_equal && remove(writer, &args[1])));
    Ok(())
}

/// Removes the key; true if it was there.
fn remove(writer: &mut Writer<'_>, key: &[u8]) -> bool {
    let is_removed = writer.keyspace.take(writer.ctx.now, key).is_some();
    if is_removed {
        writer.notify(EventClass::Generic, "del", key);
    }
    is_removed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the documentation of Redis.
    #[test]
    fn digests_are_those_of_redis() {
        assert_eq!(xxh3_64(b"Hello world"), 0xb6ac_b9d8_4a38_ff74);
        assert_eq!(parse_digest(b"B6ACB9D84a38ff74"), Ok(0xb6ac_b9d8_4a38_ff74));
        for text in [&b""[..], b"b6acb9d84a38ff7", b"+6acb9d84a38ff74", b"b6acb9d84a38ff740"] {
            assert_eq!(parse_digest(text), Err(CommandError::DigestForm));
        }
    }
}
