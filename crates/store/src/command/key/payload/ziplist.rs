//! Ziplists, in which Redis before 7.0 packs small lists, hashes and sorted sets. Read only; none is written.
//! Owns: their form. Never: trusts a byte, or knows what the strings stand for.

use super::Reader;

/// The strings of a ziplist, integers as their digits.
///
/// Form: bytes:4, offset of the last element:4, number of elements:2, elements, 0xff. An element begins with the bytes
/// of the one before it (1, or 5 with 0xfe in front), then says what follows.
pub(in crate::command::key) fn ziplist_strings(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    const HEADER_BYTES: usize = 10;
    const END: u8 = 0xff;
    /// From so many elements on they are not counted.
    const UNCOUNTED: u16 = u16::MAX;
    let mut input = Reader(bytes);
    let total = u32::from_le_bytes(input.array()?);
    let last = usize::try_from(u32::from_le_bytes(input.array()?)).ok()?;
    let count = u16::from_le_bytes(input.array()?);
    if usize::try_from(total).ok()? != bytes.len() {
        return None;
    }
    let (mut strings, mut before_bytes, mut at) = (Vec::new(), 0, HEADER_BYTES);
    while *input.0.first()? != END {
        let start = bytes.len() - input.0.len();
        let said = match input.byte()? {
            0xfe => usize::try_from(u32::from_le_bytes(input.array()?)).ok()?,
            short => usize::from(short),
        };
        if said != before_bytes {
            return None;
        }
        strings.push(ziplist_string(&mut input)?);
        (before_bytes, at) = (bytes.len() - input.0.len() - start, start);
    }
    let is_counted = count == UNCOUNTED || usize::from(count) == strings.len();
    (input.0.len() == 1 && is_counted && last == at).then_some(strings)
}

fn ziplist_string(input: &mut Reader<'_>) -> Option<Vec<u8>> {
    let first = input.byte()?;
    let number = match first {
        0x00..=0x3f => return input.take(usize::from(first)).map(<[u8]>::to_vec),
        0x40..=0x7f => {
            let len = usize::from(first & 0x3f) << 8 | usize::from(input.byte()?);
            return input.take(len).map(<[u8]>::to_vec);
        }
        0x80 => {
            let len = usize::try_from(u32::from_be_bytes(input.array()?)).ok()?;
            return input.take(len).map(<[u8]>::to_vec);
        }
        0xc0 => i64::from(i16::from_le_bytes(input.array()?)),
        0xd0 => i64::from(i32::from_le_bytes(input.array()?)),
        0xe0 => i64::from_le_bytes(input.array()?),
        0xf0 => {
            let [a, b, c] = input.array()?;
            i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)
        }
        0xfe => i64::from(i8::from_le_bytes(input.array()?)),
        0xf1..=0xfd => i64::from(first & 0x0f) - 1,
        _ => return None,
    };
    Some(number.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the description of the format: "hello", 5, -2, 300, 100000, -7000000000.
    const ZIPLIST: &[u8] = b"\x2a\0\0\0\x1f\0\0\0\x06\0\
        \x00\x05hello\x07\xf6\x02\xfe\xfe\x03\xc0\x2c\x01\x04\xf0\xa0\x86\x01\x05\xe0\0\x7a\xc4\x5e\xfe\xff\xff\xff\xff";

    #[test]
    fn every_form_of_an_element_of_a_ziplist_is_read() {
        let strings = ziplist_strings(ZIPLIST).expect("a ziplist");
        let texts: Vec<_> = strings.iter().map(|s| String::from_utf8_lossy(s)).collect();
        assert_eq!(texts, ["hello", "5", "-2", "300", "100000", "-7000000000"]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            at in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let mut damaged = ZIPLIST.to_vec();
            damaged[at.index(ZIPLIST.len())] = byte;
            let _ = ziplist_strings(&damaged);
            let _ = ziplist_strings(&bytes);
        }
    }
}
