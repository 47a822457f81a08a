//! The metadata machine: nodes, shards, slot map, settings, and the placement that follows from them.
//!
//! Owns: what shard 0 replicates ([`Topology`]), how a [`Command`] changes it, and the pure function
//! that says which steps would improve it ([`plan`]). Never: moves bytes, opens a connection, reads
//! a clock; whether a node is up comes in as [`Observed`].
//!
//! How a replica moves, one step at a time (each a command in the metadata log, so that any node can
//! take over the plan):
//! ```text
//!   plan() ─▶ BeginStep{AddLearner n4 for n1} ─▶ (the shard's Raft group does it) ─▶ ConfirmStep
//!   plan() ─▶ BeginStep{Promote n4}           ─▶            once caught up         ─▶ ConfirmStep
//!   plan() ─▶ BeginStep{TransferLeader n2}    ─▶            if n1 leads            ─▶ ConfirmStep
//!   plan() ─▶ BeginStep{Remove n1}            ─▶                                   ─▶ ConfirmStep
//! ```
//! Called by `node`: its metadata group applies commands, its membership task plans and carries out.

mod apply;
mod codec;
mod command;
mod invariants;
mod observed;
mod placement;
mod rebalance;
mod rejection;
mod slot_map;
mod state;
mod wire;

pub use apply::Outcome;
pub use codec::CodecError;
pub use command::{Action, Command, NodeRecord, Step};
pub use invariants::Violation;
pub use observed::{Observed, ObservedNode, ObservedShard, Replication};
pub use rebalance::plan;
pub use rejection::{Rejection, RejectionKind};
pub use slot_map::SlotMap;
pub use state::{
    Node, NodeState, Replacement, ReplicaRole, Shard, SlotRange, StepInProgress, Topology, settings,
};
