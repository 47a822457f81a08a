//! What the commands of the workload mean: a naive store of a few cells, in which a history is judged.
//! Owns: [`Command`], [`Reply`], how they look in RESP, [`Object`] (the model). Never: the product's own store, which
//! is what is being judged.
//!
//! An *object* is all keys with one hash tag, and so in one slot: two strings, a counter, a field of a hash, a list, a set, a
//! sorted set and a stream. Values are tokens, each written once (`7;`), and a cell of many holds them one after the other.
//! A transaction over several of them is one operation: if the history of the object is linearizable, transactions
//! within a slot are strictly serializable.

use keystead_history::Model;
use keystead_resp::{Value, encode};

/// Cells of an object: strings 0 and 1, the counter, the hash's field, then those that hold many tokens.
pub const CELLS: usize = 8;
const COUNTER: usize = 2;
const FIELD: usize = 3;
/// Cells of many: in the order in which tokens came (list, stream), or in that of their numbers (sets).
pub(crate) const LIST: usize = 4;
const SET: usize = 5;
pub(crate) const SORTED_SET: usize = 6;
const STREAM: usize = 7;

/// What an object holds.
pub type Cells = [Option<Vec<u8>>; CELLS];

/// A command on one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// GET, HGET, or all that a cell of many holds.
    Get(usize),
    /// SET or HSET.
    Set(usize, Vec<u8>),
    /// SETNX or HSETNX.
    SetIfAbsent(usize, Vec<u8>),
    /// GETSET; strings only.
    GetSet(usize, Vec<u8>),
    /// APPEND; strings only.
    Append(usize, Vec<u8>),
    /// INCRBY; the counter only.
    Add(i64),
    /// DEL or HDEL.
    Delete(usize),
    /// RPUSH, SADD, ZADD or XADD.
    Put(usize, Vec<u8>),
    /// LPOP or ZPOPMIN. Nothing is taken of a set (SPOP takes what no model can say) or a stream.
    Take(usize),
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `OK`.
    Ok,
    /// Nothing there.
    Nil,
    /// A number.
    Integer(i64),
    /// A value.
    Bytes(Vec<u8>),
}

impl Command {
    /// Appends the command on the object `tag` as a client sends it.
    pub fn write(&self, tag: &str, out: &mut Vec<u8>) {
        let key = key(tag, self.cell());
        let mut put = |args: &[&[u8]]| encode::command(out, args.iter().copied());
        match self {
            Self::Get(FIELD) => put(&[b"HGET", &key, b"f"]),
            Self::Get(LIST) => put(&[b"LRANGE", &key, b"0", b"-1"]),
            Self::Get(SET) => put(&[b"SMEMBERS", &key]),
            Self::Get(SORTED_SET) => put(&[b"ZRANGE", &key, b"0", b"-1"]),
            Self::Get(STREAM) => put(&[b"XRANGE", &key, b"-", b"+"]),
            Self::Get(_) => put(&[b"GET", &key]),
            Self::Set(FIELD, value) => put(&[b"HSET", &key, b"f", value]),
            Self::Set(_, value) => put(&[b"SET", &key, value]),
            Self::SetIfAbsent(FIELD, value) => put(&[b"HSETNX", &key, b"f", value]),
            Self::SetIfAbsent(_, value) => put(&[b"SETNX", &key, value]),
            Self::GetSet(_, value) => put(&[b"GETSET", &key, value]),
            Self::Append(_, value) => put(&[b"APPEND", &key, value]),
            Self::Add(by) => put(&[b"INCRBY", &key, by.to_string().as_bytes()]),
            Self::Delete(FIELD) => put(&[b"HDEL", &key, b"f"]),
            Self::Delete(_) => put(&[b"DEL", &key]),
            Self::Put(SET, value) => put(&[b"SADD", &key, value]),
            Self::Put(SORTED_SET, value) => {
                put(&[b"ZADD", &key, number(value).to_string().as_bytes(), value]);
            }
            Self::Put(STREAM, value) => put(&[b"XADD", &key, b"*", b"f", value]),
            Self::Put(_, value) => put(&[b"RPUSH", &key, value]),
            Self::Take(SORTED_SET) => put(&[b"ZPOPMIN", &key]),
            Self::Take(_) => put(&[b"LPOP", &key]),
        }
    }

    /// What the command answered, in what came over the wire; `None` if that is no answer to it.
    #[must_use]
    pub fn reply(&self, value: &Value) -> Option<Reply> {
        match (self, value) {
            // The id follows from the time, which nobody here knows.
            (Self::Put(STREAM, _), Value::Bulk(_)) => Some(Reply::Ok),
            // The member and its score.
            (Self::Take(SORTED_SET), Value::Array(pair)) => Some(match pair.first() {
                Some(member) => Reply::Bytes(member.as_bytes()?.to_vec()),
                None => Reply::Nil,
            }),
            (Self::Get(cell @ LIST..), Value::Array(_) | Value::Set(_)) => {
                let tokens = value.as_elements()?.iter().map(token);
                let mut tokens: Vec<Vec<u8>> = tokens.collect::<Option<_>>()?;
                if *cell == SET {
                    tokens.sort_by_key(|token| number(token));
                }
                Some(if tokens.is_empty() { Reply::Nil } else { Reply::Bytes(tokens.concat()) })
            }
            (_, Value::Simple(text)) if text == "OK" => Some(Reply::Ok),
            (_, Value::Integer(number)) => Some(Reply::Integer(*number)),
            (_, Value::Bulk(bytes)) => Some(Reply::Bytes(bytes.clone())),
            (_, Value::Null) => Some(Reply::Nil),
            _ => None,
        }
    }

    /// The cell that it is about.
    #[must_use]
    pub const fn cell(&self) -> usize {
        match self {
            Self::Get(cell)
            | Self::Set(cell, _)
            | Self::SetIfAbsent(cell, _)
            | Self::GetSet(cell, _)
            | Self::Append(cell, _)
            | Self::Put(cell, _)
            | Self::Take(cell)
            | Self::Delete(cell) => *cell,
            Self::Add(_) => COUNTER,
        }
    }

    /// True if it changes nothing.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::Get(_))
    }

    /// Does it, and answers.
    fn run(&self, cells: &mut Cells) -> Reply {
        let cell = self.cell();
        let was_there = cells[cell].is_some();
        match self {
            Self::Get(_) => found(cells[cell].clone()),
            Self::Set(_, value) => {
                cells[cell] = Some(value.clone());
                if cell == FIELD { Reply::Integer(i64::from(!was_there)) } else { Reply::Ok }
            }
            Self::SetIfAbsent(_, value) => {
                cells[cell].get_or_insert_with(|| value.clone());
                Reply::Integer(i64::from(!was_there))
            }
            Self::GetSet(_, value) => found(cells[cell].replace(value.clone())),
            Self::Append(_, value) => {
                let whole = cells[cell].get_or_insert_default();
                whole.extend_from_slice(value);
                Reply::Integer(i64::try_from(whole.len()).expect("values are short"))
            }
            Self::Add(by) => {
                let digits = cells[cell].as_deref().unwrap_or(b"0");
                let text = std::str::from_utf8(digits).expect("the counter holds digits");
                let sum = text.parse::<i64>().expect("the counter holds digits") + by;
                cells[cell] = Some(sum.to_string().into_bytes());
                Reply::Integer(sum)
            }
            Self::Delete(_) => {
                cells[cell] = None;
                Reply::Integer(i64::from(was_there))
            }
            Self::Put(_, value) => put(&mut cells[cell], cell, value),
            Self::Take(_) => {
                let Some(held) = cells[cell].take() else { return Reply::Nil };
                let taken = split(&held).next().unwrap_or_default().to_vec();
                let left = held[taken.len()..].to_vec();
                cells[cell] = (!left.is_empty()).then_some(left);
                Reply::Bytes(taken)
            }
        }
    }
}

/// Puts a token into a cell of many.
fn put(held: &mut Option<Vec<u8>>, cell: usize, value: &[u8]) -> Reply {
    let whole = held.get_or_insert_default();
    let mut tokens: Vec<&[u8]> = split(whole).collect();
    let at = match cell {
        SET | SORTED_SET => tokens.partition_point(|token| number(token) < number(value)),
        _ => tokens.len(),
    };
    tokens.insert(at, value);
    let count = i64::try_from(tokens.len()).expect("a handful");
    *whole = tokens.concat();
    match cell {
        STREAM => Reply::Ok,
        LIST => Reply::Integer(count),
        _ => Reply::Integer(1),
    }
}

/// The tokens in what a cell of many holds.
fn split(held: &[u8]) -> impl Iterator<Item = &[u8]> {
    held.split_inclusive(|byte| *byte == b';')
}

/// The number of a token.
fn number(token: &[u8]) -> u64 {
    let digits = token.strip_suffix(b";").unwrap_or(token);
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The token in an element of a cell of many: the element itself, or the value behind the field of a stream's entry.
fn token(element: &Value) -> Option<Vec<u8>> {
    let value = match element.as_elements() {
        Some(entry) => entry.get(1)?.as_elements()?.get(1)?,
        None => element,
    };
    value.as_bytes().map(<[u8]>::to_vec)
}

fn found(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bytes)
}

/// The key of a cell.
#[must_use]
pub fn key(tag: &str, cell: usize) -> Vec<u8> {
    const NAMES: [&str; CELLS] = ["a", "b", "c", "h", "l", "s", "z", "x"];
    format!("{{{tag}}}{}", NAMES[cell]).into_bytes()
}

/// One operation: a command, or several in a MULTI, if wanted behind a WATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The commands.
    pub commands: Vec<Command>,
    /// True for a MULTI.
    pub is_transaction: bool,
    /// The cell that is watched and what it held behind the WATCH: if it changed, nothing happens.
    pub guard: Option<(usize, Option<Vec<u8>>)>,
}

/// What is answered to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The commands' replies.
    Replies(Vec<Reply>),
    /// The transaction was not executed, because of its watch.
    Aborted,
}

/// The model of one object.
#[derive(Clone, Copy, Debug)]
pub struct Object;

impl Model for Object {
    type State = Cells;
    type Input = Ask;
    type Output = Answer;

    fn initial(&self) -> Cells {
        Cells::default()
    }

    fn step(&self, state: &Cells, input: &Ask, output: Option<&Answer>) -> Option<Cells> {
        if output == Some(&Answer::Aborted) {
            // A watch may be lost with the node that kept it, and then counts as dirty.
            return input.guard.is_some().then(|| state.clone());
        }
        if let Some((cell, value)) = &input.guard
            && state[*cell] != *value
        {
            // Executed though the key had changed; or, if nobody heard, aborted.
            return output.is_none().then(|| state.clone());
        }
        let mut after = state.clone();
        for (position, command) in input.commands.iter().enumerate() {
            let reply = command.run(&mut after);
            if let Some(Answer::Replies(heard)) = output
                && heard.get(position) != Some(&reply)
            {
                return None;
            }
        }
        Some(after)
    }

    fn is_read(&self, input: &Ask) -> bool {
        input.commands.iter().all(Command::is_read)
    }
}
