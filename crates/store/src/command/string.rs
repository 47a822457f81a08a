//! The string family, a file per command or tight group.

pub(super) mod append;
pub(super) mod compare;
pub(super) mod get;
pub(super) mod getex;
pub(super) mod incr;
pub(super) mod incrbyfloat;
pub(super) mod lcs;
pub(super) mod set;
