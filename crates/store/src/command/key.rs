//! The family that concerns keys whatever they hold, a file per command or tight group.

pub(super) mod del;
