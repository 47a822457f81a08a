//! Lists as DUMP gives them and RESTORE takes them.
//! Owns: the forms in which Redis up to 7.4 writes lists, ziplists among them. Never: trusts a byte.
//!
//! What is written is the oldest form, elements one after the other, which every Redis reads. Read are that one, a
//! ziplist, a chain of ziplists, and a chain of listpacks and of elements that stand alone (Redis 7.0 on).

use super::ziplist::ziplist_strings;
use super::{
    Reader, TYPE_LIST, TYPE_LIST_QUICKLIST, TYPE_LIST_ZIPLIST, listpack_strings, put_len,
    put_string,
};
use crate::value::Kind;
use crate::value::list::{List, Side};

/// An element that is a node by itself, in the newest form.
const PLAIN: u64 = 1;
/// A node that is a listpack.
const PACKED: u64 = 2;

/// Appends the list.
pub(in crate::command::key) fn put(out: &mut Vec<u8>, list: &List) {
    put_len(out, list.len() as u64);
    list.iter(Side::Left).for_each(|element| put_string(out, element));
}

/// Reads a list in the form `kind`; `None` where it makes no sense, or has no element.
pub(in crate::command::key) fn read(input: &mut Reader<'_>, kind: u8) -> Option<List> {
    let mut list = List::new();
    let count = if kind == TYPE_LIST_ZIPLIST { 1 } else { input.len()? };
    for _ in 0..count {
        let container = match kind {
            TYPE_LIST => PLAIN,
            TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST => PACKED,
            _ => input.len()?,
        };
        let node = input.string()?;
        let elements = match (kind, container) {
            (_, PLAIN) => vec![node],
            (TYPE_LIST_ZIPLIST | TYPE_LIST_QUICKLIST, _) => ziplist_strings(&node)?,
            (_, PACKED) => listpack_strings(&node)?,
            _ => return None,
        };
        elements.iter().for_each(|element| list.push(Side::Right, element));
    }
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for kind in [1, 10, 14, 18] {
                let _ = read(&mut Reader(&bytes), kind);
            }
        }
    }
}
