//! Listpacks: strings and integers one after the other, as Redis writes them.
//! Owns: the elements in both directions. Never: what they mean (`block.rs`).
//! Source: the listpack specification. A head of the total length (4 bytes) and the number of elements (2 bytes), then
//! elements, each followed by its own length so that it can be found from behind, then a byte 0xff.

use keystead_resp::ReplyWriter;

use crate::number::parse_integer;

/// Bytes before the first element.
pub(super) const HEAD_BYTES: usize = 6;
/// The byte behind the last element.
const END: u8 = 0xff;
/// As many elements, or more: whoever wants to know counts them.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A string that is not written as an integer.
    Bytes(&'a [u8]),
    /// An integer, or a string that reads like one.
    Integer(i64),
}

impl Item<'_> {
    /// True if the string that was put in is `bytes`.
    pub(super) fn is(self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(own) => own == bytes,
            Self::Integer(own) => parse_integer(bytes) == Some(own),
        }
    }

    /// The integer, if it is one.
    pub(super) const fn integer(self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(number),
            Self::Bytes(_) => None,
        }
    }

    /// Writes it as a bulk string.
    pub(crate) fn reply(self, reply: &mut ReplyWriter<'_>) {
        match self {
            Self::Bytes(bytes) => reply.bulk(bytes),
            Self::Integer(number) => reply.bulk_integer(number),
        }
    }
}

/// A listpack without elements.
pub(super) fn empty() -> Vec<u8> {
    vec![7, 0, 0, 0, 0, 0, END]
}

/// Appends a string, as an integer if it reads like one.
pub(super) fn push_string(list: &mut Vec<u8>, bytes: &[u8]) {
    match parse_integer(bytes) {
        Some(number) => push_integer(list, number),
        None => push(list, |list| put_string(list, bytes)),
    }
}

/// Appends an integer.
pub(super) fn push_integer(list: &mut Vec<u8>, number: i64) {
    push(list, |list| put_integer(list, number));
}

/// Puts `number` in the place of the element at `at`.
pub(super) fn replace_integer(list: &mut Vec<u8>, at: usize, number: i64) {
    let mut element = Vec::with_capacity(12);
    put_integer(&mut element, number);
    put_back_len(&mut element, 0);
    let mut cursor = Cursor { list, at };
    cursor.next().expect("INV-ST2: an element that was found is one");
    let end = cursor.at;
    list.splice(at..end, element);
    put_total(list);
}

fn push(list: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    list.pop();
    let start = list.len();
    put(list);
    put_back_len(list, start);
    list.push(END);
    put_total(list);
    let count = u16::from_le_bytes([list[4], list[5]]).saturating_add(1);
    list[4..6].copy_from_slice(&count.to_le_bytes());
}

fn put_total(list: &mut [u8]) {
    let total =
        u32::try_from(list.len()).expect("STREAM_ENTRY_BYTES_MAX keeps a block below 4 GiB");
    list[..4].copy_from_slice(&total.to_le_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "the ranges say so")]
fn put_string(list: &mut Vec<u8>, bytes: &[u8]) {
    match u32::try_from(bytes.len()).expect("STREAM_ENTRY_BYTES_MAX keeps a string below 4 GiB") {
        len @ 0..64 => list.push(0x80 | len as u8),
        len @ 64..4096 => list.extend_from_slice(&(0xe000 | len as u16).to_be_bytes()),
        len => {
            list.push(0xf0);
            list.extend_from_slice(&len.to_le_bytes());
        }
    }
    list.extend_from_slice(bytes);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges say so")]
fn put_integer(list: &mut Vec<u8>, number: i64) {
    match number {
        0..=127 => list.push(number as u8),
        -4096..=4095 => list.extend_from_slice(&(0xc000 | number as u16 & 0x1fff).to_be_bytes()),
        -32_768..=32_767 => {
            list.push(0xf1);
            list.extend_from_slice(&(number as i16).to_le_bytes());
        }
        -8_388_608..=8_388_607 => {
            list.push(0xf2);
            list.extend_from_slice(&number.to_le_bytes()[..3]);
        }
        -2_147_483_648..=2_147_483_647 => {
            list.push(0xf3);
            list.extend_from_slice(&(number as i32).to_le_bytes());
        }
        _ => {
            list.push(0xf4);
            list.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// How many bytes hold the length of an element of `len` bytes.
const fn back_len_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// Appends the length of the element from `start` on: seven bits a byte, to be read from behind.
fn put_back_len(list: &mut Vec<u8>, start: usize) {
    let len = list.len() - start;
    for place in (0..back_len_bytes(len)).rev() {
        let is_first = place == back_len_bytes(len) - 1;
        let bits = (len >> (7 * place) & 0x7f).to_le_bytes()[0];
        list.push(bits | if is_first { 0 } else { 0x80 });
    }
}

/// Walks over a listpack.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// All of the listpack.
    pub(super) list: &'a [u8],
    /// Where the next element begins.
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// Before the first element.
    pub(super) const fn new(list: &'a [u8]) -> Self {
        Self { list, at: HEAD_BYTES }
    }

    /// Behind the last element.
    pub(super) const fn at_end(list: &'a [u8]) -> Self {
        Self { list, at: list.len() - 1 }
    }

    /// The element here, and a step behind it; `None` at the end, or where no element stands.
    pub(super) fn next(&mut self) -> Option<Item<'a>> {
        let start = self.at;
        let (item, end) = self.element()?;
        let behind = end + back_len_bytes(end - start);
        if behind >= self.list.len() {
            return None;
        }
        self.at = behind;
        Some(item)
    }

    /// A step back; `None` at the front.
    pub(super) fn back(&mut self) -> Option<()> {
        let (mut len, mut place, mut at) = (0usize, 0, self.at);
        loop {
            at = at.checked_sub(1)?;
            let byte = *self.list.get(at)?;
            len |= usize::from(byte & 0x7f) << (7 * place);
            place += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if place == 5 {
                return None;
            }
        }
        let start = at.checked_sub(len)?;
        if start < HEAD_BYTES || len == 0 {
            return None;
        }
        self.at = start;
        Some(())
    }

    /// The element here and where its content ends.
    fn element(&self) -> Option<(Item<'a>, usize)> {
        let first = *self.list.get(self.at)?;
        let rest = self.at + 1;
        let string = |start: usize, len: usize| {
            let end = start.checked_add(len)?;
            Some((Item::Bytes(self.list.get(start..end)?), end))
        };
        let integer = |number: i64, len: usize| Some((Item::Integer(number), rest + len));
        match first {
            0x00..=0x7f => integer(i64::from(first), 0),
            0x80..=0xbf => string(rest, usize::from(first & 0x3f)),
            0xc0..=0xdf => {
                let number = i64::from(first & 0x1f) << 8 | i64::from(*self.list.get(rest)?);
                integer(if number >= 1 << 12 { number - (1 << 13) } else { number }, 1)
            }
            0xe0..=0xef => {
                let len = usize::from(first & 0x0f) << 8 | usize::from(*self.list.get(rest)?);
                string(rest + 1, len)
            }
            0xf0 => string(rest + 4, usize::try_from(u32::from_le_bytes(self.array(rest)?)).ok()?),
            0xf1 => integer(i64::from(i16::from_le_bytes(self.array(rest)?)), 2),
            0xf2 => {
                let [a, b, c] = self.array(rest)?;
                integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8), 3)
            }
            0xf3 => integer(i64::from(i32::from_le_bytes(self.array(rest)?)), 4),
            0xf4 => integer(i64::from_le_bytes(self.array(rest)?), 8),
            _ => None,
        }
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.list.get(at..)?.first_chunk().copied()
    }
}

/// True if `list` is a listpack as this module writes them: lengths that fit, each written behind its element.
pub(super) fn is_sound(list: &[u8]) -> bool {
    let Some(head) = list.first_chunk::<HEAD_BYTES>() else { return false };
    let total = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if usize::try_from(total).ok() != Some(list.len()) || list.last() != Some(&END) {
        return false;
    }
    if list.len() == HEAD_BYTES {
        return false;
    }
    let (mut cursor, mut count) = (Cursor::new(list), 0usize);
    while cursor.at < list.len() - 1 {
        let start = cursor.at;
        if cursor.next().is_none() {
            return false;
        }
        let mut back = cursor;
        if back.back().is_none() || back.at != start {
            return false;
        }
        count += 1;
    }
    let said = u16::from_le_bytes([head[4], head[5]]);
    said == COUNT_UNKNOWN || usize::from(said) == count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn elements_are_read_back_from_both_ends(strings in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            any::<i16>().prop_map(|number| number.to_string().into_bytes()),
            (0usize..20_000).prop_map(|len| vec![b'x'; len]),
        ], 0..20)) {
            let mut list = empty();
            strings.iter().for_each(|string| push_string(&mut list, string));
            prop_assert!(is_sound(&list));
            let (mut cursor, mut starts) = (Cursor::new(&list), Vec::new());
            for string in &strings {
                starts.push(cursor.at);
                prop_assert!(cursor.next().expect("an element").is(string));
            }
            prop_assert_eq!(cursor.next(), None);
            let mut cursor = Cursor::at_end(&list);
            for start in starts.iter().rev() {
                cursor.back().expect("an element before");
                prop_assert_eq!(cursor.at, *start);
            }
            prop_assert_eq!(cursor.back(), None);
        }

        #[test]
        fn integers_are_replaced_in_their_place(old: i64, new: i64) {
            let mut list = empty();
            for number in [1, old, 2] {
                push_integer(&mut list, number);
            }
            let mut cursor = Cursor::new(&list);
            cursor.next();
            let at = cursor.at;
            replace_integer(&mut list, at, new);
            prop_assert!(is_sound(&list));
            let mut cursor = Cursor::new(&list);
            let read: Vec<_> = std::iter::from_fn(|| cursor.next()).collect();
            prop_assert_eq!(read, [1, new, 2].map(Item::Integer));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            is_sound(&bytes);
            if bytes.len() >= HEAD_BYTES {
                let total = u32::try_from(bytes.len()).expect("short");
                bytes[..4].copy_from_slice(&total.to_le_bytes());
                is_sound(&bytes);
            }
        }
    }
}
