//! What the commands of the workload mean: a naive store of a few cells, in which a history is judged.
//! Owns: [`Command`], [`Reply`], [`Ask`], [`Object`] (the model). Never: how they look on the wire (see `model/wire.rs`), the
//! product's own store, which is what is being judged.
//!
//! An *object* is all keys with one hash tag, and so in one slot: two strings, a counter, a field of a hash, a list, a set, a
//! sorted set and a stream, in each of two databases. Values are tokens, each written once (`7;`), and a cell of many holds
//! them one after the other. A transaction over several of them is one operation, and so is a script: if the history of
//! the object is linearizable, transactions and scripts within a slot are strictly serializable.

mod wire;

use keystead_history::Model;

pub use wire::key;

/// Databases that an object lies in.
pub const DATABASES: usize = 2;
/// Cells of an object in one database: strings 0 and 1, the counter, the hash's field, then those that hold many tokens.
pub const KINDS: usize = 8;
/// Cells of an object: those in database 0, then those in database 1.
pub const CELLS: usize = KINDS * DATABASES;
/// Kinds of cells that hold bytes.
pub(crate) const STRINGS: usize = 2;
pub(crate) const COUNTER: usize = 2;
const FIELD: usize = 3;
/// Cells of many: in the order in which tokens came (list, stream), or in that of their numbers (sets).
pub(crate) const LIST: usize = 4;
const SET: usize = 5;
pub(crate) const SORTED_SET: usize = 6;
const STREAM: usize = 7;

/// What an object holds.
pub type Cells = [Option<Vec<u8>>; CELLS];

/// What an object holds once its databases are exchanged.
#[must_use]
pub fn swapped(mut cells: Cells) -> Cells {
    cells.rotate_left(KINDS);
    cells
}

/// What an object holds once something was handed out of a cell, if there was something.
#[must_use]
pub fn handed_out(mut cells: Cells, cell: usize) -> Cells {
    take(&mut cells[cell]);
    cells
}

/// A command, most of them on one cell.
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
    /// INCRBY; counters only.
    Add(usize, i64),
    /// DEL or HDEL.
    Delete(usize),
    /// RPUSH, SADD, ZADD or XADD.
    Put(usize, Vec<u8>),
    /// LPOP or ZPOPMIN. Nothing is taken of a set (SPOP takes what no model can say) or a stream.
    Take(usize),
    /// BLPOP or BZPOPMIN, alone: what LPOP or ZPOPMIN would do at one moment of the time for which it waits. If it comes back
    /// with nothing, there was nothing when it began.
    Await(usize),
    /// MOVE to the other database.
    Move(usize),
    /// COPY to the other database, in place of what is there.
    Copy(usize),
    /// SELECT. It says where those behind it look; they know by themselves.
    Select(usize),
    /// SWAPDB, on all objects at once.
    Swap,
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// OK.
    Ok,
    /// A number.
    Integer(i64),
    /// Nothing there.
    Nil,
    /// What is there.
    Bytes(Vec<u8>),
}

impl Command {
    /// The cell that the command is about; of those about whole databases, the first.
    #[must_use]
    pub const fn cell(&self) -> usize {
        match self {
            Self::Get(cell)
            | Self::Set(cell, _)
            | Self::SetIfAbsent(cell, _)
            | Self::GetSet(cell, _)
            | Self::Append(cell, _)
            | Self::Add(cell, _)
            | Self::Put(cell, _)
            | Self::Take(cell)
            | Self::Await(cell)
            | Self::Move(cell)
            | Self::Copy(cell)
            | Self::Delete(cell) => *cell,
            Self::Select(database) => *database * KINDS,
            Self::Swap => 0,
        }
    }

    /// What kind of cell that is, which is the same in every database.
    #[must_use]
    pub const fn kind(&self) -> usize {
        self.cell() % KINDS
    }

    /// The database that must be selected.
    #[must_use]
    pub const fn database(&self) -> usize {
        self.cell() / KINDS
    }

    /// True if it changes nothing.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Select(_))
    }

    fn run(&self, cells: &mut Cells) -> Reply {
        let (cell, kind) = (self.cell(), self.kind());
        let was_there = cells[cell].is_some();
        match self {
            Self::Get(_) => found(cells[cell].clone()),
            Self::Set(_, value) => {
                cells[cell] = Some(value.clone());
                if kind == FIELD { Reply::Integer(i64::from(!was_there)) } else { Reply::Ok }
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
            Self::Add(_, by) => add(&mut cells[cell], *by),
            Self::Delete(_) => {
                cells[cell] = None;
                Reply::Integer(i64::from(was_there))
            }
            Self::Put(_, value) => put(&mut cells[cell], kind, value),
            Self::Take(_) | Self::Await(_) => take(&mut cells[cell]),
            Self::Move(_) => {
                let to = elsewhere(cell);
                let is_moved = was_there && cells[to].is_none();
                if is_moved {
                    cells.swap(cell, to);
                }
                Reply::Integer(is_moved.into())
            }
            Self::Copy(_) => {
                if was_there {
                    cells[elsewhere(cell)] = cells[cell].clone();
                }
                Reply::Integer(was_there.into())
            }
            Self::Select(_) => Reply::Ok,
            Self::Swap => {
                cells.rotate_left(KINDS);
                Reply::Ok
            }
        }
    }
}

/// The same cell in the other database.
const fn elsewhere(cell: usize) -> usize {
    (cell + KINDS) % CELLS
}

fn add(held: &mut Option<Vec<u8>>, by: i64) -> Reply {
    let digits = held.as_deref().unwrap_or(b"0");
    let text = std::str::from_utf8(digits).expect("the counter holds digits");
    let sum = text.parse::<i64>().expect("the counter holds digits") + by;
    *held = Some(sum.to_string().into_bytes());
    Reply::Integer(sum)
}

/// Puts a token into a cell of many.
fn put(held: &mut Option<Vec<u8>>, kind: usize, value: &[u8]) -> Reply {
    let whole = held.get_or_insert_default();
    let mut tokens: Vec<&[u8]> = split(whole).collect();
    let at = match kind {
        SET | SORTED_SET => tokens.partition_point(|token| number(token) < number(value)),
        _ => tokens.len(),
    };
    tokens.insert(at, value);
    let count = i64::try_from(tokens.len()).expect("a handful");
    *whole = tokens.concat();
    match kind {
        STREAM => Reply::Ok,
        LIST => Reply::Integer(count),
        _ => Reply::Integer(1),
    }
}

/// Takes the first token of a cell of many.
fn take(held: &mut Option<Vec<u8>>) -> Reply {
    let Some(whole) = held.take() else { return Reply::Nil };
    let taken = split(&whole).next().unwrap_or_default().to_vec();
    let left = whole[taken.len()..].to_vec();
    *held = (!left.is_empty()).then_some(left);
    Reply::Bytes(taken)
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

fn found(value: Option<Vec<u8>>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bytes)
}

/// How commands of an operation go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One by itself.
    Alone,
    /// Within MULTI and EXEC.
    Transaction,
    /// Called by a script.
    Script,
}

/// One operation: a command, or several that take effect together, if wanted behind a WATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The commands.
    pub commands: Vec<Command>,
    /// How they are sent.
    pub form: Form,
    /// The cell that is watched and what it held behind the WATCH: if it changed, nothing happens.
    pub guard: Option<(usize, Option<Vec<u8>>)>,
}

impl Ask {
    /// A command by itself.
    #[must_use]
    pub fn alone(command: Command) -> Self {
        Self { commands: vec![command], form: Form::Alone, guard: None }
    }

    /// Several commands together, with SELECT wherever the next one looks into another database.
    #[must_use]
    pub fn together(form: Form, commands: impl IntoIterator<Item = Command>) -> Self {
        let mut all: Vec<Command> = Vec::new();
        for command in commands {
            let database = command.database();
            if all.last().is_some_and(|last| last.database() != database) {
                all.push(Command::Select(database));
            }
            all.push(command);
        }
        Self { commands: all, form, guard: None }
    }

    /// True if it changes nothing.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.commands.iter().all(Command::is_read)
    }

    /// True if its client may wait for the answer.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.commands.iter().any(|command| matches!(command, Command::Await(_)))
    }
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
        input.is_read()
    }
}
