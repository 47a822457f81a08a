//! Work that the host does for a script, counted like the script's own.
//! Owns: how a function of the host counts while it runs. Never: the count itself, which Lua keeps
//! (`fuel` in `lua/keystead.h`).

use thiserror::Error;

/// Work of looking at one value and making its counterpart: about what that takes, measured in instructions.
pub(crate) const VALUE_WORK: usize = 30;

/// The script did all the work that it may.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("script did more work than a script may do")]
pub(crate) struct Spent;

/// Work of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    done: usize,
    allowed: usize,
}

impl Work {
    /// As much as `fuel` allows.
    #[expect(clippy::cast_possible_truncation, reason = "the integer part is what is wanted")]
    #[expect(clippy::cast_sign_loss, reason = "not below zero")]
    pub(crate) const fn allowed(fuel: f64) -> Self {
        Self { done: 0, allowed: fuel.max(0.0) as usize }
    }

    /// What was done.
    pub(crate) const fn done(&self) -> usize {
        self.done
    }

    /// Counts work that is about to be done.
    pub(crate) const fn spend(&mut self, work: usize) -> Result<(), Spent> {
        self.done = self.done.saturating_add(work);
        if self.done > self.allowed { Err(Spent) } else { Ok(()) }
    }

    /// Counts one value of `bytes`.
    pub(crate) const fn value(&mut self, bytes: usize) -> Result<(), Spent> {
        self.spend(VALUE_WORK + bytes / 16)
    }
}
