//! A document in a payload: as RedisJSON writes it, so that documents can move between the two.
//! Owns: the frame around its text. Never: the text (`value/json`).
//!
//! A value of a module begins with the module's id, 54 bits of its name and 10 of its encoding's version, and holds
//! fields, each behind a number that says of which kind it is. RedisJSON's version 3 is one field, the JSON text.
//! Source: the RDB file format as documented by Redis, on values of modules.

use super::{Reader, put_len};
use crate::table::Hasher;
use crate::value::Kind;
use crate::value::json::Json;
use crate::value::json::print::printed;

/// The type of any module's value.
pub(in crate::command::key) const TYPE_MODULE_2: u8 = 7;

/// RedisJSON's encoding as JSON text.
const ENCODING_TEXT: u64 = 3;
/// A field that is a string.
const FIELD_STRING: u64 = 5;
/// No further field.
const FIELDS_END: u64 = 0;

/// The letters of a module's name, each of six bits.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The id of RedisJSON's type in this encoding.
const ID: u64 = id_of(Json::NAME.as_bytes(), ENCODING_TEXT);

const fn id_of(name: &[u8], encoding: u64) -> u64 {
    let (mut id, mut at) = (0, 0);
    while at < name.len() {
        let mut letter = 0;
        while LETTERS[letter] != name[at] {
            letter += 1;
        }
        id = id << 6 | letter as u64;
        at += 1;
    }
    id << 10 | encoding
}

/// Appends the document behind its type.
pub(in crate::command::key) fn put(out: &mut Vec<u8>, document: &Json) {
    let text = printed(document.root());
    put_len(out, ID);
    put_len(out, FIELD_STRING);
    put_len(out, text.len() as u64);
    out.extend_from_slice(&text);
    put_len(out, FIELDS_END);
}

/// Reads the document behind its type; `None` if it is another module's, or no document.
pub(in crate::command::key) fn read(hasher: &Hasher, input: &mut Reader<'_>) -> Option<Json> {
    if input.len()? != ID || input.len()? != FIELD_STRING {
        return None;
    }
    let text = input.string()?;
    let root = crate::value::json::read(hasher, &text).ok()?;
    (input.len()? == FIELDS_END).then(|| Json::of(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_spells_the_name_of_the_type() {
        let letters = (0..9).rev().map(|nth| LETTERS[(ID >> (10 + 6 * nth) & 0x3f) as usize]);
        assert_eq!(letters.collect::<Vec<_>>(), b"ReJSON-RL");
        assert_eq!(ID & 0x3ff, 3);
    }
}
