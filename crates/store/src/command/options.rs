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
