//! The string family, a file per command or tight group.

pub(super) mod get;
pub(super) mod set;
