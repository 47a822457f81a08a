//! What type a key is: how entries get into it, are read, and are taken out.
//! Owns: the commands and the forms of their replies. Never: whether a reply can be true (see `story`).

use keystead_resp::Value;

use super::story::Kind;

/// The type of a story's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A string with a number.
    Number,
    /// A string that grows: APPEND.
    Text,
    /// A list that grows: RPUSH.
    List,
    /// A stream: XADD.
    Stream,
    /// A list that is emptied from the front: RPUSH, LPOP.
    Queue,
    /// A set: SADD, SPOP.
    Set,
    /// A sorted set: ZADD, ZPOPMIN.
    SortedSet,
    /// The fields of a hash: HSET.
    Hash,
}

/// Types that keep the order in which entries came.
const ORDERED: [Form; 3] = [Form::Text, Form::List, Form::Stream];
/// Types from which entries are taken, or that have no order.
const UNORDERED: [Form; 4] = [Form::Queue, Form::Set, Form::SortedSet, Form::Hash];

impl Form {
    /// The type of a key of this kind: they take turns.
    pub(super) fn of(kind: Kind, number: u64) -> Self {
        let turn = |forms: &[Self]| {
            let at = number % forms.len() as u64;
            forms[usize::try_from(at).expect("below a handful")]
        };
        match kind {
            Kind::Cell | Kind::Counter => Self::Number,
            Kind::Ledger => turn(&ORDERED),
            Kind::Basket => turn(&UNORDERED),
        }
    }

    /// The command that puts an entry in.
    pub(super) fn put(self, key: &str, entry: u64) -> Vec<String> {
        let number = entry.to_string();
        let words: &[&str] = match self {
            Self::Number | Self::Text => &["APPEND", key, &format!("{entry};")],
            Self::List | Self::Queue => &["RPUSH", key, &number],
            Self::Stream => &["XADD", key, "*", "entry", &number],
            Self::Set => &["SADD", key, &number],
            Self::SortedSet => &["ZADD", key, &number, &number],
            Self::Hash => &["HSET", key, &number, "1"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The command that takes an entry out; nothing if there is none for this type.
    pub(super) fn take(self, key: &str) -> Option<[&str; 2]> {
        match self {
            Self::Queue => Some(["LPOP", key]),
            Self::Set => Some(["SPOP", key]),
            Self::SortedSet => Some(["ZPOPMIN", key]),
            Self::Number | Self::Text | Self::List | Self::Stream | Self::Hash => None,
        }
    }

    /// The command that reads all of it.
    pub(super) fn read(self, key: &str) -> Vec<&str> {
        match self {
            Self::Number | Self::Text => vec!["GET", key],
            Self::List | Self::Queue => vec!["LRANGE", key, "0", "-1"],
            Self::Stream => vec!["XRANGE", key, "-", "+"],
            Self::Set => vec!["SMEMBERS", key],
            Self::SortedSet => vec!["ZRANGE", key, "0", "-1"],
            Self::Hash => vec!["HKEYS", key],
        }
    }

    /// True if a reply says that an entry was put in, which was not there before.
    pub(super) fn is_put(self, reply: &Value) -> bool {
        match self {
            Self::Set | Self::SortedSet | Self::Hash => reply.as_integer() == Some(1),
            Self::Stream => reply.as_str().is_some(),
            _ => reply.as_integer().is_some_and(|length| length > 0),
        }
    }

    /// What a take was given, if anything; nothing at all if it is no answer to a take.
    pub(super) fn taken(self, reply: &Value) -> Option<Option<u64>> {
        match reply.as_elements() {
            // ZPOPMIN: the member and its score.
            Some(elements) => match elements.first() {
                Some(member) => number(member).map(Some),
                None => Some(None),
            },
            None if reply.is_null() => Some(None),
            None => number(reply).map(Some),
        }
    }

    /// The entries that a read found; nothing at all if it is no answer to a read.
    pub(super) fn entries(self, reply: &Value) -> Option<Vec<u64>> {
        match self {
            Self::Number | Self::Text if reply.is_null() => Some(Vec::new()),
            Self::Number | Self::Text => {
                reply.as_str()?.split_terminator(';').map(|entry| entry.parse().ok()).collect()
            }
            Self::Stream => reply.as_elements()?.iter().map(entry_of_stream).collect(),
            _ => reply.as_elements()?.iter().map(number).collect(),
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// The number in an entry of a stream: its id, then a field and the number.
fn entry_of_stream(entry: &Value) -> Option<u64> {
    number(entry.as_elements()?.get(1)?.as_elements()?.get(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn entries_are_read_from_every_type() {
        let all = Value::Array(vec![bulk("1"), bulk("30")]);
        for form in [Form::List, Form::Queue, Form::Set, Form::SortedSet, Form::Hash] {
            assert_eq!(form.entries(&all), Some(vec![1, 30]));
            assert_eq!(form.entries(&Value::Array(Vec::new())), Some(Vec::new()));
            assert_eq!(form.entries(&Value::Array(vec![bulk("x")])), None);
        }
        assert_eq!(Form::Text.entries(&bulk("1;2;30;")), Some(vec![1, 2, 30]));
        assert_eq!(Form::Text.entries(&bulk("1;x;")), None);
        assert_eq!(Form::Text.entries(&Value::Null), Some(Vec::new()));
        let fields = Value::Array(vec![bulk("entry"), bulk("7")]);
        let stream = Value::Array(vec![Value::Array(vec![bulk("5-1"), fields])]);
        assert_eq!(Form::Stream.entries(&stream), Some(vec![7]));
    }

    #[test]
    fn what_was_taken_is_told_from_nothing_and_from_nonsense() {
        assert_eq!(Form::Queue.taken(&bulk("4")), Some(Some(4)));
        assert_eq!(Form::Set.taken(&Value::Null), Some(None));
        let pair = Value::Array(vec![bulk("4"), bulk("4")]);
        assert_eq!(Form::SortedSet.taken(&pair), Some(Some(4)));
        assert_eq!(Form::SortedSet.taken(&Value::Array(Vec::new())), Some(None));
        assert_eq!(Form::Queue.taken(&bulk("x")), None);
    }

    #[test]
    fn an_entry_that_was_there_already_was_not_put_in() {
        assert!(Form::Set.is_put(&Value::Integer(1)) && !Form::Set.is_put(&Value::Integer(0)));
        assert!(Form::List.is_put(&Value::Integer(5)) && !Form::List.is_put(&Value::Null));
        assert!(Form::Stream.is_put(&bulk("5-1")));
    }
}
