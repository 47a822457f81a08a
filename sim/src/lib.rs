//! The whole cluster in one thread: seeded, bit-exact, with faults, checks, known mistakes and coverage.
//!
//! Owns: a world in which real nodes live. Never: part of the product; no crate of it knows this one.
//!
//! # What is real
//! - `replication`: workers, groups, leases, snapshots, the codec of messages between peers
//! - `wal`: the log, its recovery, snapshot files, over a disk in memory that keeps only what it promised to keep
//! - `store`, `topology`: what shards and the metadata group apply
//! - `node`: the core, the door, forwarding, calls and answers, the clock, the metadata leader's decisions, loading
//!   and handing out of snapshots, the way in which a replica is built from snapshot and log
//! - `gateway`: connections without their sockets: decoding, windows, transactions, watches, error codes
//!
//! # What is not
//! - Threads and sockets: each process is driven in steps, and anything may happen between two of them. Races between
//!   threads of one process (`wal::desk`, the inboxes, the reading of a lease beside a worker) are not looked for here.
//! - The supervision tree: what it would restart (a replica, the snapshot writer, an io thread, a process) is
//!   restarted by the world.
//! - Membership and reconcile are tasks in the product. Here `control` asks in their place; what they decide is
//!   decided by the product's own code, questions between nodes are answered at once.
//! - Connections between nodes: calls travel in order and break as TCP does, Raft's messages fare worse than they would.
//! - A worker takes one turn in no time, and there is one worker a node.
//!
//! # Where to look
//! `world` is the queue of all that happens; `running` and `transport` carry out what processes ask for; `nemesis` is what
//! goes wrong, `scenario` how a seed draws it; `checks`, `workload` and `rest` are what must hold; `coverage` what was put to
//! the test; `meta` proves that known mistakes are found.

pub mod checks;
mod client;
pub mod clock;
pub mod control;
pub mod coverage;
pub mod meta;
pub mod model;
mod nemesis;
pub mod net;
pub mod play;
pub mod process;
pub mod rest;
pub mod rng;
pub mod runner;
mod running;
pub mod scenario;
pub mod trace;
mod transport;
pub mod workload;
pub mod world;
