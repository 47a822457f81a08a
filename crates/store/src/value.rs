//! The kinds of values that need more than bytes.
//! Owns: their structure in memory. Never: keys, replies, the clock.

pub(crate) mod hash;
