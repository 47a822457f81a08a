//! All that a server holds, in a form that two servers can be compared by.
//! Owns: which commands tell it, and of which databases. Never: how it is stored (encodings, order in a set, what is cached) or how long keys still live.

use std::collections::{BTreeMap, BTreeSet};

use crate::project::Outcome;
use crate::wire;

/// Bytes that are shown of two values that differ, and how many of them before they part.
const SHOWN: usize = 120;
const SHOWN_BEFORE: usize = 40;

/// Databases that are looked into: as many as a server has unless it is told otherwise.
const DATABASES: u16 = 16;

/// Keys, by their databases, and what they hold, as the bytes of replies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents(BTreeMap<(u16, Vec<u8>), Vec<Vec<u8>>>);

impl Contents {
    /// Asks for everything. `call` sends one command to one database and returns the bytes of its reply.
    pub(super) fn of(mut call: impl FnMut(u16, &[&[u8]]) -> Outcome<Vec<u8>>) -> Outcome<Self> {
        let mut contents = BTreeMap::new();
        for database in 0..DATABASES {
            let mut call = |words: &[&[u8]]| call(database, words);
            for key in elements(&call(&[b"KEYS", b"*"])?) {
                if let Some(held) = held_by(&key, &mut call)? {
                    contents.insert((database, key), held);
                }
            }
        }
        Ok(Self(contents))
    }

    /// The keys that differ, and how.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter()
            .filter(|key| self.0.get(*key) != other.0.get(*key))
            .map(|key| {
                let held = |contents: &Self| contents.0.get(key).map(|held| held.concat());
                let (own, others) =
                    (held(self).unwrap_or_default(), held(other).unwrap_or_default());
                let parting = own.iter().zip(&others).position(|(a, b)| a != b);
                let from =
                    parting.unwrap_or(own.len().min(others.len())).saturating_sub(SHOWN_BEFORE);
                let show = |held: &[u8]| {
                    let until = held.len().min(from + SHOWN);
                    held.get(from..until).unwrap_or_default().escape_ascii().to_string()
                };
                let (database, key) = (key.0, key.1.escape_ascii());
                format!(
                    "{key} of database {database}, from byte {from}: {} | {}",
                    show(&own),
                    show(&others)
                )
            })
            .collect()
    }
}

/// What a key holds; `None` if it is gone.
fn held_by(
    key: &[u8],
    call: &mut impl FnMut(&[&[u8]]) -> Outcome<Vec<u8>>,
) -> Outcome<Option<Vec<Vec<u8>>>> {
    let kind = call(&[b"TYPE", key])?;
    // Without a time to live the reply is -1; a time itself differs from server to server.
    let is_lasting = call(&[b"PTTL", key])? == b":-1\r\n";
    let mut held = vec![kind.clone(), vec![u8::from(is_lasting)]];
    match &kind[..] {
        b"+string\r\n" => held.push(without_cache(call(&[b"GET", key])?)),
        b"+list\r\n" => held.push(call(&[b"LRANGE", key, b"0", b"-1"])?),
        b"+set\r\n" => held.extend(sorted(elements(&call(&[b"SMEMBERS", key])?))),
        b"+zset\r\n" => {
            let all = elements(&call(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"])?);
            held.extend(all.chunks(2).flat_map(|pair| [pair[0].clone(), rounded(&pair[1])]));
        }
        b"+hash\r\n" => {
            let all = elements(&call(&[b"HGETALL", key])?);
            held.extend(sorted(all.chunks(2).map(<[Vec<u8>]>::concat).collect()));
        }
        b"+stream\r\n" => {
            held.push(call(&[b"XRANGE", key, b"-", b"+"])?);
            held.push(call(&[b"XINFO", b"GROUPS", key])?);
        }
        // Gone between two questions: it had expired.
        b"+none\r\n" => return Ok(None),
        other => return Err(format!("a key of the type {}", other.escape_ascii()).into()),
    }
    Ok(Some(held))
}

/// A HyperLogLog without its cached cardinality, which PFCOUNT of Redis writes and Keystead's, a read, does not.
fn without_cache(mut reply: Vec<u8>) -> Vec<u8> {
    let begin = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if reply[begin..].starts_with(b"HYLL")
        && let Some(cache) = reply.get_mut(begin + 8..begin + 16)
    {
        cache.fill(0);
    }
    reply
}

/// The first ten digits of a score: in the last of its 17 a distance (GEORADIUS ... STOREDIST) follows the C library there.
fn rounded(score: &[u8]) -> Vec<u8> {
    let number = std::str::from_utf8(score).ok().and_then(|text| text.parse::<f64>().ok());
    number.map_or_else(|| score.to_vec(), |number| format!("{number:.9e}").into_bytes())
}

fn sorted(mut elements: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    elements.sort_unstable();
    elements
}

/// The elements of an array, each with the bytes of its value.
fn elements(reply: &[u8]) -> Vec<Vec<u8>> {
    let Some(begin) = reply.windows(2).position(|pair| pair == b"\r\n") else { return Vec::new() };
    let mut rest = &reply[begin + 2..];
    let mut found = Vec::new();
    while let Some(length) = wire::reply_length(rest) {
        let (element, behind) = rest.split_at(length);
        // A bulk string: its length on a line, its bytes, the end of the line.
        let body = element.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        found.push(element[body..length - 2].to_vec());
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_taken_out_of_an_array() {
        assert_eq!(elements(b"*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n"), [&b"a"[..], b"\r\n"]);
        assert_eq!(elements(b"*0\r\n"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_each_side_may_write_its_own_way_is_left_out() {
        let sketch =
            |cache: &[u8]| [b"$18\r\nHYLL\x00\x00\x00\x00", cache, b"\x80\x00\r\n"].concat();
        assert_eq!(without_cache(sketch(b"12345678")), without_cache(sketch(&[0; 8])));
        assert_eq!(rounded(b"1699.639572087714"), rounded(b"1699.6395720877142"));
        assert_ne!(rounded(b"1699.6395"), rounded(b"1699.6396"));
    }

    #[test]
    fn what_differs_is_named() {
        let of = |value: &'static [u8]| {
            Contents::of(|database, words| {
                Ok(match words[0] {
                    b"KEYS" if database != 3 => b"*0\r\n".to_vec(),
                    b"KEYS" => b"*1\r\n$1\r\nk\r\n".to_vec(),
                    b"TYPE" => b"+string\r\n".to_vec(),
                    b"PTTL" => b":-1\r\n".to_vec(),
                    _ => value.to_vec(),
                })
            })
            .expect("every command is answered")
        };
        assert_eq!(of(b"$1\r\na\r\n"), of(b"$1\r\na\r\n"));
        let differences = of(b"$1\r\na\r\n").differences(&of(b"$1\r\nb\r\n"));
        assert_eq!(differences.len(), 1);
        assert!(differences[0].starts_with("k of database 3, from byte "));
    }
}
