//! The clients, what they ask, and the judgement of what they were told.
//!
//! Owns: the objects and their histories, which operations are asked, connections of clients. Never: retries: an
//! operation whose outcome is not known stays so in its history.
//!
//! Clients send the bytes of real commands to any node's gateway and take its replies apart; nothing in between knows
//! what they mean. A history is judged as soon as its object is left alone; what it may hold then is compared with
//! what is really there when all is at rest. That finds what was lost or happened twice long afterwards.

mod swap;

use std::collections::{BTreeMap, VecDeque};

use keystead_history::{Ends, Operation, Outcome, check};
use keystead_resp::{ReplyDecoder, ReplyLimits, Value};
use keystead_types::NodeId;

use crate::coverage::{Coverage, Event};
use crate::model::{
    Answer, Ask, COUNTER, Cells, Command, Form, KINDS, LIST, Object, SORTED_SET, STRINGS,
    handed_out, swapped,
};
use crate::rng::Rng;
use swap::OpenSwap;

/// Operations after which an object is left alone.
const OPERATIONS_MAX: usize = 80;
/// Operations of unknown outcome after which it is: each doubles what must be thought of.
const UNKNOWN_MAX: usize = 6;
/// Objects that were judged and are still looked at when all is at rest.
const JUDGED_KEPT: usize = 400;

/// An object and its history.
pub struct Story {
    /// The hash tag of its keys.
    pub tag: String,
    history: Vec<Operation<Ask, Answer>>,
    /// Operations under way.
    open: usize,
    unknown: usize,
    is_left: bool,
}

/// An object that was judged.
struct Judged {
    object: usize,
    /// What it may hold.
    ends: Ends<Cells>,
    /// Cells of which something may yet be handed to somebody who waited and is not heard any more.
    awaited: Vec<usize>,
    /// Exchanges of the databases that had been asked for by then.
    swaps: u64,
}

impl Judged {
    /// True if the object may hold this though its databases were exchanged since, and so what somebody waited for in one of them
    /// may have come from the other.
    fn may_be_since(&self, cells: &Cells) -> bool {
        let mut states: Vec<Cells> =
            self.ends.iter().flat_map(|end| [end.clone(), swapped(end.clone())]).collect();
        for cell in &self.awaited {
            let served = states.iter().map(|state| handed_out(state.clone(), *cell));
            let served: Vec<Cells> =
                served.flat_map(|state| [state.clone(), swapped(state)]).collect();
            states.extend(served);
        }
        states.contains(cells)
    }
}

/// What a client waits for, in order.
pub enum Pending {
    /// Replies that are not judged: HELLO, bulk writes.
    Any,
    /// OK: a database of the connection's own choice is never refused.
    Select,
    /// Whether a WATCH was taken.
    Watch,
    /// The end of an exchange of the databases.
    Swap(u64),
    /// The end of an operation.
    Operation {
        /// On which object.
        object: usize,
        /// What was asked.
        ask: Ask,
        /// When.
        called: u64,
        /// Replies before the one that counts: OK and QUEUED of a transaction.
        before: usize,
        /// True if what it answers is what a WATCH stands for.
        is_for_watch: bool,
    },
    /// What an object really holds, as asked.
    Final(usize, Ask),
}

impl Pending {
    /// True if it may be answered long after.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Operation { ask, .. } if ask.waits())
    }
}

/// A client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// The node.
    pub node: NodeId,
    /// In which life.
    pub life: u64,
    /// The connection's number there.
    pub connection: u32,
}

/// One client.
pub struct Client {
    /// Counts its connections: what belongs to an earlier one is void.
    pub epoch: u64,
    /// The connection, if it has one.
    pub wire: Option<Wire>,
    /// What it waits for.
    pub pending: VecDeque<Pending>,
    /// Counts what it sent, so that a timeout knows whether it is over.
    pub batch: u64,
    /// When its last bytes arrive: the next ones do so later.
    pub last_arrival_us: u64,
    /// The database that its connection has selected, if it is sure of that.
    pub selected: Option<usize>,
    /// Where it was sent by MOVED.
    pub sent_to: Option<NodeId>,
    /// What it watches, and what that held.
    pub watched: Option<(usize, usize, Option<Vec<u8>>)>,
    /// True from a WATCH to the transaction that hangs on it: no other one may come between.
    pub is_watching: bool,
    /// True if its connection is to be given up once nothing is pending.
    pub is_spoiled: bool,
    input: Vec<u8>,
    decoder: ReplyDecoder,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            epoch: 0,
            wire: None,
            pending: VecDeque::new(),
            batch: 0,
            last_arrival_us: 0,
            selected: Some(0),
            sent_to: None,
            watched: None,
            is_watching: false,
            is_spoiled: false,
            input: Vec::new(),
            decoder: ReplyDecoder::new(ReplyLimits::default()),
        }
    }
}

impl Client {
    /// The next whole reply in what came.
    pub fn next_reply(&mut self, bytes: &[u8]) -> Option<Value> {
        self.input.extend_from_slice(bytes);
        let decoded = self.decoder.decode(&self.input);
        let (value, length) = decoded.expect("the gateway speaks RESP")?;
        self.input.drain(..length);
        Some(value)
    }

    /// The connection is gone.
    pub fn forget_wire(&mut self) -> VecDeque<Pending> {
        let pending = std::mem::take(&mut self.pending);
        let epoch = self.epoch + 1;
        let (batch, sent_to) = (self.batch, self.sent_to);
        *self = Self { epoch, batch, sent_to, ..Self::default() };
        pending
    }
}

/// See the module.
#[derive(Default)]
pub struct Workload {
    /// The clients.
    pub clients: Vec<Client>,
    stories: Vec<Story>,
    /// The objects that are asked now.
    active: Vec<usize>,
    /// Objects that are left alone while something asked of them is under way.
    leaving: Vec<usize>,
    judged: VecDeque<Judged>,
    /// Exchanges of the databases so far.
    swaps: u64,
    open_swaps: BTreeMap<u64, OpenSwap>,
    /// When those were called of which nobody knows whether they came or will come.
    doubtful_swaps: Vec<u64>,
    tokens: u64,
    /// True while clients begin something new.
    pub is_open: bool,
    /// Until when clients only read.
    pub reads_only_until_us: u64,
}

impl Workload {
    /// True while a client waits.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.clients.iter().any(|client| !client.pending.is_empty())
    }

    /// An object to ask.
    pub fn any_object(&mut self, rng: &mut Rng, wanted: usize) -> usize {
        let stories = &self.stories;
        self.leaving.extend(self.active.extract_if(.., |object| stories[*object].is_left));
        self.leaving.retain(|object| stories[*object].open > 0);
        while self.active.len() < wanted {
            let object = self.stories.len();
            self.stories.push(Story {
                tag: format!("o{object}"),
                history: Vec::new(),
                open: 0,
                unknown: 0,
                is_left: false,
            });
            self.active.push(object);
            self.swaps_to_come(object);
        }
        self.active[rng.index(self.active.len())]
    }

    /// The tag of an object's keys.
    #[must_use]
    pub fn tag(&self, object: usize) -> &str {
        &self.stories[object].tag
    }

    /// True if the object is asked nothing more.
    #[must_use]
    pub fn is_left(&self, object: usize) -> bool {
        self.stories[object].is_left
    }

    fn is_judged(&self, object: usize) -> bool {
        self.stories[object].is_left && self.stories[object].open == 0
    }

    /// An operation to ask.
    pub fn any_ask(&mut self, rng: &mut Rng, may_be_transaction: bool) -> Ask {
        // A script costs a Lua on every replica: few, so that more seeds are played.
        let form = match rng.below(16) {
            0..=3 if may_be_transaction => Form::Transaction,
            4 => Form::Script,
            _ => {
                return Ask::alone(match self.any_command(rng) {
                    Command::Take(cell) if rng.below(2) == 0 => Command::Await(cell),
                    other => other,
                });
            }
        };
        let commands: Vec<Command> =
            (0..rng.between(2, 4)).map(|_| self.any_command(rng)).collect();
        Ask::together(form, commands)
    }

    /// A cell: those of database 0 more often, so that operations meet.
    pub fn any_cell(rng: &mut Rng, kinds: usize) -> usize {
        rng.index(kinds) + if rng.below(4) == 0 { KINDS } else { 0 }
    }

    /// A command on any cell.
    fn any_command(&mut self, rng: &mut Rng) -> Command {
        let cell = Self::any_cell(rng, KINDS);
        match rng.below(24) {
            0 => return Command::Move(cell),
            1 => return Command::Copy(cell),
            _ => {}
        }
        let kind = cell % KINDS;
        if kind == COUNTER {
            return match rng.below(3) {
                0 => Command::Get(cell),
                _ => Command::Add(cell, i64::try_from(rng.between(1, 9)).expect("small")),
            };
        }
        let value = self.token();
        if kind >= LIST {
            return match rng.below(12) {
                0..=3 => Command::Get(cell),
                4 => Command::Delete(cell),
                5..=7 if kind == LIST || kind == SORTED_SET => Command::Take(cell),
                _ => Command::Put(cell, value),
            };
        }
        match rng.below(12) {
            0..=3 => Command::Get(cell),
            4 => Command::SetIfAbsent(cell, value),
            5 => Command::Delete(cell),
            6 if kind < STRINGS => Command::GetSet(cell, value),
            7..=9 if kind < STRINGS => Command::Append(cell, value),
            _ => Command::Set(cell, value),
        }
    }

    /// A value that no other command writes.
    pub fn token(&mut self) -> Vec<u8> {
        self.tokens += 1;
        format!("{};", self.tokens).into_bytes()
    }

    /// An operation was sent.
    pub fn called(&mut self, object: usize) {
        self.stories[object].open += 1;
    }

    /// An operation ended.
    pub fn ended(
        &mut self,
        object: usize,
        operation: Option<Operation<Ask, Answer>>,
        coverage: &mut Coverage,
    ) {
        let story = &mut self.stories[object];
        story.open -= 1;
        if let Some(operation) = operation {
            story.unknown += usize::from(operation.outcome == Outcome::Unknown);
            story.history.push(operation);
        }
        if story.history.len() >= OPERATIONS_MAX || story.unknown >= UNKNOWN_MAX {
            story.is_left = true;
        }
        if story.is_left && story.open == 0 {
            self.judge(object, coverage);
        }
    }

    fn judge(&mut self, object: usize, coverage: &mut Coverage) {
        let story = &mut self.stories[object];
        let history = std::mem::take(&mut story.history);
        let is_open = |op: &&Operation<Ask, Answer>| op.outcome == Outcome::Unknown;
        let open = history.iter().filter(is_open).flat_map(|op| &op.input.commands);
        let awaited: Vec<usize> = open
            .filter(|command| matches!(command, Command::Await(_)))
            .map(Command::cell)
            .collect();
        match check(&Object, &history) {
            Ok(ends) => {
                coverage.count(Event::HistoryJudged);
                if self.judged.len() == JUDGED_KEPT {
                    self.judged.pop_front();
                }
                let swaps = self.swaps;
                self.judged.push_back(Judged { object, ends, awaited, swaps });
            }
            Err(error) if error.is_violation() => {
                let lines: Vec<String> = history.iter().map(|op| format!("{op:?}")).collect();
                panic!("linearizability of {}: {error}\n{}", story.tag, lines.join("\n"));
            }
            Err(_) => coverage.count(Event::HistoryUndecided),
        }
    }

    /// Leaves every object alone, so that all are judged.
    pub fn leave_all(&mut self, coverage: &mut Coverage) {
        self.leaving.clear();
        // All that was ever sent has come by now, or never will.
        self.doubtful_swaps.clear();
        for object in std::mem::take(&mut self.active) {
            let story = &mut self.stories[object];
            if !story.is_left {
                story.is_left = true;
                if story.open == 0 {
                    self.judge(object, coverage);
                }
            }
        }
    }

    /// The objects that were judged and can be compared with what is there.
    #[must_use]
    pub fn judged(&self) -> Vec<usize> {
        self.judged.iter().map(|judged| judged.object).collect()
    }

    /// What an object really holds.
    pub fn compare(&self, object: usize, cells: &Cells) {
        let judged = self.judged.iter().find(|judged| judged.object == object);
        let judged = judged.expect("only judged objects are compared");
        let ends = &judged.ends;
        // Who asks for an exchange asks it of all objects, the judged ones included.
        let may_be_swapped = judged.swaps != self.swaps;
        assert!(
            ends.may_be(cells) || may_be_swapped && judged.may_be_since(cells),
            "lost or doubled: {} holds {cells:?}, its history allows {:?}",
            self.stories[object].tag,
            ends.iter().take(4).collect::<Vec<_>>()
        );
    }

    /// Forgets what was compared.
    pub fn forget_judged(&mut self) {
        let keep = self.judged.len().saturating_sub(JUDGED_KEPT / 8);
        self.judged.drain(..keep);
    }
}

/// What the last reply of an operation says.
pub enum Heard {
    /// It happened.
    Answer(Answer),
    /// Nothing happened.
    Refused,
    /// Nothing happened; another node serves the key.
    Moved(String),
    /// Nobody knows.
    Uncertain,
}

impl Heard {
    /// Reads the reply to `ask`.
    #[must_use]
    pub fn of(ask: &Ask, value: &Value) -> Self {
        if let Some(error) = value.as_error() {
            let mut words = error.split(' ');
            return match words.next().unwrap_or_default() {
                "UNCERTAIN" => Self::Uncertain,
                "MOVED" => Self::Moved(words.nth(1).unwrap_or_default().to_owned()),
                "CLUSTERDOWN" | "TRYAGAIN" | "OVERLOADED" | "OOM" | "EXECABORT" => Self::Refused,
                _ => panic!("{ask:?} was answered with {error}"),
            };
        }
        let read = |(command, value): (&Command, &Value)| {
            command.reply(value).unwrap_or_else(|| panic!("{command:?} was answered {value:?}"))
        };
        if ask.form == Form::Alone {
            return Self::Answer(Answer::Replies(vec![read((&ask.commands[0], value))]));
        }
        let Some(elements) = value.as_elements() else {
            assert!(*value == Value::Null, "{ask:?} was answered {value:?}");
            return Self::Answer(Answer::Aborted);
        };
        assert_eq!(elements.len(), ask.commands.len(), "{ask:?} was answered {value:?}");
        let replies = ask.commands.iter().zip(elements).map(read);
        Self::Answer(Answer::Replies(replies.collect()))
    }
}
