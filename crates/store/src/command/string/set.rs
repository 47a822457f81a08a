//! SET with every option, SETNX, SETEX, PSETEX, GETSET, MSET, MSETEX, MSETNX: replacing strings.
//! MSETEX is that of the Redis 8.4 documentation.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::UnixMillis;

use super::compare::Comparison;
use crate::command::Writer;
use crate::command::options::TimeUnit;
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::error::CommandError;
use crate::number::parse_integer;

/// The options of SET.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Condition<'a>,
    expiry: Expiry<'a>,
    /// The reply is the old value instead of OK.
    is_get: bool,
}

/// What must hold for SET to set.
#[derive(Default)]
enum Condition<'a> {
    #[default]
    Always,
    Absent,
    Present,
    /// IFEQ of Valkey 8.1 and its relatives of Redis 8.4: the string that the key holds.
    Compares(Comparison<'a>),
}

#[derive(Default)]
enum Expiry<'a> {
    #[default]
    None,
    Keep,
    At(TimeUnit, &'a [u8]),
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if let Some(unit) = TimeUnit::of_option(option) {
                // The same option twice is taken, as in Redis; the last one counts.
                let is_first = match options.expiry {
                    Expiry::None => true,
                    Expiry::At(other, _) => other == unit,
                    Expiry::Keep => false,
                };
                let text = rest.next().filter(|_| is_first).ok_or(CommandError::Syntax)?;
                options.expiry = Expiry::At(unit, text);
            } else if is("KEEPTTL") && !matches!(options.expiry, Expiry::At(..)) {
                options.expiry = Expiry::Keep;
            } else if is("GET") {
                options.is_get = true;
            } else if is("NX") && matches!(options.condition, Condition::Always | Condition::Absent)
            {
                options.condition = Condition::Absent;
            } else if is("XX")
                && matches!(options.condition, Condition::Always | Condition::Present)
            {
                options.condition = Condition::Present;
            } else if matches!(options.condition, Condition::Always)
                && let Some(value) = rest.next()
                && let Some(comparison) = Comparison::parse(option, value)?
            {
                options.condition = Condition::Compares(comparison);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

pub(crate) fn set(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if args.len() == 3 {
        put(writer, &args[1], &args[2]);
        reply.ok();
        return Ok(());
    }
    let options = SetOptions::parse(args.from(3))?;
    let expiry = match options.expiry {
        Expiry::At(unit, text) => Some(unit.positive_moment(text, writer.now(), "set")?),
        Expiry::None | Expiry::Keep => None,
    };
    let entry = writer.entry(&args[1]);
    if options.is_get {
        reply.bulk_or_null(writer.string(&args[1])?);
    }
    let is_met = match options.condition {
        Condition::Always => true,
        Condition::Absent => entry.is_none(),
        Condition::Present => entry.is_some(),
        Condition::Compares(comparison) => comparison.is_met(writer.string(&args[1])?),
    };
    if !is_met {
        if !options.is_get {
            reply.null();
        }
        return Ok(());
    }
    if matches!(options.expiry, Expiry::Keep) {
        keep_expiry(writer, &args[1], &args[2]);
    } else {
        store(writer, &args[1], &args[2], expiry);
    }
    if !options.is_get {
        reply.ok();
    }
    Ok(())
}

/// Sets the string, or removes the key if the time to expire has passed already.
fn store(writer: &mut Writer<'_>, key: &[u8], value: &[u8], expiry: Option<UnixMillis>) {
    let has_passed = expiry.is_some_and(|at| at <= writer.now());
    if has_passed {
        writer.keyspace.take(writer.now(), key);
    } else {
        writer.keyspace.set_string(key, value, expiry);
    }
    writer.notify(EventClass::String, "set", key);
    if expiry.is_some() {
        writer.notify(EventClass::Generic, "expire", key);
    }
    if has_passed {
        writer.notify(EventClass::Expired, "expired", key);
    }
}

/// Sets the string, which expires when what was there before would have. What stays as it was is no event.
fn keep_expiry(writer: &mut Writer<'_>, key: &[u8], value: &[u8]) {
    let expiry = writer.entry(key).and_then(Entry::expiry);
    writer.keyspace.set_string(key, value, expiry);
    writer.notify(EventClass::String, "set", key);
}

/// Sets the string, which does not expire.
fn put(writer: &mut Writer<'_>, key: &[u8], value: &[u8]) {
    writer.keyspace.set_string(key, value, None);
    writer.notify(EventClass::String, "set", key);
}

pub(crate) fn setnx(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let is_free = writer.entry(&args[1]).is_none();
    if is_free {
        put(writer, &args[1], &args[2]);
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

pub(crate) fn setex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let expiry = TimeUnit::Seconds.positive_moment(&args[2], writer.now(), "setex")?;
    store(writer, &args[1], &args[3], Some(expiry));
    reply.ok();
    Ok(())
}

pub(crate) fn psetex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let expiry = TimeUnit::Millis.positive_moment(&args[2], writer.now(), "psetex")?;
    store(writer, &args[1], &args[3], Some(expiry));
    reply.ok();
    Ok(())
}

pub(crate) fn getset(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    reply.bulk_or_null(writer.string(&args[1])?);
    put(writer, &args[1], &args[2]);
    Ok(())
}

pub(crate) fn mset(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    check_pairs(args, "mset")?;
    set_pairs(writer, args);
    reply.ok();
    Ok(())
}

pub(crate) fn msetnx(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    check_pairs(args, "msetnx")?;
    let are_free = args.iter().skip(1).step_by(2).all(|key| writer.entry(key).is_none());
    if are_free {
        set_pairs(writer, args);
    }
    reply.integer(i64::from(are_free));
    Ok(())
}

pub(crate) fn msetex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    const COUNT: &str = "ERR invalid numkeys value";
    const MISMATCH: &str = "ERR wrong number of key-value pairs";
    let count = parse_integer(&args[1]).and_then(|count| i32::try_from(count).ok());
    let count = count.filter(|count| *count > 0).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(CommandError::Text { text: COUNT })?;
    if (args.len() - 2) / 2 < count {
        return Err(CommandError::Text { text: MISMATCH });
    }
    let options = SetOptions::parse(args.from(2 + 2 * count))?;
    let expiry = match options.expiry {
        Expiry::At(unit, text) => Some(unit.positive_moment(text, writer.now(), "msetex")?),
        Expiry::None | Expiry::Keep => None,
    };
    let pairs = || (0..count).map(|pair| (&args[2 + 2 * pair], &args[3 + 2 * pair]));
    let is_met = match options.condition {
        Condition::Always => true,
        Condition::Absent => pairs().all(|(key, _)| writer.entry(key).is_none()),
        Condition::Present => pairs().all(|(key, _)| writer.entry(key).is_some()),
        Condition::Compares(_) => return Err(CommandError::Syntax),
    };
    if options.is_get {
        return Err(CommandError::Syntax);
    }
    if is_met {
        for (key, value) in pairs() {
            if matches!(options.expiry, Expiry::Keep) {
                keep_expiry(writer, key, value);
            } else {
                store(writer, key, value, expiry);
            }
        }
    }
    reply.integer(i64::from(is_met));
    Ok(())
}

const fn check_pairs(args: Args<'_>, command: &'static str) -> Result<(), CommandError> {
    if args.len() % 2 == 1 { Ok(()) } else { Err(CommandError::Arity { command }) }
}

fn set_pairs(writer: &mut Writer<'_>, args: Args<'_>) {
    for at in (1..args.len()).step_by(2) {
        put(writer, &args[at], &args[at + 1]);
    }
}
