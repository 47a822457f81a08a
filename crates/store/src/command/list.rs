//! The list family, a file per command or tight group.
//!
//! A command that may wait (`wait.rs`) does what its relative does that does not: [`ends::pop`], [`ends::push`], [`pop::pop_first_of`] with
//! [`pop::Popping`], [`transfer::move_element`] with [`transfer::Route`].

pub(super) mod edit;
pub(super) mod ends;
pub(super) mod pop;
pub(super) mod pos;
pub(super) mod range;
pub(super) mod transfer;
pub(super) mod wait;
