//! One key and everything that clients did to it and were told of it.
//!
//! Owns: recording, the judgement over one key, and what remains to be asked of it at the end. Never: sends a command.
//! A story is left for the next one (another key of the same slot) when it is long, or when too many of its
//! outcomes are unknown to be judged quickly. It is judged once nobody is in it any more; what it may hold is kept, and at
//! the end of the run every node is asked for it.

use std::collections::BTreeSet;

use keystead_history::cell::{Cell, Input, Output};
use keystead_history::{Basket, Counter, Ends, Ledger, Operation, Outcome, check};
use keystead_resp::Value;
use parking_lot::Mutex;

use super::form::Form;

/// Operations after which a key is left.
const OPERATIONS_MAX: usize = 1_000;
/// Operations after which a ledger or a basket is left: each read carries all entries.
const ENTRIES_MAX: usize = 200;
/// Unknown outcomes after which a key is left: each may take effect at any time, so each multiplies what is possible.
const UNKNOWN_MAX: usize = 6;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It happened.
    Acked,
    /// It did not happen.
    Refused,
    /// It did not happen: its connection had ended in order before it was read.
    CutOff,
    /// Nobody knows.
    Uncertain,
}

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// SET, SET IFEQ, DEL, GET of several clients; judged for linearizability.
    Cell,
    /// INCR of several clients.
    Counter,
    /// A key to which several clients append, each entry with a mark of its own.
    Ledger,
    /// A key into which several clients put entries, and from which they take some.
    Basket,
}

/// A key and its history.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) key: String,
    pub(super) shard: u32,
    pub(super) kind: Kind,
    pub(super) form: Form,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    cell: Vec<Operation<Input, Output>>,
    counter: Counter,
    ledger: Ledger,
    basket: Basket,
    operations: usize,
    unknown: usize,
    /// Clients whose command is under way.
    open: usize,
    is_left: bool,
    /// The last number given to a write; each is given once.
    numbers: u64,
    /// A value that was there lately.
    seen: u64,
    /// What an increment may have come to at most and must have come to at least.
    called: u64,
    floor: u64,
}

/// What a key may hold at the end.
#[derive(Debug)]
pub(super) enum Remains {
    /// One of these values.
    Cell(Ends<Option<u64>>),
    /// A number from here to there.
    Counter { floor: u64, called: u64 },
    /// Any ledger that goes on as this one.
    Ledger(Ledger),
    /// Any basket that goes on as this one.
    Basket(Basket),
    /// The history was too tangled to be judged.
    Undecided,
}

/// Why a story cannot be true, or was not found to be.
#[derive(Clone, Debug)]
pub(super) enum Flaw {
    /// It cannot be true.
    Violation(String),
    /// The search gave up.
    Undecided(String),
}

impl Story {
    pub(super) fn new(key: String, shard: u32, kind: Kind, form: Form) -> Self {
        Self { key, shard, kind, form, record: Mutex::default() }
    }

    /// Enters the story with a command, unless it was left.
    pub(super) fn enter(&self) -> bool {
        let mut record = self.record.lock();
        if !record.is_left {
            record.open += 1;
        }
        !record.is_left
    }

    /// A number that no write of the story has yet.
    pub(super) fn next_number(&self) -> u64 {
        let mut record = self.record.lock();
        record.numbers += 1;
        record.numbers
    }

    /// A value that was there lately, for a conditional write.
    pub(super) fn seen(&self) -> u64 {
        self.record.lock().seen
    }

    /// Ends a command on a cell. Nothing is noted of one that was refused.
    pub(super) fn end_cell(&self, operation: Option<Operation<Input, Output>>) -> bool {
        self.end(|record| {
            let Some(operation) = operation else { return false };
            match (operation.input, operation.outcome) {
                (
                    Input::Set(value) | Input::SetIfEqual { value, .. },
                    Outcome::Returned { output, .. },
                ) if output != Output::Was(false) => {
                    record.seen = value;
                }
                (_, Outcome::Returned { output: Output::Value(Some(value)), .. }) => {
                    record.seen = value;
                }
                _ => {}
            }
            record.cell.push(operation);
            operation.outcome == Outcome::Unknown
        })
    }

    /// Ends an increment that was not refused.
    pub(super) fn end_increment(&self, operation: Option<(u64, Outcome<u64>)>) -> bool {
        self.end(|record| {
            let Some((called, outcome)) = operation else { return false };
            record.called += 1;
            if let Outcome::Returned { output, .. } = outcome {
                record.floor = record.floor.max(output);
            }
            record.counter.increment(called, outcome);
            outcome == Outcome::Unknown
        })
    }

    /// Ends a command that puts an entry in. Nothing is noted of one that was refused.
    pub(super) fn end_put(&self, operation: Option<(u64, u64, Outcome<()>)>) -> bool {
        self.end(|record| {
            let Some((entry, called, outcome)) = operation else { return false };
            match self.kind {
                Kind::Basket => record.basket.put(entry, called, outcome),
                _ => record.ledger.append(entry, called, outcome),
            }
            outcome == Outcome::Unknown
        })
    }

    /// Ends a command that takes an entry out. Nothing is noted of one that was refused.
    pub(super) fn end_take(&self, operation: Option<(u64, Outcome<Option<u64>>)>) -> bool {
        self.end(|record| {
            let Some((called, outcome)) = operation else { return false };
            record.basket.take(called, outcome);
            outcome == Outcome::Unknown
        })
    }

    /// Ends a read of anything but a cell.
    pub(super) fn end_read(&self, seen: Option<(u64, u64, Seen)>) -> bool {
        self.end(|record| {
            match seen {
                Some((called, returned, Seen::Number(value))) => {
                    record.floor = record.floor.max(value);
                    record.counter.read(called, returned, value);
                }
                Some((called, returned, Seen::Entries(entries))) => match self.kind {
                    Kind::Basket => record.basket.read(called, returned, &entries),
                    _ => record.ledger.read(called, returned, entries),
                },
                None => {}
            }
            false
        })
    }

    /// Notes what a command came to. Returns true to the one that leaves the story as the last: it is then to be judged.
    fn end(&self, note: impl FnOnce(&mut Record) -> bool) -> bool {
        let mut record = self.record.lock();
        let is_unknown = note(&mut record);
        record.operations += 1;
        record.unknown += usize::from(is_unknown);
        record.open -= 1;
        let operations_max = match self.kind {
            Kind::Cell | Kind::Counter => OPERATIONS_MAX,
            Kind::Ledger | Kind::Basket => ENTRIES_MAX,
        };
        record.is_left |= record.operations >= operations_max || record.unknown >= UNKNOWN_MAX;
        record.is_left && record.open == 0
    }

    /// Leaves the story for good, at the end of the run. True if it is to be judged now.
    pub(super) fn leave(&self) -> bool {
        let mut record = self.record.lock();
        let is_new = !record.is_left;
        record.is_left = true;
        is_new && record.open == 0
    }

    /// True if it takes no further commands.
    pub(super) fn is_left(&self) -> bool {
        self.record.lock().is_left
    }

    /// Judges the story, and says what the key may hold from now on.
    pub(super) fn judge(&self) -> Result<Remains, Flaw> {
        let mut record = self.record.lock();
        let violation = |error: &dyn std::fmt::Display| Flaw::Violation(error.to_string());
        match self.kind {
            Kind::Cell => match check(&Cell, &record.cell) {
                Ok(ends) => Ok(Remains::Cell(ends)),
                Err(error) if error.is_violation() => Err(violation(&error)),
                Err(error) => Err(Flaw::Undecided(error.to_string())),
            },
            Kind::Counter => {
                record.counter.judge().map_err(|error| violation(&error))?;
                Ok(Remains::Counter { floor: record.floor, called: record.called })
            }
            // Some hundred reads of as many entries, for each of some thousand keys, would fill the memory: hence settled.
            Kind::Ledger => {
                record.ledger.judge().map_err(|error| violation(&error))?;
                let mut ledger = std::mem::take(&mut record.ledger);
                ledger.settle();
                Ok(Remains::Ledger(ledger))
            }
            Kind::Basket => {
                record.basket.judge().map_err(|error| violation(&error))?;
                let mut basket = std::mem::take(&mut record.basket);
                basket.settle();
                Ok(Remains::Basket(basket))
            }
        }
    }

    /// The history, for whoever looks into a violation: an operation a line, in the order of the calls.
    pub(super) fn tell(&self) -> String {
        let record = self.record.lock();
        let mut text =
            format!("{} (shard {}), times in microseconds of the run\n", self.key, self.shard);
        match self.kind {
            Kind::Cell => {
                let mut operations: Vec<_> = record.cell.iter().collect();
                operations.sort_by_key(|operation| operation.called);
                for operation in operations {
                    let Operation { input, called, outcome } = operation;
                    text.push_str(&format!(
                        "{called:>12} {input:?} {outcome:?}
"
                    ));
                }
            }
            Kind::Counter => text.push_str(&format!("{:#?}\n", record.counter)),
            Kind::Ledger => text.push_str(&format!("{:#?}\n", record.ledger)),
            Kind::Basket => text.push_str(&format!("{:#?}\n", record.basket)),
        }
        text
    }
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A number; 0 if there is nothing.
    Number(u64),
    /// Entries, in the order in which they came.
    Entries(Vec<u64>),
}

impl Seen {
    /// Reads the reply to a read of a key of this type; nothing if it is no answer to that.
    pub(super) fn of(form: Form, reply: &Value) -> Option<Self> {
        match form {
            Form::Number if reply.is_null() => Some(Self::Number(0)),
            Form::Number => reply.as_str()?.parse().ok().map(Self::Number),
            _ => form.entries(reply).map(Self::Entries),
        }
    }
}

impl Remains {
    /// Judges what a node says at the end of the run.
    pub(super) fn judge(&mut self, now: u64, seen: &Seen) -> Result<(), String> {
        match (self, seen) {
            (Self::Undecided, _) => Ok(()),
            (Self::Cell(ends), Seen::Number(value)) => {
                // 0 is never written: it stands for nothing.
                if ends.may_be(&(*value > 0).then_some(*value)) {
                    return Ok(());
                }
                let possible: BTreeSet<_> = ends.iter().collect();
                Err(format!("holds {value} at the end, and may only hold one of {possible:?}"))
            }
            (Self::Counter { floor, called }, Seen::Number(value)) => {
                if value < floor || value > called {
                    return Err(format!(
                        "holds {value} at the end, and must be from {floor} to {called}"
                    ));
                }
                *floor = *value;
                Ok(())
            }
            (Self::Ledger(ledger), Seen::Entries(entries)) => {
                ledger.read(now, now, entries.clone());
                ledger.judge().map_err(|error| error.to_string())
            }
            (Self::Basket(basket), Seen::Entries(entries)) => {
                basket.read(now, now, entries);
                basket.judge().map_err(|error| error.to_string())
            }
            (_, seen) => Err(format!("holds something of another kind: {seen:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: u64, called: u64, at: u64) -> Option<Operation<Input, Output>> {
        let outcome = Outcome::Returned { at, output: Output::Done };
        Some(Operation { input: Input::Set(value), called, outcome })
    }

    #[test]
    fn a_story_is_judged_by_the_last_one_to_leave_it() {
        let story = Story::new("k".into(), 1, Kind::Cell, Form::Number);
        assert!(story.enter() && story.enter());
        assert!(!story.end_cell(set(1, 0, 10)));
        assert!(!story.leave());
        assert!(!story.enter(), "it was left");
        assert!(story.end_cell(set(2, 5, 15)));
        let mut remains = story.judge().expect("an order explains it");
        remains.judge(100, &Seen::Number(2)).unwrap();
        remains.judge(100, &Seen::Number(3)).unwrap_err();
        remains.judge(100, &Seen::Number(0)).unwrap_err();
    }

    #[test]
    fn unknown_outcomes_end_a_story_early() {
        let story = Story::new("k".into(), 1, Kind::Cell, Form::Number);
        for value in 1..=UNKNOWN_MAX as u64 {
            assert!(story.enter());
            let lost =
                Operation { input: Input::Set(value), called: value, outcome: Outcome::Unknown };
            story.end_cell(Some(lost));
        }
        assert!(story.is_left());
        let Ok(Remains::Cell(ends)) = story.judge() else { panic!("unknown is no violation") };
        assert!(ends.may_be(&None) && ends.may_be(&Some(3)));
    }

    #[test]
    fn counters_end_between_certain_and_possible() {
        let story = Story::new("c".into(), 1, Kind::Counter, Form::Number);
        for outcome in [Outcome::Returned { at: 5, output: 1 }, Outcome::Unknown] {
            assert!(story.enter());
            story.end_increment(Some((1, outcome)));
        }
        let mut remains = story.judge().unwrap();
        remains.judge(10, &Seen::Number(0)).unwrap_err();
        remains.judge(10, &Seen::Number(2)).unwrap();
        remains.judge(10, &Seen::Number(1)).unwrap_err();
        remains.judge(10, &Seen::Number(3)).unwrap_err();
    }

    #[test]
    fn ledgers_keep_each_entry_once() {
        let story = Story::new("l".into(), 1, Kind::Ledger, Form::List);
        assert!(story.enter());
        story.end_put(Some((1, 0, Outcome::Returned { at: 5, output: () })));
        let mut remains = story.judge().unwrap();
        remains.judge(10, &Seen::Entries(vec![1])).unwrap();
        remains.judge(10, &Seen::Entries(vec![1, 1])).unwrap_err();
        remains.judge(10, &Seen::Entries(Vec::new())).unwrap_err();
    }

    #[test]
    fn baskets_give_each_entry_out_once() {
        let story = Story::new("b".into(), 1, Kind::Basket, Form::Set);
        for entry in [1, 2] {
            assert!(story.enter());
            story.end_put(Some((entry, 0, Outcome::Returned { at: 5, output: () })));
        }
        assert!(story.enter());
        story.end_take(Some((6, Outcome::Returned { at: 9, output: Some(2) })));
        let mut remains = story.judge().unwrap();
        remains.judge(10, &Seen::Entries(vec![1])).unwrap();
        remains.judge(11, &Seen::Entries(vec![1, 2])).unwrap_err();
    }
}
