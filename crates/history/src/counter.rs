//! A key that many increment, judged without a search, for as many increments as there were.
//!
//! Owns: the conditions that every linearizable counter meets. Never: proves that an order exists (see `linear`): with
//! many increments of unknown outcome a search has as many explanations as they have subsets.
//!
//! - No two increments are answered with the same number.
//! - One that was called after another had returned is answered with more.
//! - No answer is above the number of increments that had been called when it returned.
//! - A read lies between the increments that had certainly happened when it was called and those that had been called
//!   when it returned, and is not below what was answered before it was called.

use crate::linear::Outcome;

/// What clients did to a counter.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    increments: Vec<(u64, Outcome<u64>)>,
    reads: Vec<Read>,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    called: u64,
    returned: u64,
    value: u64,
}

/// What cannot be true of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CounterViolation {
    /// One increment was lost or one number was given twice.
    #[error("two increments were answered with {answer}: one of them did not count")]
    AnsweredTwice {
        /// The number.
        answer: u64,
    },
    /// An answer that does not follow those before it.
    #[error("{found} was answered after {before} had been")]
    WentBack {
        /// What had been answered, or had certainly happened.
        before: u64,
        /// What came after it.
        found: u64,
    },
    /// More than was asked for: an increment took effect twice, or one that was refused took effect.
    #[error(
        "{found} was answered when only {called} increments had been called that were not refused"
    )]
    TooHigh {
        /// Increments called until then.
        called: u64,
        /// The answer.
        found: u64,
    },
}

impl Counter {
    /// Notes an increment that was not refused; its output is the number that it was answered with.
    pub fn increment(&mut self, called: u64, outcome: Outcome<u64>) {
        self.increments.push((called, outcome));
    }

    /// Notes a read; a key that holds nothing is 0.
    pub fn read(&mut self, called: u64, returned: u64, value: u64) {
        self.reads.push(Read { called, returned, value });
    }

    /// Judges what was noted.
    ///
    /// # Errors
    /// The first [`CounterViolation`] found.
    pub fn judge(&self) -> Result<(), CounterViolation> {
        let mut answered: Vec<Read> = Vec::with_capacity(self.increments.len());
        for &(called, outcome) in &self.increments {
            if let Outcome::Returned { at, output } = outcome {
                answered.push(Read { called, returned: at, value: output });
            }
        }
        let mut answers: Vec<u64> = answered.iter().map(|increment| increment.value).collect();
        answers.sort_unstable();
        if let Some(pair) = answers.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CounterViolation::AnsweredTwice { answer: pair[0] });
        }
        let mut calls: Vec<u64> = self.increments.iter().map(|(called, _)| *called).collect();
        calls.sort_unstable();
        let called_until = |time: u64| calls.partition_point(|called| *called <= time) as u64;
        for seen in answered.iter().chain(&self.reads) {
            let called = called_until(seen.returned);
            if seen.value > called {
                return Err(CounterViolation::TooHigh { called, found: seen.value });
            }
        }
        let done = Floor::of(&answered);
        for increment in &answered {
            let before = done.until(increment.called);
            if increment.value <= before {
                return Err(CounterViolation::WentBack { before, found: increment.value });
            }
        }
        let seen = Floor::of(&self.reads);
        for read in &self.reads {
            let before = done.until(read.called).max(seen.until(read.called));
            if read.value < before {
                return Err(CounterViolation::WentBack { before, found: read.value });
            }
        }
        // An increment may not be answered below a read that had ended before it was called either.
        for increment in &answered {
            let before = seen.until(increment.called);
            if increment.value <= before {
                return Err(CounterViolation::WentBack { before, found: increment.value });
            }
        }
        Ok(())
    }
}

/// What a counter had certainly reached at a time: the highest answer, and the number of answers, by then.
struct Floor {
    /// Time of return and what was certain from then on.
    steps: Vec<(u64, u64)>,
}

impl Floor {
    fn of(seen: &[Read]) -> Self {
        let mut steps: Vec<(u64, u64)> =
            seen.iter().map(|seen| (seen.returned, seen.value)).collect();
        steps.sort_unstable();
        let mut highest = 0;
        for (_, value) in &mut steps {
            highest = highest.max(*value);
            *value = highest;
        }
        Self { steps }
    }

    /// What was certain before `time`.
    fn until(&self, time: u64) -> u64 {
        let ended = self.steps.partition_point(|(returned, _)| *returned < time);
        ended.checked_sub(1).map_or(0, |last| self.steps[last].1)
    }
}
