//! Linearizability of one object: can every operation have taken effect at one moment between call and return?
//!
//! Owns: the search. Never: what an operation means (a [`Model`] says it), several objects at once.
//!
//! The search is that of Wing and Gong (1993) with what Lowe added (2017, "Testing for linearizability"): it walks
//! through calls and returns in the order of time and keeps every *configuration* that explains what was seen so
//! far: the object's state, and which of the open operations have already taken effect. An operation takes effect just
//! in time: when it returns, or when another one that returns needs it before. If no configuration is left, nothing
//! explains the answer that returned last. So memory follows how many operations are open at a time, not how many there were.
//!
//! ```text
//!   SET 1 |-------|                after SET 1 returns:  {1}
//!   SET 2    |---------------|     after GET returns 2:  {2, SET 2 done}      GET 1 would leave {1}
//!   GET 2            |---|         after SET 2 returns:  {2}
//! ```
//! Two rules keep configurations few without losing an explanation:
//! - A read that fits takes effect as soon as it does: it changes nothing, so nobody can miss its being still open.
//! - Of two configurations that differ only in operations of unknown outcome, the one that has used fewer stands for
//!   both: what is unknown need not take effect, so whatever the other can explain, it can.
//!
//! INV-LIN1: a history is refused only if no order explains it, and accepted only if one does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Operations that may be open at one moment, those of unknown outcome included: as many as a mask has bits.
pub const OPEN_MAX: usize = 128;
/// Configurations looked at in all after which a search gives up: seconds of work, and many times what a thousand
/// operations of four clients at a time need.
pub const CONFIGURATIONS_MAX: usize = 1 << 20;
/// States named in a violation.
const STATES_NAMED: usize = 8;

/// What operations mean.
pub trait Model {
    /// The object's state.
    type State: Clone + Debug + Ord;
    /// What is asked.
    type Input: Clone + Debug;
    /// What is answered.
    type Output: Clone + Debug;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `input` in `state`; `None` if it would not have answered `output`. An `output` of `None` is an
    /// answer that nobody heard: then there is always a next state.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// True if the operation changes no state whatever.
    fn is_read(&self, input: &Self::Input) -> bool;
}

/// One operation of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// What was asked.
    pub input: I,
    /// When, on a clock that all operations of the history share. The unit does not matter.
    pub called: u64,
    /// What came of it.
    pub outcome: Outcome<O>,
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<O> {
    /// It was answered.
    Returned {
        /// When. An operation that returns at the very time at which another is called counts as open with it.
        at: u64,
        /// The answer.
        output: O,
    },
    /// Nobody knows: it takes effect at any time after its call, or never.
    Unknown,
}

/// Why a history was not found to be linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven<S: Debug, I: Debug, O: Debug> {
    /// It is not.
    #[error(
        "not linearizable: nothing explains {operation:?}, operation {position} of the history; before it the state \
         could only be one of {states:?}"
    )]
    Violation {
        /// Where the operation stands in the history that was given, from 0.
        position: usize,
        /// The operation whose answer cannot be.
        operation: Operation<I, O>,
        /// States that the operations before allowed, the first few.
        states: Vec<S>,
    },
    /// More was open at once than the search can hold: nothing is said about the history.
    #[error(
        "undecided: more than {max} operations were open at once, those of unknown outcome included; leave a key when \
         a few of its outcomes are unknown"
    )]
    TooManyOpen {
        /// [`OPEN_MAX`].
        max: usize,
    },
    /// Too many explanations had to be kept: nothing is said about the history.
    #[error(
        "undecided: more than {max} configurations were looked at; judge shorter histories, or such of fewer clients"
    )]
    TooManyConfigurations {
        /// [`CONFIGURATIONS_MAX`].
        max: usize,
    },
}

impl<S: Debug, I: Debug, O: Debug> Unproven<S, I, O> {
    /// True if the history is certainly not linearizable; false if the search gave up.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Violation { .. })
    }
}

/// What the object may hold after a history, effects of unknown outcome that may yet come included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends<S> {
    states: BTreeSet<S>,
}

impl<S: Ord> Ends<S> {
    /// True if a read after the history may find this state.
    #[must_use]
    pub fn may_be(&self, state: &S) -> bool {
        self.states.contains(state)
    }

    /// The states, in order.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.states.iter()
    }
}

/// The history of a model's object.
type HistoryOf<M> = [Operation<<M as Model>::Input, <M as Model>::Output>];
/// Why it was not found to be linearizable.
type UnprovenOf<M> = Unproven<<M as Model>::State, <M as Model>::Input, <M as Model>::Output>;

/// Searches for an order of the operations that explains every answer, and returns what the object may then hold.
///
/// The operations may stand in any order. Complexity: about the number of operations times the number of
/// configurations, which grows with what is open at once, in the worst case exponentially.
///
/// # Errors
/// [`Unproven::Violation`] if there is no such order; the others if the search gave up.
pub fn check<M: Model>(model: &M, history: &HistoryOf<M>) -> Result<Ends<M::State>, UnprovenOf<M>> {
    let mut search = Search {
        model,
        history,
        open: [None; OPEN_MAX],
        unknown: 0,
        reads: 0,
        configurations: Configurations::of(model.initial()),
        looked_at: 0,
    };
    for event in events(history) {
        match event {
            Event { is_return: false, position, .. } => search.call(position)?,
            Event { is_return: true, position, .. } => search.return_of(position)?,
        }
    }
    search.ends()
}

/// A call or a return. Calls come first where times are equal, so that what touches counts as open together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: u64,
    is_return: bool,
    position: usize,
}

fn events<I, O>(history: &[Operation<I, O>]) -> Vec<Event> {
    let mut events = Vec::with_capacity(history.len() * 2);
    for (position, operation) in history.iter().enumerate() {
        events.push(Event { at: operation.called, is_return: false, position });
        if let Outcome::Returned { at, .. } = operation.outcome {
            assert!(at >= operation.called, "operation {position} returned before it was called");
            events.push(Event { at, is_return: true, position });
        }
    }
    events.sort_unstable();
    events
}

/// Open operations that have taken effect, as bits.
type Mask = u128;

/// Explanations of what was seen so far: of each state and set of answered operations that have taken effect, the
/// smallest sets of those of unknown outcome that must have, too.
#[derive(Clone)]
struct Configurations<S> {
    used: BTreeMap<(S, Mask), Vec<Mask>>,
}

impl<S: Clone + Ord> Configurations<S> {
    fn of(state: S) -> Self {
        Self { used: BTreeMap::from([((state, 0), vec![0])]) }
    }

    fn none() -> Self {
        Self { used: BTreeMap::new() }
    }

    /// Adds an explanation, unless one stands that differs only in having used less of what is `unknown`.
    /// Returns whether it was added.
    fn add(&mut self, state: S, mask: Mask, unknown: Mask) -> bool {
        let sets = self.used.entry((state, mask & !unknown)).or_default();
        let own = mask & unknown;
        if sets.iter().any(|kept| own & kept == *kept) {
            return false;
        }
        sets.retain(|kept| own & kept != own);
        sets.push(own);
        true
    }

    /// Each explanation: the state, and everything that has taken effect.
    fn iter(&self) -> impl Iterator<Item = (&S, Mask)> {
        self.used.iter().flat_map(|((state, answered), sets)| {
            sets.iter().map(move |set| (state, answered | set))
        })
    }

    fn states(&self) -> BTreeSet<S> {
        self.used.keys().map(|(state, _)| state.clone()).collect()
    }
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a HistoryOf<M>,
    /// Which operation each bit stands for.
    open: [Option<usize>; OPEN_MAX],
    /// Bits of operations whose outcome is unknown.
    unknown: Mask,
    /// Bits of open reads.
    reads: Mask,
    configurations: Configurations<M::State>,
    looked_at: usize,
}

impl<M: Model> Search<'_, M> {
    fn call(&mut self, position: usize) -> Result<(), UnprovenOf<M>> {
        let operation = &self.history[position];
        let is_read = self.model.is_read(&operation.input);
        let is_unknown = matches!(operation.outcome, Outcome::Unknown);
        if is_read && is_unknown {
            // It changes nothing, and nobody heard its answer.
            return Ok(());
        }
        let free = self.open.iter().position(Option::is_none);
        let bit = free.ok_or(Unproven::TooManyOpen { max: OPEN_MAX })?;
        self.open[bit] = Some(position);
        if is_unknown {
            self.unknown |= 1 << bit;
        }
        if is_read {
            self.reads |= 1 << bit;
            // From now on no explanation stands in which it fits and has not taken effect.
            let old = std::mem::replace(&mut self.configurations, Configurations::none());
            for (state, mask) in old.iter() {
                let mask = self.with_reads(state, mask);
                self.configurations.add(state.clone(), mask, self.unknown);
            }
        }
        Ok(())
    }

    fn return_of(&mut self, position: usize) -> Result<(), UnprovenOf<M>> {
        let Some(bit) = self.open.iter().position(|open| *open == Some(position)) else {
            unreachable!("INV-LIN1: operation {position} returns and was never called");
        };
        let own: Mask = 1 << bit;
        let old = std::mem::replace(&mut self.configurations, Configurations::none());
        let reached = self.closure(old.clone(), Some(own))?;
        self.open[bit] = None;
        self.reads &= !own;
        for (state, mask) in reached.iter().filter(|(_, mask)| mask & own != 0) {
            self.configurations.add(state.clone(), mask & !own, self.unknown);
        }
        if self.configurations.used.is_empty() {
            let operation = self.history[position].clone();
            let states = old.states().into_iter().take(STATES_NAMED).collect();
            return Err(Unproven::Violation { position, operation, states });
        }
        Ok(())
    }

    /// Every explanation that follows from these by letting open operations take effect; behind `last`, nothing
    /// further.
    fn closure(
        &mut self,
        from: Configurations<M::State>,
        last: Option<Mask>,
    ) -> Result<Configurations<M::State>, UnprovenOf<M>> {
        let mut fresh: Vec<(M::State, Mask)> =
            from.iter().map(|(state, mask)| (state.clone(), mask)).collect();
        let mut reached = from;
        while let Some((state, mask)) = fresh.pop() {
            if last.is_some_and(|last| mask & last != 0) {
                continue;
            }
            for (bit, position) in self.open.iter().enumerate() {
                let Some(position) = position.filter(|_| mask >> bit & 1 == 0) else { continue };
                let operation = &self.history[position];
                let output = match &operation.outcome {
                    Outcome::Returned { output, .. } => Some(output),
                    Outcome::Unknown => None,
                };
                let Some(next) = self.model.step(&state, &operation.input, output) else {
                    continue;
                };
                let next_mask = self.with_reads(&next, mask | 1 << bit);
                if reached.add(next.clone(), next_mask, self.unknown) {
                    fresh.push((next, next_mask));
                }
            }
            self.looked_at += 1;
            if self.looked_at > CONFIGURATIONS_MAX {
                return Err(Unproven::TooManyConfigurations { max: CONFIGURATIONS_MAX });
            }
        }
        Ok(reached)
    }

    /// The mask with every open read that fits the state.
    fn with_reads(&self, state: &M::State, mut mask: Mask) -> Mask {
        let mut left = self.reads & !mask;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(operation) = self.open[bit].map(|position| &self.history[position]) else {
                continue;
            };
            if let Outcome::Returned { output, .. } = &operation.outcome
                && self.model.step(state, &operation.input, Some(output)).is_some()
            {
                mask |= 1 << bit;
            }
        }
        mask
    }

    fn ends(mut self) -> Result<Ends<M::State>, UnprovenOf<M>> {
        let last = std::mem::replace(&mut self.configurations, Configurations::none());
        let reached = self.closure(last, None)?;
        Ok(Ends { states: reached.states() })
    }
}
