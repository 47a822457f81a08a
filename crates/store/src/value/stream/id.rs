//! Ids of stream entries: a millisecond and a number within it.
//! Owns: their order, their text in both directions. Never: which id an entry gets (`../stream.rs`).
//!
//! What text is an id follows Redis, which reads numbers as C does where they are not plain.

use std::fmt;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId {
    /// Milliseconds since 1970, unless a client chose otherwise.
    pub(crate) ms: u64,
    /// Number within the millisecond.
    pub(crate) seq: u64,
}

/// Longest text that may be an id, bytes.
const TEXT_BYTES_MAX: usize = 127;

/// An id of which the number within the millisecond may be left to the stream (`5-*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenId {
    /// All of it is given.
    Whole(StreamId),
    /// Only the millisecond is.
    Millisecond(u64),
}

impl StreamId {
    /// The lowest id, which no entry has.
    pub(crate) const MIN: Self = Self { ms: 0, seq: 0 };
    /// The highest id.
    pub(crate) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The next higher one.
    pub(crate) const fn next(self) -> Option<Self> {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The next lower one.
    pub(crate) const fn previous(self) -> Option<Self> {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }

    /// Reads `ms-seq`, or `ms` alone, to which `seq` is added.
    pub(crate) fn parse(text: &[u8], seq: u64) -> Option<Self> {
        let (ms, given) = split(text)?;
        let seq = given.map_or(Some(seq), parse_number)?;
        Some(Self { ms: parse_number(ms)?, seq })
    }

    /// As [`parse`](Self::parse), and `-` and `+` for the lowest and the highest.
    pub(crate) fn parse_bound(text: &[u8], seq: u64) -> Option<Self> {
        match text {
            b"-" => Some(Self::MIN),
            b"+" => Some(Self::MAX),
            text => Self::parse(text, seq),
        }
    }

    /// Big endian: sixteen bytes that sort as ids do.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.ms) << 64) | u128::from(self.seq)).to_be_bytes()
    }

    /// The reverse of [`to_bytes`](Self::to_bytes).
    #[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { ms: (both >> 64) as u64, seq: both as u64 }
    }
}

impl GivenId {
    /// Reads `ms-seq`, `ms` or `ms-*`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        match split(text)? {
            (ms, Some(b"*")) => Some(Self::Millisecond(parse_number(ms)?)),
            _ => StreamId::parse(text, 0).map(Self::Whole),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The two sides of the first hyphen; a text ends at its first zero byte.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut sides = text.splitn(2, |byte| *byte == b'-');
    Some((sides.next().unwrap_or_default(), sides.next()))
}

/// Reads a number as `strtoull` of C does: blanks, a sign and zeros may precede it. A number with only a minus in
/// front is refused; behind a blank it wraps around.
fn parse_number(text: &[u8]) -> Option<u64> {
    if text.starts_with(b"-") {
        return None;
    }
    let start = text.iter().position(|byte| !matches!(byte, b' ' | 9..=13))?;
    let (is_negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        for (text, expected) in [
            (&b"1-2"[..], id(1, 2)),
            (b"1", id(1, 7)),
            (b"0-0", id(0, 0)),
            (b"18446744073709551615-18446744073709551615", Some(StreamId::MAX)),
            (b"18446744073709551616", None),
            (b"-1", None),
            (b"1-", None),
            (b"-", None),
            (b"1--5", None),
            (b"1- -5", id(1, u64::MAX - 4)),
            (b"007- +3", id(7, 3)),
            (b"1\0xyz", id(1, 7)),
            (b"1-2-3", None),
            (b"", None),
            (b"x", None),
        ] {
            assert_eq!(StreamId::parse(text, 7), expected, "{}", text.escape_ascii());
        }
        assert_eq!(StreamId::parse(&[b'0'; 128], 0), None);
        assert_eq!(GivenId::parse(b"5-*"), Some(GivenId::Millisecond(5)));
        assert_eq!(GivenId::parse(b"*-5"), None);
    }

    #[test]
    fn neighbours_cross_the_millisecond() {
        let last = StreamId { ms: 4, seq: u64::MAX };
        let first = StreamId { ms: 5, seq: 0 };
        assert_eq!((last.next(), first.previous()), (Some(first), Some(last)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(StreamId::from_bytes(last.to_bytes()), last);
    }
}
