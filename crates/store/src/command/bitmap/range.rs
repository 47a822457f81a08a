//! Ranges of BITCOUNT and BITPOS: from a start to an end inclusive, in bytes or bits, negative ones
//! counted from the end.

use crate::error::CommandError;

/// Whether a range counts bytes or bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RangeUnit {
    #[default]
    Byte,
    Bit,
}

impl RangeUnit {
    pub(super) fn parse(word: &[u8]) -> Result<Self, CommandError> {
        if word.eq_ignore_ascii_case(b"BIT") {
            Ok(Self::Bit)
        } else if word.eq_ignore_ascii_case(b"BYTE") {
            Ok(Self::Byte)
        } else {
            Err(CommandError::Syntax)
        }
    }

    /// The bits of a range over a string of `len` bytes, the end exclusive; `None` if it is empty.
    pub(super) fn bits(self, start: i64, end: i64, len: usize) -> Option<(usize, usize)> {
        let unit = if self == Self::Byte { 8 } else { 1 };
        let total = len as i64 * 8 / unit;
        let place = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
        let (start, end) = (place(start), place(end).min(total - 1));
        if start > end {
            return None;
        }
        let bit = |at: i64| usize::try_from(at * unit).ok();
        Some((bit(start)?, bit(end + 1)?))
    }
}

/// The byte at `at` with the bits outside `start..end` set to zero.
pub(super) fn masked_byte(bytes: &[u8], at: usize, (start, end): (usize, usize)) -> u8 {
    let outside = |bits: usize| u32::try_from(bits).unwrap_or(u32::MAX);
    let before = outside(start.saturating_sub(at * 8));
    let behind = outside((at * 8 + 8).saturating_sub(end));
    let kept = 0xff_u8.checked_shr(before).unwrap_or(0) & 0xff_u8.checked_shl(behind).unwrap_or(0);
    bytes[at] & kept
}
