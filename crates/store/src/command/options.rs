//! Options that several commands share: times to expire and how they are written.
//! Owns: reading them with the checks of Redis. Never: applies them.

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
