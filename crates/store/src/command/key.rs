//! The family that concerns keys whatever they hold, a file per command or tight group.

pub(super) mod del;
pub(super) mod dump;
pub(super) mod exists;
pub(super) mod expire;
pub(super) mod memory;
pub(super) mod object;
pub(in crate::command) mod payload;
pub(super) mod rename;
pub(super) mod restore;
pub(super) mod sort;
pub(super) mod transfer;
pub(super) mod ttl;
