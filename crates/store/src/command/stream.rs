//! The stream family, a file per command or tight group.

pub(super) mod ack;
pub(super) mod add;
mod arguments;
pub(super) mod claim;
pub(super) mod delete;
pub(super) mod group;
pub(super) mod info;
pub(super) mod pending;
pub(super) mod range;
pub(super) mod read;
