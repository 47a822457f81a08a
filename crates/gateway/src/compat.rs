//! Words of the Redis protocol that this house does not use itself, in one place.
//! Owns: the words. Never: a meaning; clients look for them in INFO, HELLO, ROLE and CLUSTER NODES.

/// What a node that takes writes is called there.
pub(crate) const ROLE: &str = "master";
/// What a node without writes is called in CLUSTER replies.
pub(crate) const REPLICA_FLAG: &str = "slave";
