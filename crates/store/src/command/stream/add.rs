//! XADD, XTRIM: adding entries, and removing the oldest.
//! KEEPREF, DELREF and ACKED are those of the Redis 8.2 documentation.

use keystead_resp::{Args, ReplyWriter};

use super::arguments::{parse_id, parse_number, references_of, reply_id};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::value::stream::{
    BLOCK_ENTRIES_MAX, GivenId, References, Stream, StreamId, Threshold, Trim,
};

/// Most entries that `~` removes at a time unless LIMIT says otherwise: those of a hundred blocks.
const APPROXIMATE_LIMIT: u64 = 100 * BLOCK_ENTRIES_MAX;

/// The options of XADD and XTRIM.
#[derive(Default)]
struct Options {
    threshold: Option<Threshold>,
    is_approximate: bool,
    limit: Option<i64>,
    references: References,
    is_only_if_present: bool,
}

pub(crate) fn xadd(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut options = Options::default();
    let (mut rest, mut given) = (args.from(2), None);
    while let Some(word) = rest.get(0)
        && word != b"*"
    {
        if let Some(used) = options.take(rest)? {
            rest = rest.from(used);
        } else if word.eq_ignore_ascii_case(b"NOMKSTREAM") {
            options.is_only_if_present = true;
            rest = rest.from(1);
        } else {
            given = Some(GivenId::parse(word).ok_or(CommandError::InvalidStreamId)?);
            break;
        }
    }
    let trim = options.trim()?;
    let fields = rest.from(1);
    if fields.len() < 2 || fields.len() % 2 == 1 {
        return Err(CommandError::Arity { command: "xadd" });
    }
    if given == Some(GivenId::Whole(StreamId::MIN)) {
        return Err(CommandError::StreamIdZero);
    }
    if options.is_only_if_present && writer.kind::<Stream>(&args[1])?.is_none() {
        reply.null();
        return Ok(());
    }
    let now = writer.now();
    let (id, is_trimmed) = writer.edit(&args[1], |stream: &mut Stream, _| {
        let added = stream.add(given, now.0, fields);
        let added = added.map(|id| (id, trim.is_some_and(|trim| stream.trim(&trim) > 0)));
        (Change::of(added.is_ok()), added)
    })??;
    writer.notify(EventClass::Stream, "xadd", &args[1]);
    if is_trimmed {
        writer.notify(EventClass::Stream, "xtrim", &args[1]);
    }
    reply_id(reply, id);
    Ok(())
}

pub(crate) fn xtrim(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    const NO_STRATEGY: &str = "ERR syntax error, XTRIM must be called with a trimming strategy";
    let mut options = Options::default();
    let mut rest = args.from(2);
    while rest.get(0).is_some() {
        rest = rest.from(options.take(rest)?.ok_or(CommandError::Syntax)?);
    }
    if options.threshold.is_none() && options.limit.is_none_or(|limit| limit == 0) {
        return Err(CommandError::Text { text: NO_STRATEGY });
    }
    let trim = options.trim()?.ok_or(CommandError::Text { text: NO_STRATEGY })?;
    if writer.kind::<Stream>(&args[1])?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    let removed = writer.edit(&args[1], |stream: &mut Stream, _| {
        let removed = stream.trim(&trim);
        (Change::of(removed > 0), removed)
    })?;
    if removed > 0 {
        writer.notify(EventClass::Stream, "xtrim", &args[1]);
    }
    reply.integer(removed.cast_signed());
    Ok(())
}

impl Options {
    /// Reads the option in front of `args`; how many arguments it took, `None` if none stands there.
    fn take(&mut self, args: Args<'_>) -> Result<Option<usize>, CommandError> {
        let word = args.get(0).unwrap_or_default();
        if let Some(references) = references_of(word) {
            self.references = references;
            return Ok(Some(1));
        }
        let Some(next) = args.get(1) else { return Ok(None) };
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"LIMIT") {
            const NEGATIVE: &str = "ERR The LIMIT argument must be >= 0.";
            let limit = parse_number(next)?;
            if limit < 0 {
                return Err(CommandError::Text { text: NEGATIVE });
            }
            self.limit = Some(limit);
            return Ok(Some(2));
        }
        if !is(b"MAXLEN") && !is(b"MINID") {
            return Ok(None);
        }
        if self.threshold.is_some() {
            const BOTH: &str =
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(CommandError::Text { text: BOTH });
        }
        let has_sign = args.len() > 2 && matches!(next, b"~" | b"=");
        self.is_approximate = has_sign && next == b"~";
        let at = if has_sign { 2 } else { 1 };
        self.threshold = Some(if is(b"MINID") {
            Threshold::Id(parse_id(&args[at])?)
        } else {
            const NEGATIVE: &str = "ERR The MAXLEN argument must be >= 0.";
            let max = u64::try_from(parse_number(&args[at])?);
            Threshold::Length(max.map_err(|_| CommandError::Text { text: NEGATIVE })?)
        });
        Ok(Some(at + 1))
    }

    /// What these options trim.
    fn trim(&self) -> Result<Option<Trim>, CommandError> {
        const NO_STRATEGY: &str =
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
        const EXACT: &str = "ERR syntax error, LIMIT cannot be used without the special ~ option";
        if self.threshold.is_none() && self.limit.is_some_and(|limit| limit != 0) {
            return Err(CommandError::Text { text: NO_STRATEGY });
        }
        if self.limit.is_some() && !self.is_approximate {
            return Err(CommandError::Text { text: EXACT });
        }
        let Some(threshold) = self.threshold else { return Ok(None) };
        let limit = match self.limit {
            Some(limit) => limit.unsigned_abs(),
            None if self.is_approximate => APPROXIMATE_LIMIT,
            None => 0,
        };
        Ok(Some(Trim {
            threshold,
            is_approximate: self.is_approximate,
            limit: (limit > 0).then_some(limit),
            references: self.references,
        }))
    }
}
