//! What the commands of the workload mean: a naive store of four cells, in which a history is judged.
//! Owns: [`Command`], [`Reply`], how they look in RESP, [`Object`] (the model). Never: the product's own store, which
//! is what is being judged.
//!
//! An *object* is all keys with one hash tag, and so in one slot: two strings, a counter and a field of a hash.
//! A transaction over several of them is one operation: if the history of the object is linearizable, transactions
//! within a slot are strictly serializable.

use keystead_history::Model;
use keystead_resp::{Value, encode};

/// Cells of an object: strings 0 and 1, the counter, the hash's field.
pub const CELLS: usize = 4;
const COUNTER: usize = 2;
const FIELD: usize = 3;

/// What an object holds.
pub type Cells = [Option<Vec<u8>>; CELLS];

/// A command on one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// GET or HGET.
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

impl Reply {
    /// The reply in what came over the wire; `None` if it is something else.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Simple(text) if text == "OK" => Some(Self::Ok),
            Value::Integer(number) => Some(Self::Integer(*number)),
            Value::Bulk(bytes) => Some(Self::Bytes(bytes.to_vec())),
            Value::Null => Some(Self::Nil),
            _ => None,
        }
    }
}

impl Command {
    /// Appends the command on the object `tag` as a client sends it.
    pub fn write(&self, tag: &str, out: &mut Vec<u8>) {
        let (string, counter, hash) = (key(tag, self.cell()), key(tag, COUNTER), key(tag, FIELD));
        let mut put = |args: &[&[u8]]| encode::command(out, args.iter().copied());
        match self {
            Self::Get(FIELD) => put(&[b"HGET", &hash, b"f"]),
            Self::Get(_) => put(&[b"GET", &string]),
            Self::Set(FIELD, value) => put(&[b"HSET", &hash, b"f", value]),
            Self::Set(_, value) => put(&[b"SET", &string, value]),
            Self::SetIfAbsent(FIELD, value) => put(&[b"HSETNX", &hash, b"f", value]),
            Self::SetIfAbsent(_, value) => put(&[b"SETNX", &string, value]),
            Self::GetSet(_, value) => put(&[b"GETSET", &string, value]),
            Self::Append(_, value) => put(&[b"APPEND", &string, value]),
            Self::Add(by) => put(&[b"INCRBY", &counter, by.to_string().as_bytes()]),
            Self::Delete(FIELD) => put(&[b"HDEL", &hash, b"f"]),
            Self::Delete(_) => put(&[b"DEL", &string]),
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
        }
    }
}

fn found(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bytes)
}

/// The key of a cell.
#[must_use]
pub fn key(tag: &str, cell: usize) -> Vec<u8> {
    const NAMES: [&str; CELLS] = ["a", "b", "c", "h"];
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
