//! One segmented, checksummed log per node, with one fsync for all its groups.
//!
//! Owns: the files in `DIR/log`, the lock on `DIR`, and every call of fsync in the product ([`DurableFile`] makes
//! snapshots durable for others). Knows groups, indexes and bytes. Never: terms, votes, elections, or what a payload
//! means; threads of its own (a supervisor runs [`Writer::run`] and [`Preparer::run`]).
//!
//! - [`Batch`]: records to append, encoded by whoever makes them
//! - [`Log`]: the log without a thread, for the simulator; [`Log::open`] returns what it [`Recovered`]
//! - [`Writer`], [`Preparer`], [`Handle`]: the log behind two threads, for a node
//! - [`Disk`]: the door to the file system; [`RealDisk`] or [`MemoryDisk`], which forgets what was not synced
//!
//! Start reading at `log`; the rule by which a torn tail is told from damage stands at the top of `recovery`, the
//! bytes in `docs/formats.md`.

mod batch;
mod buffer;
mod desk;
mod directory;
pub mod disk;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod inbox;
mod ledger;
mod log;
mod record;
mod recovery;
mod replay;
mod segment;
mod shelf;
mod writer;

pub use batch::{Batch, Position};
pub use disk::{Disk, DiskFile, MemoryDisk, RealDisk};
pub use error::{Kind, WalError};
pub use files::{DurableFile, write_durably};
pub use inbox::{Completion, DiskState, Handle, Refusal, Refused, Submission, Written};
pub use ledger::{Pin, Retired};
pub use log::{Log, LogOptions, LogStats};
pub use record::Record;
pub use recovery::{Fault, Recovered, TornTail, read_group};
pub use replay::RecoveredGroup;
pub use segment::{FORMAT_VERSION, Identity};
pub use writer::{Preparer, Writer, WriterOptions};
