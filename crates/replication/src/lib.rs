//! Raft groups in single-threaded workers: proposals, leases, snapshots, peer transport.
//!
//! Owns: everything between "a run of commands for a shard" and "it is committed, apply it".
//! Never: knows Redis or a key; above this crate nobody knows `raft`.

mod append;
mod cell;
mod driver;
mod entry;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod group;
mod inbox;
mod lease;
mod log;
mod machine;
mod mail;
mod outcome;
mod outputs;
mod primitives;
mod recovery;
mod replay;
mod rng;
mod settings;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod snapshot_file;
mod snapshot_writer;
pub mod transport;
mod worker;

pub use cell::{GroupCell, Members, Progress, Role};
pub use driver::{Driver, Messenger, Surroundings};
pub use entry::{EntryError, ReplicaChange};
pub use inbox::Inbox;
pub use machine::{DumpStep, Machine, Part, Replies};
pub use mail::{Mailer, PeerMessage};
pub use outcome::{Access, Completed, Doubt, Ending, Rejection, ReplyTo, Submission};
pub use outputs::{Event, Outputs};
pub use recovery::{FetchedState, Found, Identity, RecoveryError, Replica, SnapshotPlace};
pub use settings::{Durability, Settings};
pub use snapshot_writer::{SnapshotQueue, write_snapshots};
pub use worker::{GroupInput, Input, Worker};
