//! A node: shards, the metadata group, routing and forwarding, membership, the one door.
//!
//! Owns: what one process of the cluster does with commands and with its replicas.
//! Never: a client socket (see `gateway`), the text of an error code, a Raft type.
//!
//! Start reading at `door` (how commands enter), `execute` (how they find their shard's leader),
//! `node` (what there is) and `children` (what runs).

mod attended;
mod caller;
mod children;
mod clock;
mod control;
mod core;
pub mod door;
pub mod events;
pub mod eviction;
mod execute;
mod footprint;
mod forward;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod identity;
pub mod internal;
mod keeper;
mod libraries;
mod machine;
mod mailbox;
mod membership;
mod meta;
mod node;
mod primitives;
pub mod pubsub;
mod questions;
mod receiver;
mod reconcile;
mod report;
mod served;
mod shard;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshots;
pub mod status;
mod sync;
pub mod tracking;
mod waits;

pub use attended::Attended;
pub use caller::{CallOutcome, Caller};
pub use children::{OnFatal, children};
pub use clock::NodeClock;
pub use core::{Core, CoreSettings, Post, Routing};
pub use door::{Access, Door, Outcome, Refusal, Run, Standing, Ticket, UnknownReason};
pub use execute::NodeDoor;
pub use identity::{Identity, IdentityError, Stage};
pub use node::{Node, NodeSettings, StartError};
pub use shard::Shard;
pub use status::{
    ClusterView, LogStatus, MemoryStatus, NodeView, PeerProgress, ReplicaStatus, ShardView, Status,
};
pub use sync::{ShardSync, SyncError, SyncReport};
