//! One test for each fault of the product that was found by simulation and can be shown without a whole world.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use keystead_node::CoreSettings;
use keystead_node::simulation::{Parts, PartsSettings, ReplicaStart};
use keystead_replication::Settings;
use keystead_sim::clock::SimClock;
use keystead_sim::process::Posts;
use keystead_topology::{Command, NodeRecord, NodeState, Topology};
use keystead_types::{LogIndex, NodeId, ShardId};
use keystead_wal::{Batch, Disk, MemoryDisk};

fn record(id: u64) -> NodeRecord {
    NodeRecord {
        id: NodeId(id),
        client_addr: format!("h{id}:1"),
        peer_addr: format!("h{id}:2"),
        zone: String::new(),
        incarnation: 1,
    }
}

/// A node that had been spoken to by a group it does not belong to kept a replica that knew nothing, and waited for
/// that replica to hear of a leader: commands for the shard were refused by this node for good (seed 186).
#[test]
fn a_replica_that_was_never_brought_in_does_not_hide_the_others() {
    let mut topology = Topology::new();
    let found = Command::Found { cluster_id: 1, hash_seed: 1, shards: 1, node: record(2) };
    topology.apply(LogIndex(1), found).expect("it is the first");
    topology.apply(LogIndex(2), Command::RegisterNode { node: record(1) }).expect("it is new");
    let posts = Arc::new(Posts::default());
    posts.set_up(NodeId(2), true);
    let settings = PartsSettings {
        replication: Settings::default(),
        core: CoreSettings::default(),
        hash_seed: 1,
    };
    let clock = SimClock::new(Arc::new(AtomicU64::new(1)), 1, 1_000);
    let mut parts = Parts::new((NodeId(1), 1), settings, clock, Arc::clone(&posts) as _);
    parts.hear_topology(&Arc::new(topology));
    let disk = MemoryDisk::new(1 << 20);
    disk.create_dir(Path::new("/snapshots")).expect("a disk that is on makes directories");
    let place = (&disk, Path::new("/snapshots"));
    let guest = ReplicaStart { id: ShardId::META, group: None, seed: 1 };
    parts.start(guest, place, &mut Batch::new()).expect("a guest needs nothing");
    drop(parts.turn(false));
    parts.propose(&Command::SetNodeState { node: NodeId(1), state: NodeState::Active });
    let sent: Vec<NodeId> = posts.take().into_iter().map(|(to, ..)| to).collect();
    assert_eq!(sent, [NodeId(2)], "the command goes to a node that has the shard");
}
