//! What a node says of itself and of the cluster: plain values for INFO, CLUSTER and the shell.
//! Owns: the shapes. Never: fetches anything; `node` fills them in.

use std::collections::BTreeMap;

use keystead_store::DatabaseStats;
use keystead_types::{DatabaseId, Epoch, LogIndex, NodeId, ShardId, Term};

/// A node's own state at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Where its data lies.
    pub data_dir: String,
    /// `"fsync"` or `"replicated"`.
    pub durability: &'static str,
    /// Milliseconds since the process began to serve.
    pub uptime_ms: u64,
    /// Keys in the shards that this node has a replica of and leads / has at all.
    pub keys_led: u64,
    /// See [`keys_led`](Self::keys_led).
    pub keys_held: u64,
    /// Keys with a time to live among [`keys_held`](Self::keys_held).
    pub keys_with_expiry: u64,
    /// What the databases hold of [`keys_led`](Self::keys_led), those without keys left out.
    pub databases: BTreeMap<DatabaseId, DatabaseStats>,
    /// What memory is used for.
    pub memory: MemoryStatus,
    /// The processor time that the process has used; `None` where the system does not say.
    pub cpu: Option<CpuStatus>,
    /// The replicas on this node.
    pub replicas: Vec<ReplicaStatus>,
    /// The node's log.
    pub log: LogStatus,
    /// The supervision tree, already drawn as text (one child a line, indented).
    pub supervision: String,
    /// Totals since start: commands that went through the log and entries they were packed into.
    pub commands_applied: u64,
    /// See [`commands_applied`](Self::commands_applied).
    pub entries_applied: u64,
    /// Elections that this node's replicas won since start.
    pub elections_won: u64,
    /// Keys removed because their time was up, and keys that were asked for and found / not found.
    pub expired_keys: u64,
    /// Keys removed to make room since start.
    pub evicted_keys: u64,
    /// True if every shard has all the replicas it should have and all are level.
    pub replication_is_full: bool,
}

/// What a node's memory is used for, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStatus {
    /// Keys and values, with what the allocator rounds them up by.
    pub entries: u64,
    /// The tables over them.
    pub tables: u64,
    /// The index of what expires when.
    pub expiries: u64,
    /// What a running snapshot holds back.
    pub dumps: u64,
    /// The part of the replicas' logs that is in memory.
    pub log: u64,
    /// What the process needs without any of these: program, threads, idle buffers. The least that was seen.
    pub startup: u64,
    /// What the system says that the process occupies; 0 where it does not say.
    pub resident: u64,
    /// The most that it ever did.
    pub resident_peak: u64,
    /// What the machine has; 0 where the system does not say.
    pub machine: u64,
}

/// Processor time that the process has used, in the steps in which the system counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuStatus {
    /// In its own code, milliseconds.
    pub user_ms: u64,
    /// In the system's, milliseconds.
    pub system_ms: u64,
}

impl MemoryStatus {
    /// All that is counted, what the process needs anyway included.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.startup + self.counted()
    }

    /// All that is counted beside it.
    #[must_use]
    pub const fn counted(&self) -> u64 {
        self.entries + self.tables + self.expiries + self.dumps + self.log
    }
}

/// One replica on this node.
#[derive(Clone, Debug, Default)]
pub struct ReplicaStatus {
    /// The shard; 0 is the metadata group.
    pub shard: ShardId,
    /// `"leader"`, `"follower"`, `"candidate"`, `"learner"` or `"down"`.
    pub role: &'static str,
    /// The replica's term.
    pub term: Term,
    /// The leader it knows, or 0.
    pub leader: NodeId,
    /// Highest index known to be committed.
    pub commit: LogIndex,
    /// Highest index applied.
    pub applied: LogIndex,
    /// First and last index in its log.
    pub log_first: LogIndex,
    /// See [`log_first`](Self::log_first).
    pub log_last: LogIndex,
    /// Index of its newest snapshot.
    pub snapshot: LogIndex,
    /// True while it may answer reads from memory.
    pub has_lease: bool,
    /// Number of keys.
    pub keys: u64,
    /// Voters and learners, and for a leader how far each has come.
    pub peers: Vec<PeerProgress>,
}

/// How far a replica elsewhere has come, as its leader knows.
#[derive(Clone, Debug, Default)]
pub struct PeerProgress {
    /// Its node.
    pub node: NodeId,
    /// Highest index known to be in its log; 0 if this node does not lead the shard.
    pub matched: LogIndex,
    /// True if it does not vote yet.
    pub is_learner: bool,
}

/// The node's log.
#[derive(Clone, Debug, Default)]
pub struct LogStatus {
    /// Bytes of all segments on disk.
    pub bytes: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Calls of fdatasync since start.
    pub syncs: u64,
    /// Blocks written since start.
    pub writes: u64,
    /// True while the disk has no room for another segment.
    pub is_full: bool,
}

/// The cluster as this node knows it.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// Version of the topology; 0 before the node has founded or joined a cluster.
    pub epoch: Epoch,
    /// The cluster's id, 0 if none.
    pub cluster_id: u64,
    /// This node.
    pub me: NodeId,
    /// All nodes.
    pub nodes: Vec<NodeView>,
    /// All shards that hold keys, in slot order.
    pub shards: Vec<ShardView>,
    /// True if every slot has a leader that this node knows.
    pub is_ok: bool,
    /// True if every shard has all the replicas it should have and all are level, as far as this node knows.
    pub replication_is_full: bool,
}

/// One node of the cluster.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Where it answers clients, `HOST:PORT`.
    pub client_address: String,
    /// Where it answers nodes, `HOST:PORT`.
    pub peer_address: String,
    /// Its zone, empty if none was given.
    pub zone: String,
    /// True if it was heard from within the election timeout, or is this node.
    pub is_up: bool,
}

/// One shard of the cluster.
#[derive(Clone, Debug, Default)]
pub struct ShardView {
    /// Its id.
    pub id: ShardId,
    /// First and last slot it serves.
    pub slot_first: u16,
    /// See [`slot_first`](Self::slot_first).
    pub slot_last: u16,
    /// The node that leads it, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The nodes that have a replica, the leader included.
    pub replicas: Vec<NodeId>,
}
