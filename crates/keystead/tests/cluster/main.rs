//! A cluster of real processes: what it promises while they are killed, paused, emptied and filled up.
//!
//! Owns: the tests of the built program as its users meet it. Never: looks into a process; everything
//! is asked over its client port, its peer port, its log lines or its exit code.
//!
//! Tests take turns (see [`cluster::Turn`]): each starts three processes and measures times. Setting
//! `KEYSTEAD_TORTURE_ROUNDS` makes those with rounds longer.
#![cfg(all(feature = "cli", unix))]
#![expect(
    clippy::print_stderr,
    reason = "figures, and the logs of nodes behind a failure, are for who runs it"
)]

mod cluster;
mod faults;
mod load;
mod node;
mod wait;
mod wire;

mod channels;
mod clients;
mod damage;
mod databases;
mod disk;
mod eviction;
mod failover;
mod hostile;
mod membership;
mod memory;
mod others;
mod scenario;
mod scripts;
mod shutdown;
mod snapshots;
mod supervision;
mod torture;
mod tracking;
mod waiting;
