//! What clients were told, and whether it can be true.
//!
//! Owns: the judges of histories: [`check`] (linearizability of one key, after any [`Model`]), [`Counter`] (a key that
//! many increment), [`Ledger`] (a key to which many append), [`Basket`] (a key into which many put and from which they
//! take). Never: sends a command, reads a clock, draws a number; whoever has a history brings it along. Called by the
//! simulator and by `keystead torture`.
//!
//! All of them take unknown outcomes for what they are: such an operation took effect once, at any time after it was
//! called, however late, or never. An operation that was refused ("nothing happened") does not stand in a history: what
//! it would have written is then something that nobody wrote, and whoever reads it has found the violation.
//!
//! Linearizability is local: a history of many keys is linearizable if that of each key is. So a key at a time
//! is judged, and its history can be let go of; what a later read of it may still find is in [`Ends`].
//!
//! ```
//! use keystead_history::cell::{Cell, Input, Output};
//! use keystead_history::{Operation, Outcome, check};
//!
//! let write = Operation { input: Input::Set(7), called: 10, outcome: Outcome::Returned { at: 20, output: Output::Done } };
//! let stale = Operation { input: Input::Get, called: 30, outcome: Outcome::Returned { at: 40, output: Output::Value(None) } };
//! assert!(check(&Cell, &[write, stale]).is_err());
//! ```

mod basket;
pub mod cell;
mod counter;
mod ledger;
mod linear;

pub use basket::{Basket, BasketViolation};
pub use counter::{Counter, CounterViolation};
pub use ledger::{Ledger, LedgerViolation};
pub use linear::{CONFIGURATIONS_MAX, Ends, Model, OPEN_MAX, Operation, Outcome, Unproven, check};
