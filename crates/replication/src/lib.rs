//! Raft groups in single-threaded workers: proposals, leases, snapshots, peer transport.
//!
//! Owns: everything between "a run of commands for a shard" and "it is committed, apply it".
//! Never: knows Redis or a key; above this crate nobody knows `raft`.

pub mod snapshot_file;
pub mod transport;
