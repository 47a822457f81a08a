//! One client: a connection to one node at a time, and command after command on the keys of one shard.
//! Owns: which command comes next, and what its reply means for the history. Never: sends a write again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use keystead_history::cell::{Input, Output};
use keystead_history::{Operation, Outcome};
use keystead_resp::Value;

use super::Shared;
use super::story::{Fate, Kind, Seen, Story};
use crate::torture::draw::Draw;
use crate::torture::wire::Wire;

/// Before a client dials again, and after a refusal.
const DIAL_PAUSE: Duration = Duration::from_millis(10);
/// One command in this many is not waited for, where clients hang up.
const HANG_UP_EVERY: u64 = 200;

pub(super) struct Client {
    shared: Arc<Shared>,
    shard: u32,
    number: usize,
    /// The place of the node to dial next.
    place: usize,
    /// True if it stays with one node, whatever happens there.
    is_pinned: bool,
    wire: Option<Wire>,
    draw: Draw,
}

/// What is asked of a key.
enum Command {
    Cell(Input),
    Increment,
    Put(u64),
    Take,
    Read,
}

/// A command that is over.
struct Exchange {
    called: u64,
    returned: u64,
    answer: Answer,
}

/// What came of a command.
enum Answer {
    Value(Value),
    Refused,
    /// The connection had ended in order before the command was read: nothing happened.
    CutOff,
    /// The connection, or the word UNCERTAIN.
    Lost,
}

impl Answer {
    /// The fate of a write that certainly did not happen.
    fn refusal(&self) -> Fate {
        if matches!(self, Self::CutOff) { Fate::CutOff } else { Fate::Refused }
    }
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Self {
        let shards = shared.shards as usize;
        let shard = 1 + u32::try_from(number % shards).expect("below the number of shards");
        // Clients of one shard begin at different nodes, also where the number of nodes divides that of shards.
        let place = number % shards + number / shards;
        // One client per shard and node stays there: a shard that is served is seen to be, wherever the others hang.
        let is_pinned = number < shards * shared.addresses.read().len();
        let draw = Draw::new(shared.seed ^ (number as u64 + 1));
        Self { shared, shard, number, place, is_pinned, wire: None, draw }
    }

    pub(super) fn run(mut self) {
        while !self.shared.is_over() {
            let open = self.wire.take().filter(|wire| !wire.is_closed());
            let Some(wire) = open.or_else(|| self.dial()) else { continue };
            let kind = match self.draw.below(10) {
                0..6 => Kind::Cell,
                6 => Kind::Counter,
                7..9 => Kind::Ledger,
                _ => Kind::Basket,
            };
            let story = self.shared.story(self.shard, kind, self.number);
            if !story.enter() {
                self.wire = Some(wire);
                continue;
            }
            self.step(wire, &story);
            self.shared.stop.pause(self.shared.pace);
        }
    }

    fn dial(&mut self) -> Option<Wire> {
        if !self.is_pinned {
            self.place += 1;
        }
        let wire = Wire::connect_as(self.shared.address(self.place), &self.shared.login).ok();
        if wire.is_none() {
            self.shared.stop.pause(DIAL_PAUSE);
        }
        wire
    }

    /// One command, from the call to its place in the history.
    fn step(&mut self, mut wire: Wire, story: &Arc<Story>) {
        let command = self.choose(story);
        let called = self.shared.now();
        let reply = self.ask(&mut wire, story, &command);
        let returned = self.shared.now();
        let is_usable = reply.is_ok();
        let answer = self.read(reply, matches!(command, Command::Cell(Input::Get) | Command::Read));
        if is_usable {
            self.wire = Some(wire);
        }
        let is_refused = matches!(answer, Answer::Refused);
        let exchange = Exchange { called, returned, answer };
        let is_over = match command {
            Command::Cell(input) => self.end_cell(story, input, &exchange),
            Command::Increment => self.end_increment(story, &exchange),
            Command::Put(entry) => self.end_put(story, entry, &exchange),
            Command::Take => self.end_take(story, &exchange),
            Command::Read => self.end_read(story, &exchange),
        };
        if is_over {
            self.shared.hand_in(Arc::clone(story));
        }
        if is_refused {
            self.shared.stop.pause(DIAL_PAUSE);
        }
    }

    fn choose(&mut self, story: &Story) -> Command {
        let choice = self.draw.below(20);
        match story.kind {
            Kind::Cell => Command::Cell(match choice {
                0..9 => Input::Set(story.next_number()),
                9..17 => Input::Get,
                17..19 => Input::SetIfEqual { expected: story.seen(), value: story.next_number() },
                _ => Input::Delete,
            }),
            Kind::Counter if choice < 16 => Command::Increment,
            Kind::Ledger if choice < 14 => Command::Put(story.next_number()),
            Kind::Basket if choice < 10 => Command::Put(story.next_number()),
            Kind::Basket if choice < 16 && story.form.take(&story.key).is_some() => Command::Take,
            Kind::Counter | Kind::Ledger | Kind::Basket => Command::Read,
        }
    }

    fn ask(&mut self, wire: &mut Wire, story: &Story, command: &Command) -> io::Result<Value> {
        let key = story.key.as_str();
        let padded = |value: u64| format!("{value:0>width$}", width = self.shared.value_bytes);
        match command {
            Command::Cell(Input::Set(value)) => wire.send(&["SET", key, &padded(*value)]),
            Command::Cell(Input::SetIfEqual { expected, value }) => {
                wire.send(&["SET", key, &padded(*value), "IFEQ", &padded(*expected)])
            }
            Command::Cell(Input::Delete) => wire.send(&["DEL", key]),
            Command::Cell(Input::Increment) | Command::Increment => wire.send(&["INCR", key]),
            Command::Put(entry) => {
                let words = story.form.put(key, *entry);
                wire.send(&words.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Command::Take => {
                wire.send(&story.form.take(key).expect("chosen only where there is one"))
            }
            Command::Cell(Input::Get) => wire.send(&["GET", key]),
            Command::Read => wire.send(&story.form.read(key)),
        }?;
        if self.shared.hangs_up && self.draw.below(HANG_UP_EVERY) == 0 {
            self.shared.note_hang_up();
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        wire.receive()
    }

    /// What a reply means, whichever command it answers.
    fn read(&self, reply: io::Result<Value>, is_read: bool) -> Answer {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof && self.shared.ends_in_order() =>
            {
                return Answer::CutOff;
            }
            Err(error) => {
                if !is_read {
                    self.shared.doubt(format!("connection: {}", error.kind()));
                }
                return Answer::Lost;
            }
        };
        let Some(text) = reply.as_error() else { return Answer::Value(reply) };
        match text.split_whitespace().next().unwrap_or_default() {
            "UNCERTAIN" => {
                self.shared.doubt(text.to_owned());
                Answer::Lost
            }
            "CLUSTERDOWN" | "TRYAGAIN" | "OVERLOADED" | "OOM" | "LOADING" | "READONLY" => {
                Answer::Refused
            }
            _ => {
                self.shared.note_violation(
                    self.shard,
                    &format!("a command was answered with {text}"),
                    None,
                );
                Answer::Lost
            }
        }
    }

    fn count(&self, exchange: &Exchange, fate: Fate) {
        self.shared.pulse(self.shard).count_write(exchange.called, exchange.returned, fate);
    }

    fn end_cell(&self, story: &Story, input: Input, exchange: &Exchange) -> bool {
        let is_read = input == Input::Get;
        let output = match &exchange.answer {
            Answer::Refused | Answer::CutOff => {
                if !is_read {
                    self.count(exchange, exchange.answer.refusal());
                }
                return story.end_cell(None);
            }
            Answer::Lost => None,
            Answer::Value(value) => self.output(input, value),
        };
        match output {
            _ if is_read && output.is_none() => return story.end_cell(None),
            Some(_) if is_read => self.shared.pulse(self.shard).count_read(),
            Some(_) => self.count(exchange, Fate::Acked),
            None => self.count(exchange, Fate::Uncertain),
        }
        let outcome = output
            .map_or(Outcome::Unknown, |output| Outcome::Returned { at: exchange.returned, output });
        story.end_cell(Some(Operation { input, called: exchange.called, outcome }))
    }

    /// What a cell answered; nothing if it is no answer to such a command.
    fn output(&self, input: Input, value: &Value) -> Option<Output> {
        let is_ok = matches!(value, Value::Simple(text) if text == "OK");
        let output = match input {
            Input::Get if value.is_null() => Some(Output::Value(None)),
            Input::Get => {
                value.as_str().and_then(|t| t.parse().ok()).map(|v| Output::Value(Some(v)))
            }
            Input::Set(_) => is_ok.then_some(Output::Done),
            Input::SetIfEqual { .. } => (is_ok || value.is_null()).then_some(Output::Was(is_ok)),
            Input::Delete => value.as_integer().map(|count| Output::Was(count > 0)),
            Input::Increment => {
                value.as_integer().and_then(|c| u64::try_from(c).ok()).map(Output::Count)
            }
        };
        if output.is_none() {
            self.shared.note_violation(
                self.shard,
                &format!("{input:?} was answered with {value:?}"),
                None,
            );
        }
        output
    }

    fn end_increment(&self, story: &Story, exchange: &Exchange) -> bool {
        let (fate, outcome) = match &exchange.answer {
            Answer::Refused | Answer::CutOff => {
                self.count(exchange, exchange.answer.refusal());
                return story.end_increment(None);
            }
            Answer::Value(value) if value.as_integer().is_some() => {
                let output = value.as_integer().and_then(|c| u64::try_from(c).ok()).unwrap_or(0);
                (Fate::Acked, Outcome::Returned { at: exchange.returned, output })
            }
            Answer::Value(_) | Answer::Lost => (Fate::Uncertain, Outcome::Unknown),
        };
        self.count(exchange, fate);
        story.end_increment(Some((exchange.called, outcome)))
    }

    fn end_put(&self, story: &Story, entry: u64, exchange: &Exchange) -> bool {
        let (fate, outcome) = match &exchange.answer {
            Answer::Refused | Answer::CutOff => {
                self.count(exchange, exchange.answer.refusal());
                return story.end_put(None);
            }
            Answer::Value(value) if story.form.is_put(value) => {
                (Fate::Acked, Outcome::Returned { at: exchange.returned, output: () })
            }
            Answer::Value(value) => {
                self.note_nonsense(story, &format!("putting {entry} in"), value);
                (Fate::Uncertain, Outcome::Unknown)
            }
            Answer::Lost => (Fate::Uncertain, Outcome::Unknown),
        };
        self.count(exchange, fate);
        story.end_put(Some((entry, exchange.called, outcome)))
    }

    fn end_take(&self, story: &Story, exchange: &Exchange) -> bool {
        let taken = match &exchange.answer {
            Answer::Refused | Answer::CutOff => {
                self.count(exchange, exchange.answer.refusal());
                return story.end_take(None);
            }
            Answer::Value(value) => {
                let taken = story.form.taken(value);
                if taken.is_none() {
                    self.note_nonsense(story, "taking an entry out", value);
                }
                taken
            }
            Answer::Lost => None,
        };
        self.count(exchange, if taken.is_some() { Fate::Acked } else { Fate::Uncertain });
        let outcome = taken
            .map_or(Outcome::Unknown, |output| Outcome::Returned { at: exchange.returned, output });
        story.end_take(Some((exchange.called, outcome)))
    }

    fn end_read(&self, story: &Story, exchange: &Exchange) -> bool {
        let seen = match &exchange.answer {
            Answer::Value(value) => {
                let seen = Seen::of(story.form, value);
                if seen.is_none() {
                    self.note_nonsense(story, "reading", value);
                }
                seen
            }
            Answer::Refused | Answer::CutOff | Answer::Lost => None,
        };
        if seen.is_some() {
            self.shared.pulse(self.shard).count_read();
        }
        story.end_read(seen.map(|seen| (exchange.called, exchange.returned, seen)))
    }

    fn note_nonsense(&self, story: &Story, what: &str, value: &Value) {
        let what = format!("{}: {what} was answered with {value:?}", story.key);
        self.shared.note_violation(self.shard, &what, None);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {} of shard {}", self.number, self.shard)
    }
}
