//! One key that holds a number: SET, GET, SET IFEQ, INCR, DEL.
//! Owns: the [`Model`] of it. Never: texts or replies of a protocol.

use crate::linear::Model;

/// A key that holds a number, or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cell;

/// What is asked of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// What does it hold?
    Get,
    /// Hold this.
    Set(u64),
    /// Hold `value` if you hold `expected`.
    SetIfEqual {
        /// Compared with what is there; a key that holds nothing differs from every number.
        expected: u64,
        /// What it then holds.
        value: u64,
    },
    /// Hold one more; nothing counts as 0.
    Increment,
    /// Hold nothing.
    Delete,
}

/// What the key answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a get.
    Value(Option<u64>),
    /// To a set.
    Done,
    /// To a conditional set: whether it was done. To a delete: whether there was anything.
    Was(bool),
    /// To an increment.
    Count(u64),
}

impl Model for Cell {
    type State = Option<u64>;
    type Input = Input;
    type Output = Output;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(
        &self,
        state: &Option<u64>,
        input: &Input,
        output: Option<&Output>,
    ) -> Option<Option<u64>> {
        let (next, answer) = match *input {
            Input::Get => (*state, Output::Value(*state)),
            Input::Set(value) => (Some(value), Output::Done),
            Input::SetIfEqual { expected, value } => match *state == Some(expected) {
                true => (Some(value), Output::Was(true)),
                false => (*state, Output::Was(false)),
            },
            Input::Increment => {
                let count = state.unwrap_or(0) + 1;
                (Some(count), Output::Count(count))
            }
            Input::Delete => (None, Output::Was(state.is_some())),
        };
        output.is_none_or(|output| *output == answer).then_some(next)
    }

    fn is_read(&self, input: &Input) -> bool {
        matches!(input, Input::Get)
    }
}
