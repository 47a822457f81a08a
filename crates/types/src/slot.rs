//! Hash slots: which of 16384 slots a key belongs to.
//! Owns: [`Slot`], CRC16, hash tags. Never: who serves a slot (see `topology`).
//!
//! Source: Redis Cluster specification, "Key distribution model" and "Hash tags":
//! `HASH_SLOT = CRC16(key) mod 16384` with CRC16-CCITT (XMODEM), and if the key contains `{...}`
//! with at least one byte between the first `{` and the first `}` after it, only that part is hashed.

use std::fmt;

/// Number of hash slots, fixed by the Redis Cluster protocol.
pub const SLOT_COUNT: u16 = 16384;

/// A hash slot, 0 to 16383.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, or `None` if there is no such slot.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The slot that `key` belongs to.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hashed_part(key)) % SLOT_COUNT)
    }

    /// The slot's number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number, for indexing.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot{}", self.0)
    }
}

/// The part of the key that decides its slot: what stands in the first non-empty `{...}`, or all of it.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|&b| b == b'}') {
        Some(length) if length > 0 => &inner[..length],
        _ => key,
    }
}

/// `CRC16[n][byte]`: the checksum of `byte` followed by `n` zero bytes.
const CRC16: [[u16; 256]; 8] = crc16_tables();

const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below 256; u16::try_from is not const"
        )]
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// CRC16-CCITT (XMODEM), eight bytes at a step ("slicing": Kounavis and Berry, "A systematic approach to
/// building high performance software-based CRC generators", 2005): every command of every client passes
/// through here, and the eight lookups of a step do not wait for each other.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (steps, rest) = bytes.as_chunks::<8>();
    for step in steps {
        let [high, low] = crc.to_be_bytes();
        crc = CRC16[7][usize::from(step[0] ^ high)]
            ^ CRC16[6][usize::from(step[1] ^ low)]
            ^ CRC16[5][usize::from(step[2])]
            ^ CRC16[4][usize::from(step[3])]
            ^ CRC16[3][usize::from(step[4])]
            ^ CRC16[2][usize::from(step[5])]
            ^ CRC16[1][usize::from(step[6])]
            ^ CRC16[0][usize::from(step[7])];
    }
    for &byte in rest {
        crc = (crc << 8) ^ CRC16[0][usize::from((crc >> 8) ^ u16::from(byte))];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_equal_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in
            [("foo", 12182), ("bar", 5061), ("", 0), ("a", 15495), ("{foo}bar", 12182)]
        {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn hash_tags_follow_the_first_nonempty_braces() {
        for (key, part) in [
            ("{user1}.a", "user1"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("a{b}{c}", "b"),
            ("{x", "{x"),
        ] {
            assert_eq!(hashed_part(key.as_bytes()), part.as_bytes(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn eight_bytes_at_a_step_equal_one_at_a_step(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let slow = bytes.iter().fold(0u16, |crc, &b| (crc << 8) ^ CRC16[0][usize::from((crc >> 8) ^ u16::from(b))]);
            prop_assert_eq!(crc16(&bytes), slow);
        }
    }
}
