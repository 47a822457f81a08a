//! Numbers and byte strings on the wire: varints out, a checked reader in.
//!
//! Owns: [`put_varint`], [`Reader`], [`DecodeError`]. Never: what a number means; never panics on
//! input, never allocates. Used by every codec between nodes ([`message`](super::message),
//! hello, snapshot chunks).
//! A varint carries seven bits a byte, lowest first, the top bit saying that more follow; at most
//! ten bytes, and nothing beyond 64 bits.

use thiserror::Error;

/// Why bytes from a peer are not what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{field} at byte {offset} is cut short; the sender is broken or of another version")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where, counted from the start of the payload.
        offset: usize,
    },
    /// A varint does not fit the field.
    #[error(
        "{field} at byte {offset} is too large a number; the sender is broken or of another version"
    )]
    TooLarge {
        /// What was being read.
        field: &'static str,
        /// Where, counted from the start of the payload.
        offset: usize,
    },
    /// A type, flag or version that this node does not know, or does not take from a peer.
    #[error("{field} at byte {offset} is {value}, which this node does not accept from a peer")]
    Refused {
        /// What was being read.
        field: &'static str,
        /// What stood there.
        value: u64,
        /// Where, counted from the start of the payload.
        offset: usize,
    },
    /// Bytes are left after the last field.
    #[error(
        "{extra} bytes follow the end at byte {offset}; the sender is broken or of another version"
    )]
    Trailing {
        /// How many.
        extra: usize,
        /// Where they begin.
        offset: usize,
    },
}

/// Appends `number` in 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(0x80 | low_seven(number));
        number >>= 7;
    }
    out.push(low_seven(number));
}

/// Appends the length of `bytes` and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

const fn low_seven(number: u64) -> u8 {
    (number & 0x7f) as u8
}

/// Reads fields off the front of a payload and remembers how far it came.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes are left: the most elements of one byte or more that can still follow.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let byte =
            *self.bytes.get(self.at).ok_or(DecodeError::Truncated { field, offset: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    /// The next varint.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::TooLarge`] beyond 64 bits.
    pub fn varint(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::TooLarge { field, offset: start })
    }

    /// The next varint, as a `u32`.
    ///
    /// # Errors
    /// As [`varint`](Self::varint), and [`DecodeError::TooLarge`] beyond 32 bits.
    pub fn varint_u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let offset = self.at;
        u32::try_from(self.varint(field)?).map_err(|_| DecodeError::TooLarge { field, offset })
    }

    /// How many elements follow. Refused if they cannot all be there, so that a caller may
    /// allocate for that many.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if `count * element_bytes_min` is more than is left.
    pub fn count(
        &mut self,
        field: &'static str,
        element_bytes_min: usize,
    ) -> Result<usize, DecodeError> {
        let offset = self.at;
        let count = self.varint(field)?;
        let most = (self.remaining() / element_bytes_min.max(1)) as u64;
        if count > most {
            return Err(DecodeError::Truncated { field, offset });
        }
        usize::try_from(count).map_err(|_| DecodeError::TooLarge { field, offset })
    }

    /// A length and that many bytes, as their place in the payload (for a zero-copy slice of it).
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if they are not all there.
    pub fn byte_range(
        &mut self,
        field: &'static str,
    ) -> Result<std::ops::Range<usize>, DecodeError> {
        let length = self.count(field, 1)?;
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    /// A length and that many bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if they are not all there.
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let range = self.byte_range(field)?;
        Ok(&self.bytes[range])
    }

    /// Everything that is left, as its place in the payload.
    pub fn rest(&mut self) -> std::ops::Range<usize> {
        let start = self.at;
        self.at = self.bytes.len();
        start..self.at
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub const fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra, offset: self.at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_number_comes_back(number: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("n"), Ok(number));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut reader = Reader::new(&[0xff; 11]);
        assert_eq!(reader.varint("n"), Err(DecodeError::TooLarge { field: "n", offset: 0 }));
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&largest).varint("n"), Ok(u64::MAX));
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Reader::new(&beyond).varint("n").is_err());
    }

    #[test]
    fn a_count_that_cannot_be_there_is_refused_before_anything_is_allocated() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.count("n", 1), Err(DecodeError::Truncated { field: "n", offset: 0 }));
    }
}
