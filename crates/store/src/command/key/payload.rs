//! The form in which DUMP gives a value and RESTORE takes it: that of Redis, so that values can move
//! between the two.
//! Owns: numbers, lengths, strings, checksum. Never: what a value means (`dump.rs`, `restore.rs`, `script/function.rs`).
//! Source: the RDB file format as documented by Redis: a type byte, the value, two bytes of version and a
//! CRC-64 (Jones) of all before it, little endian.

/// Version that is written for values that Redis 7.0 knows.
pub(in crate::command) const VERSION: u16 = 10;
/// Version that is written for hashes with expiring fields (Redis 7.4), and the newest that is read.
pub(super) const VERSION_FIELD_EXPIRY: u16 = 12;
/// Bytes behind the value: version and checksum.
pub(super) const FOOTER_BYTES: usize = 10;

pub(super) const TYPE_STRING: u8 = 0;
pub(super) const TYPE_LIST: u8 = 1;
pub(super) const TYPE_SET: u8 = 2;
pub(super) const TYPE_SORTED_SET_TEXT: u8 = 3;
pub(super) const TYPE_HASH: u8 = 4;
pub(super) const TYPE_SORTED_SET: u8 = 5;
pub(super) const TYPE_LIST_ZIPLIST: u8 = 10;
pub(super) const TYPE_SET_INTSET: u8 = 11;
pub(super) const TYPE_SORTED_SET_ZIPLIST: u8 = 12;
pub(super) const TYPE_HASH_ZIPLIST: u8 = 13;
pub(super) const TYPE_LIST_QUICKLIST: u8 = 14;
pub(super) const TYPE_HASH_LISTPACK: u8 = 16;
pub(super) const TYPE_SORTED_SET_LISTPACK: u8 = 17;
pub(super) const TYPE_LIST_QUICKLIST_2: u8 = 18;
pub(super) const TYPE_SET_LISTPACK: u8 = 20;
pub(super) const TYPE_HASH_FIELD_EXPIRY: u8 = 24;

const ENCODED_INT8: u8 = 0;
const ENCODED_INT16: u8 = 1;
const ENCODED_INT32: u8 = 2;
const ENCODED_LZF: u8 = 3;

use keystead_types::limits::BULK_BYTES_MAX;

use crate::number::parse_integer;

pub(super) mod json;
pub(super) mod list;
pub(super) mod stream;
pub(super) mod ziplist;

/// Appends a length, or another small number.
pub(super) fn put_len(out: &mut Vec<u8>, len: u64) {
    match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
        (Ok(len @ 0..64), ..) => out.push(len),
        (_, Ok(len @ 0..16384), _) => out.extend_from_slice(&(len | 0x4000).to_be_bytes()),
        (.., Ok(len)) => {
            out.push(0x80);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// Appends a string; short integers take the form of integers, nothing is compressed.
pub(in crate::command) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let number = if bytes.len() <= 11 { parse_integer(bytes) } else { None };
    let number = number.and_then(|number| i32::try_from(number).ok());
    match number.map(|number| (i8::try_from(number), i16::try_from(number), number)) {
        Some((Ok(number), ..)) => {
            out.push(0xc0 | ENCODED_INT8);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Some((_, Ok(number), _)) => {
            out.push(0xc0 | ENCODED_INT16);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Some((.., number)) => {
            out.push(0xc0 | ENCODED_INT32);
            out.extend_from_slice(&number.to_le_bytes());
        }
        None => {
            put_len(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

/// Reads a payload from its front; `None` wherever it makes no sense.
pub(in crate::command) struct Reader<'a>(pub(in crate::command) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(in crate::command) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A length; `None` also where an encoded string stands in its place.
    pub(super) fn len(&mut self) -> Option<u64> {
        let first = self.byte()?;
        match first >> 6 {
            0 => Some(u64::from(first)),
            1 => Some(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => self.array().map(|bytes| u64::from(u32::from_be_bytes(bytes))),
            2 if first == 0x81 => self.array().map(u64::from_be_bytes),
            _ => None,
        }
    }

    pub(in crate::command) fn string(&mut self) -> Option<Vec<u8>> {
        let first = *self.0.first()?;
        if first >> 6 != 3 {
            let len = usize::try_from(self.len()?).ok()?;
            return self.take(len).map(<[u8]>::to_vec);
        }
        self.byte()?;
        let number = match first & 0x3f {
            ENCODED_INT8 => i32::from(i8::from_le_bytes(self.array()?)),
            ENCODED_INT16 => i32::from(i16::from_le_bytes(self.array()?)),
            ENCODED_INT32 => i32::from_le_bytes(self.array()?),
            ENCODED_LZF => {
                let packed_len = usize::try_from(self.len()?).ok()?;
                let len = usize::try_from(self.len()?).ok()?;
                return decompress(self.take(packed_len)?, len);
            }
            _ => return None,
        };
        Some(number.to_string().into_bytes())
    }
}

/// Undoes LZF: runs of literals, and copies of what came before.
fn decompress(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut input = Reader(packed);
    let mut out = Vec::new();
    while let Some(control) = input.byte() {
        let control = usize::from(control);
        if control < 32 {
            out.extend_from_slice(input.take(control + 1)?);
        } else {
            let mut run = (control >> 5) + 2;
            if run == 9 {
                run += usize::from(input.byte()?);
            }
            let back = (control & 0x1f) << 8 | usize::from(input.byte()?);
            let start = out.len().checked_sub(back + 1)?;
            // The copy may overlap what it makes.
            for at in start..start + run {
                out.push(out[at]);
            }
        }
        if out.len() > len.min(BULK_BYTES_MAX) {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

/// The strings of a listpack, integers as their digits.
pub(super) fn listpack_strings(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    const HEADER_BYTES: usize = 6;
    const END: u8 = 0xff;
    let mut input = Reader(bytes);
    let header = input.take(HEADER_BYTES)?;
    let total = u32::from_le_bytes(*header.first_chunk()?);
    if usize::try_from(total).ok()? != bytes.len() {
        return None;
    }
    let mut strings = Vec::new();
    while *input.0.first()? != END {
        let before = input.0.len();
        strings.push(listpack_string(&mut input)?);
        let len = before - input.0.len();
        let back_len = match len {
            0..=127 => 1,
            128..=16382 => 2,
            16383..=2_097_150 => 3,
            2_097_151..=268_435_454 => 4,
            _ => 5,
        };
        input.take(back_len)?;
    }
    (input.0.len() == 1).then_some(strings)
}

fn listpack_string(input: &mut Reader<'_>) -> Option<Vec<u8>> {
    let first = input.byte()?;
    let number = match first {
        0x00..=0x7f => i64::from(first),
        0x80..=0xbf => return input.take(usize::from(first & 0x3f)).map(<[u8]>::to_vec),
        0xc0..=0xdf => {
            let unsigned = i64::from(first & 0x1f) << 8 | i64::from(input.byte()?);
            if unsigned >= 1 << 12 { unsigned - (1 << 13) } else { unsigned }
        }
        0xe0..=0xef => {
            let len = usize::from(first & 0x0f) << 8 | usize::from(input.byte()?);
            return input.take(len).map(<[u8]>::to_vec);
        }
        0xf0 => {
            let len = usize::try_from(u32::from_le_bytes(input.array()?)).ok()?;
            return input.take(len).map(<[u8]>::to_vec);
        }
        0xf1 => i64::from(i16::from_le_bytes(input.array()?)),
        0xf2 => {
            let [a, b, c] = input.array()?;
            i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)
        }
        0xf3 => i64::from(i32::from_le_bytes(input.array()?)),
        0xf4 => i64::from_le_bytes(input.array()?),
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}

/// Appends version and checksum.
pub(in crate::command) fn seal(out: &mut Vec<u8>, version: u16) {
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What stands before version and checksum; `None` if one of them is not right.
pub(in crate::command) fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (payload, footer) = bytes.split_at_checked(bytes.len().checked_sub(FOOTER_BYTES)?)?;
    let version = u16::from_le_bytes(*footer.first_chunk()?);
    let checksum = u64::from_le_bytes(*footer.last_chunk()?);
    let is_good = version <= VERSION_FIELD_EXPIRY && crc64(&bytes[..bytes.len() - 8]) == checksum;
    is_good.then_some(payload)
}

/// CRC-64 with the polynomial of Jones, reflected, as Redis uses it.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| CRC64[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8))
}

static CRC64: [u64; 256] = crc64_table();

const fn crc64_table() -> [u64; 256] {
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_that_of_jones() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    proptest! {
        #[test]
        fn strings_are_read_back(bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            (0usize..20_000).prop_map(|len| vec![b'x'; len]),
        ]) {
            let mut out = Vec::new();
            put_string(&mut out, &bytes);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.string(), Some(bytes));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Reader(&bytes).string();
            let _ = listpack_strings(&bytes);
            let _ = decompress(&bytes, 100);
        }
    }
}
