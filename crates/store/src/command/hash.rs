//! The hash family, a file per command or tight group.

pub(super) mod expire;
pub(super) mod get;
pub(super) mod getall;
pub(super) mod getex;
pub(super) mod incr;
pub(super) mod random;
pub(super) mod scan;
pub(super) mod set;
pub(super) mod ttl;
