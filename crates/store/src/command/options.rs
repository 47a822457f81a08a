//! Options that several commands share: times to expire and how they are written.
//! Owns: reading them with the checks of Redis. Never: applies them.

use keystead_resp::Args;
use keystead_types::UnixMillis;

use crate::error::CommandError;
use crate::number::parse_integer;

/// In what a time to expire is written: a span or a moment, in seconds or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
}

impl TimeUnit {
    /// The unit that the options EX, PX, EXAT and PXAT stand for.
    pub(super) fn of_option(option: &[u8]) -> Option<Self> {
        [
            (&b"EX"[..], Self::Seconds),
            (b"PX", Self::Millis),
            (b"EXAT", Self::UnixSeconds),
            (b"PXAT", Self::UnixMillis),
        ]
        .into_iter()
        .find_map(|(name, unit)| option.eq_ignore_ascii_case(name).then_some(unit))
    }

    /// The moment that `text` means at `now`, for commands that refuse zero and less.
    ///
    /// `command` is named in the error, as Redis does.
    pub(super) fn positive_moment(
        self,
        text: &[u8],
        now: UnixMillis,
        command: &'static str,
    ) -> Result<UnixMillis, CommandError> {
        let number = parse_integer(text).ok_or(CommandError::NotAnInteger)?;
        let invalid = CommandError::InvalidExpireTime { command };
        if number <= 0 {
            return Err(invalid);
        }
        let moment = self.moment(number, now).ok_or(invalid)?;
        Ok(UnixMillis(moment.cast_unsigned()))
    }

    /// The moment, milliseconds since 1970 and perhaps before; `None` past what 63 bits hold.
    pub(super) fn moment(self, number: i64, now: UnixMillis) -> Option<i64> {
        let millis = match self {
            Self::Seconds | Self::UnixSeconds => number.checked_mul(1000)?,
            Self::Millis | Self::UnixMillis => number,
        };
        match self {
            Self::Seconds | Self::Millis => millis.checked_add(i64::try_from(now.0).ok()?),
            Self::UnixSeconds | Self::UnixMillis => Some(millis),
        }
    }
}

/// The conditions NX, XX, GT and LT of EXPIRE and its relatives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpireCondition {
    is_absent: bool,
    is_present: bool,
    is_later: bool,
    is_earlier: bool,
}

impl ExpireCondition {
    /// Reads all of `options`.
    pub(super) fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        let mut condition = Self::default();
        for option in options.iter() {
            if !condition.accept(option) {
                return Err(CommandError::UnsupportedOption { option: option.into() });
            }
        }
        condition.check()
    }

    /// Takes one option; false if it is none of the four.
    pub(super) fn accept(&mut self, option: &[u8]) -> bool {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        let field = if is(b"NX") {
            &mut self.is_absent
        } else if is(b"XX") {
            &mut self.is_present
        } else if is(b"GT") {
            &mut self.is_later
        } else if is(b"LT") {
            &mut self.is_earlier
        } else {
            return false;
        };
        *field = true;
        true
    }

    /// Refuses conditions that exclude each other.
    pub(super) const fn check(self) -> Result<Self, CommandError> {
        if self.is_absent && (self.is_present || self.is_later || self.is_earlier) {
            return Err(CommandError::ExpireConditions);
        }
        if self.is_later && self.is_earlier {
            return Err(CommandError::ExpireGtAndLt);
        }
        Ok(self)
    }

    /// True if what expires at `old` may be made to expire at `new`. Never is later than any time.
    pub(super) fn is_met(self, old: Option<UnixMillis>, new: i64) -> bool {
        let is_timed = old.is_some();
        let old = old.map_or(i128::MAX, |at| i128::from(at.0));
        let new = i128::from(new);
        (!self.is_absent || !is_timed)
            && (!self.is_present || is_timed)
            && (!self.is_later || new > old)
            && (!self.is_earlier || new < old)
    }
}

/// Reads `FIELDS n field ...`, which must fill `args`; returns the fields, each of `width` arguments.
pub(super) fn parse_fields(args: Args<'_>, width: usize) -> Result<Args<'_>, CommandError> {
    let [Some(word), Some(count)] = [args.get(0), args.get(1)] else {
        return Err(CommandError::FieldsMissing);
    };
    if !word.eq_ignore_ascii_case(b"FIELDS") {
        return Err(CommandError::FieldsMissing);
    }
    let count = parse_integer(count).filter(|count| *count > 0);
    let count = count.ok_or(CommandError::FieldCountNotPositive)?;
    let fields = args.from(2);
    let wanted = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
    if wanted != Some(fields.len()) {
        return Err(CommandError::FieldCountMismatch);
    }
    Ok(fields)
}

/// Options of HGETEX and HSETEX, and the fields behind them.
pub(super) struct FieldOptions<'a> {
    /// What happens to the fields' time to expire.
    pub(super) expiry: FieldExpiry,
    /// FNX: none of the fields may be there.
    pub(super) is_if_absent: bool,
    /// FXX: all of the fields must be there.
    pub(super) is_if_present: bool,
    /// The fields.
    pub(super) fields: Args<'a>,
}

/// What HGETEX and HSETEX do to the time to expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldExpiry {
    /// Nothing was said.
    Unsaid,
    /// PERSIST: it goes.
    Persist,
    /// KEEPTTL: it stays.
    Keep,
    /// It becomes this moment.
    At(UnixMillis),
}

impl<'a> FieldOptions<'a> {
    /// Reads the options up to FIELDS and the fields, each of `width` arguments.
    pub(super) fn parse(
        args: Args<'a>,
        now: UnixMillis,
        width: usize,
        command: &'static str,
    ) -> Result<Self, CommandError> {
        let (mut expiry, mut is_if_absent, mut is_if_present) = (FieldExpiry::Unsaid, false, false);
        let mut rest = args;
        while let Some(option) = rest.get(0)
            && !option.eq_ignore_ascii_case(b"FIELDS")
        {
            rest = rest.from(1);
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            if width == 2 && (is(b"FNX") || is(b"FXX")) {
                if is_if_absent || is_if_present {
                    return Err(CommandError::FieldConditions);
                }
                (is_if_absent, is_if_present) = (is(b"FNX"), is(b"FXX"));
                continue;
            }
            let said = if let Some(unit) = TimeUnit::of_option(option) {
                let text = rest.get(0).ok_or(CommandError::Syntax)?;
                rest = rest.from(1);
                FieldExpiry::At(unit.positive_moment(text, now, command)?)
            } else if width == 2 && is(b"KEEPTTL") {
                FieldExpiry::Keep
            } else if width == 1 && is(b"PERSIST") {
                FieldExpiry::Persist
            } else {
                return Err(CommandError::UnknownArgument { argument: option.into() });
            };
            if expiry != FieldExpiry::Unsaid {
                return Err(CommandError::FieldExpiries);
            }
            expiry = said;
        }
        let fields = parse_fields(rest, width)?;
        Ok(Self { expiry, is_if_absent, is_if_present, fields })
    }
}
