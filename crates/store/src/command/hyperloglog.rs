//! The HyperLogLog family: sketches of how many different elements came, kept in strings.

pub(super) mod count;
pub(super) mod debug;
mod estimate;
pub(super) mod self_test;
mod sketch;
