//! Hand-made synchronisation of the product under loom, which runs a scenario in every order of events that the memory
//! model allows.
//!
//! Owns: [`scenarios`], and the primitives that stand in for those of the system. Never: a copy of what is tried: the
//! product's own files are compiled here, with `crate::primitives` replaced. Run by `cargo xtask loom`, and in CI.
//!
//! Not here: protocols whose whole state stands behind one lock (the log's inbox, a worker's inbox, mailboxes): their
//! orders are those of the lock. They are tried on real threads by their own tests.

#![allow(dead_code, reason = "a scenario needs a part of the file that it tries")]

mod primitives;

#[path = "../../crates/node/src/attended.rs"]
mod attended;
#[path = "../../crates/replication/src/cell.rs"]
mod cell;
#[path = "../../crates/gateway/src/wake.rs"]
mod wake;

pub mod scenarios;
