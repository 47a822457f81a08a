//! A node: shards, the metadata group, routing and forwarding, membership, the one door.
//!
//! Owns: what one process of the cluster does with commands and with its replicas.
//! Never: a client socket (see `gateway`), the text of an error code, a Raft type.

pub mod door;
pub mod status;

pub use door::{Access, Door, Outcome, Refusal, Run, Ticket, UnknownReason};
pub use status::{ClusterView, LogStatus, NodeView, PeerProgress, ReplicaStatus, ShardView, Status};
