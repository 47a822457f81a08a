//! What the node says of itself and of the cluster, gathered from its parts.
//! Owns: filling in [`Status`] and [`ClusterView`]. Never: asks another node; what others said is in `heard`.

use std::collections::BTreeMap;
use std::sync::Arc;

use keystead_replication::{Durability, GroupCell, Role};
use keystead_store::DatabaseStats;
use keystead_topology::{NodeState, Topology};
use keystead_types::{Clock, DatabaseId, NodeId, ShardId};
use keystead_wal::DiskState;

use crate::footprint;
use crate::node::{Heard, Node};
use crate::status::{
    ClusterView, LogStatus, MemoryStatus, NodeView, PeerProgress, ReplicaStatus, ShardView, Status,
};

impl Node {
    /// The node as it is now.
    #[must_use]
    pub fn status(&self) -> Status {
        let durability = match self.settings.replication.durability {
            Durability::Fsync => "fsync",
            Durability::Replicated => "replicated",
        };
        let mut status = Status {
            node: self.core.me,
            data_dir: self.settings.data_dir.display().to_string(),
            durability,
            uptime_ms: self.uptime_ms(),
            memory: self.memory(),
            cpu: footprint::cpu(),
            log: self.log_status(),
            supervision: self.tree_text(),
            replication_is_full: self.view_of_cluster().is_full,
            ..Status::default()
        };
        let mut keys = BTreeMap::new();
        for shard in self.shards_here() {
            let stats = shard.stats();
            keys.insert(shard.id, stats.keys);
            status.keys_held += stats.keys;
            status.keys_with_expiry += stats.keys_with_expiry;
            status.expired_keys += stats.expired;
            status.evicted_keys += stats.evicted;
            status.commands_applied += shard.commands_applied();
            if shard.cell.role() == Role::Leader {
                status.keys_led += stats.keys;
                add_databases(&mut status.databases, &shard.database_stats());
            }
        }
        for (id, cell) in self.all_groups() {
            status.entries_applied += cell.entries_applied();
            status.elections_won += cell.elections_won();
            status.replicas.push(replica_status(id, &cell, keys.get(&id).copied(), self));
        }
        status
    }

    /// What memory is used for.
    pub(crate) fn memory(&self) -> MemoryStatus {
        let mut memory = MemoryStatus::default();
        for shard in self.shards_here() {
            let stats = shard.stats();
            memory.entries += stats.entry_bytes;
            memory.tables += stats.table_bytes;
            memory.expiries += stats.index_bytes;
            memory.dumps += stats.dump_pending_bytes;
        }
        memory.log = self.all_groups().iter().map(|(_, cell)| cell.log_bytes()).sum();
        self.footprint.measure(&mut memory);
        memory
    }

    fn all_groups(&self) -> Vec<(ShardId, Arc<GroupCell>)> {
        let meta = self.group(ShardId::META).map(|cell| (ShardId::META, cell));
        let shards = self.shards_here();
        meta.into_iter()
            .chain(shards.iter().map(|shard| (shard.id, Arc::clone(&shard.cell))))
            .collect()
    }

    fn log_status(&self) -> LogStatus {
        let stats = self.log.stats();
        LogStatus {
            bytes: stats.segment_bytes,
            segments: stats.segments as u64,
            syncs: stats.syncs_total,
            writes: stats.blocks_total,
            is_full: self.log.disk_state() == DiskState::Full,
        }
    }

    /// What this node knows of the cluster's leaders: what the metadata leader said, and better, what
    /// its own replicas know.
    pub(crate) fn view_of_cluster(&self) -> Heard {
        let mut heard = Heard::clone(&self.heard.read());
        // What was heard is older than the topology: a node that has just come lacks its replicas, whatever
        // was said before it came.
        let topology = &self.core.routes().topology;
        heard.is_full &= has_all_replicas(topology) && !self.expects_more(topology);
        for (id, cell) in self.groups() {
            if let Some(leader) = cell.leader() {
                heard.leaders.insert(id, leader);
            }
        }
        heard
    }

    /// True while nodes that the cluster was to be founded with have not joined it yet: a founder is alone at
    /// first, and lacks nothing for a cluster of one.
    fn expects_more(&self, topology: &Topology) -> bool {
        self.settings.expect.is_some_and(|expected| topology.nodes().len() < expected)
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn cluster_view(&self) -> Arc<ClusterView> {
        let topology = Arc::clone(&self.core.routes().topology);
        let heard = self.view_of_cluster();
        let nodes = topology.nodes().values().filter(|node| node.state != NodeState::Gone);
        let nodes = nodes.map(|node| NodeView {
            id: node.id,
            client_address: node.client_addr.clone(),
            peer_address: node.peer_addr.clone(),
            zone: node.zone.clone(),
            is_up: node.id == self.core.me || self.is_up(node.id),
        });
        let shards = topology.shards().values().filter(|shard| !shard.id.is_meta());
        let shards: Vec<ShardView> = shards
            .map(|shard| ShardView {
                id: shard.id,
                slot_first: shard.slots.first,
                slot_last: shard.slots.end - 1,
                leader: heard.leaders.get(&shard.id).copied(),
                replicas: shard.replicas.keys().copied().collect(),
            })
            .collect();
        Arc::new(ClusterView {
            epoch: topology.epoch(),
            cluster_id: topology.cluster_id(),
            me: self.core.me,
            nodes: nodes.collect(),
            is_ok: topology.is_founded() && shards.iter().all(|shard| shard.leader.is_some()),
            shards,
            replication_is_full: heard.is_full,
        })
    }

    /// True if the node was heard from within an election timeout.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        let timeout = self.settings.replication.election_timeout();
        let now = self.core.clock.monotonic_now();
        self.outbox.last_heard(node).is_some_and(|heard| now.since(heard) <= timeout)
    }
}

/// Adds what the databases hold in one shard.
fn add_databases(sum: &mut BTreeMap<DatabaseId, DatabaseStats>, of_shard: &[DatabaseStats]) {
    for stats in of_shard {
        let all = sum.entry(stats.database).or_default();
        all.database = stats.database;
        all.keys += stats.keys;
        all.keys_with_expiry += stats.keys_with_expiry;
    }
}

/// True if nobody is on the way in and each shard has all the replicas that it should have.
fn has_all_replicas(topology: &Topology) -> bool {
    let wanted = topology.replicas_wanted();
    topology.nodes().values().all(|node| node.state != NodeState::Joining)
        && topology
            .shards()
            .values()
            .all(|shard| shard.voters().count() == wanted && shard.learners().next().is_none())
}

fn replica_status(id: ShardId, cell: &GroupCell, keys: Option<u64>, node: &Node) -> ReplicaStatus {
    let (log_first, log_last) = cell.log_bounds();
    let progress = cell.progress();
    let members = cell.members();
    let all = members
        .voters
        .iter()
        .map(|node| (*node, false))
        .chain(members.learners.iter().map(|node| (*node, true)));
    let peers = all.map(|(peer, is_learner)| {
        let matched =
            progress.iter().find(|p| p.node == peer).map(|p| p.matched).unwrap_or_default();
        PeerProgress { node: peer, matched, is_learner }
    });
    ReplicaStatus {
        shard: id,
        role: cell.role().name(),
        term: cell.term(),
        leader: cell.leader().unwrap_or_default(),
        commit: cell.commit(),
        applied: cell.applied(),
        log_first,
        log_last,
        snapshot: cell.snapshot(),
        has_lease: cell.may_read(node.core.clock.monotonic_now()),
        keys: keys.unwrap_or(0),
        peers: peers.collect(),
    }
}
