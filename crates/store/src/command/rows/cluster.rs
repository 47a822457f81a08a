//! Rows of the family that concerns the cluster; the gateway runs them.

use super::{Command, Group, SessionCommand, flags};

const fn row(name: &'static str, arity: i32, kind: SessionCommand) -> Command {
    Command::session(name, arity, Group::Cluster, kind).with(flags::STALE).since("3.0.0")
}

/// The three that concern one connection stand in its category, as in Redis.
const fn connection(name: &'static str, kind: SessionCommand) -> Command {
    Command::session(name, 1, Group::Cluster, kind)
        .fast()
        .in_categories(flags::CONNECTION)
        .since("3.0.0")
}

/// A subcommand that sets by hand what the cluster decides by itself.
const fn refused(name: &'static str, arity: i32, why: &'static str) -> Command {
    Command::refused(name, arity, Group::Cluster, why)
        .with(flags::STALE | flags::NO_ASYNC_LOADING)
        .since("3.0.0")
}

const SLOTS_ARE_FIXED: &str = "slots are given to shards when a cluster is founded, and the cluster places the replicas \
     of shards by itself; CLUSTER SHARDS shows where they are";
const EPOCH_IS_LOGGED: &str = "the topology and its epoch are kept in the replicated log of the metadata group, where every \
     change counts it up; CLUSTER INFO shows it";

const CHANGES: &[&str] = &["nondeterministic_output"];

pub(crate) const ROWS: &[Command] = &[
    connection("asking", SessionCommand::Asking)
        .doc("", "Says that the next command follows an ASK redirection."),
    Command::container("cluster", Group::Cluster, SessionCommand::Cluster, CLUSTER)
        .since("3.0.0")
        .doc("subcommand", "A container for commands on the cluster."),
    connection("readonly", SessionCommand::ReadOnly)
        .with(flags::LOADING | flags::STALE)
        .doc("", "Lets a replica answer this connection's reads."),
    connection("readwrite", SessionCommand::ReadWrite)
        .with(flags::LOADING | flags::STALE)
        .doc("", "Ends what READONLY began."),
];

const CLUSTER: &[Command] = &[
    refused("cluster|addslots", -3, SLOTS_ARE_FIXED)
        .doc("slot [slot ...]", "Gives slots to a node."),
    refused("cluster|addslotsrange", -4, SLOTS_ARE_FIXED)
        .since("7.0.0")
        .doc("start-slot end-slot [start-slot end-slot ...]", "Gives runs of slots to a node."),
    refused("cluster|bumpepoch", 2, EPOCH_IS_LOGGED)
        .tips(CHANGES)
        .doc("", "Advances the epoch."),
    refused(
        "cluster|count-failure-reports",
        3,
        "nodes do not vote on whether another one has failed: each shard elects a leader when it misses its own; \
         CLUSTER NODES and INFO raft show who is heard of",
    )
    .without(flags::NO_ASYNC_LOADING)
    .tips(CHANGES)
    .doc("node-id", "Counts the nodes that believe another one to have failed."),
    row("cluster|countkeysinslot", 3, SessionCommand::ClusterCountKeysInSlot)
        .doc("slot", "Returns the number of keys in a slot."),
    refused("cluster|delslots", -3, SLOTS_ARE_FIXED)
        .doc("slot [slot ...]", "Takes slots from a node."),
    refused("cluster|delslotsrange", -4, SLOTS_ARE_FIXED)
        .since("7.0.0")
        .doc("start-slot end-slot [start-slot end-slot ...]", "Takes runs of slots from a node."),
    refused(
        "cluster|failover",
        -2,
        "each shard elects its leader by itself, and a node that is stopped with SIGTERM hands its shards over first; \
         stop the node",
    )
    .doc("[FORCE | TAKEOVER]", "Makes a replica take over."),
    refused("cluster|flushslots", 2, SLOTS_ARE_FIXED).doc("", "Takes all slots from a node."),
    refused(
        "cluster|forget",
        3,
        "a node that stays away for longer than node_grace_ms is replaced by itself, on the word of the whole cluster",
    )
    .doc("node-id", "Removes a node."),
    row("cluster|getkeysinslot", 4, SessionCommand::ClusterGetKeysInSlot)
        .tips(CHANGES)
        .cost("O(N) where N is the number of keys returned")
        .doc("slot count", "Returns keys of a slot."),
    row("cluster|help", 2, SessionCommand::ClusterHelp)
        .with(flags::LOADING)
        .since("5.0.0")
        .doc("", "Describes the subcommands."),
    row("cluster|info", 2, SessionCommand::ClusterInfo)
        .tips(CHANGES)
        .doc("", "Describes the cluster's state."),
    row("cluster|keyslot", 3, SessionCommand::ClusterKeySlot)
        .cost("O(N) where N is the length of the key")
        .doc("key", "Returns the slot of a key."),
    row("cluster|links", 2, SessionCommand::ClusterLinks)
        .tips(CHANGES)
        .since("7.0.0")
        .cost("O(N) where N is the number of nodes")
        .doc("", "Describes the connections between nodes."),
    refused(
        "cluster|meet",
        -4,
        "a node joins by itself: start it with `keystead serve --join HOST:PEERPORT`, one address of the cluster is enough",
    )
    .doc("ip port [cluster-bus-port]", "Makes nodes know each other."),
    row("cluster|myid", 2, SessionCommand::ClusterMyId).doc("", "Returns the node's id."),
    row("cluster|myshardid", 2, SessionCommand::ClusterMyShardId)
        .tips(CHANGES)
        .since("7.2.0")
        .doc("", "Returns the id of the node's shard."),
    row("cluster|nodes", 2, SessionCommand::ClusterNodes)
        .tips(CHANGES)
        .cost("O(N) where N is the number of nodes")
        .doc("", "Describes the nodes, a line each."),
    row("cluster|replicas", 3, SessionCommand::ClusterReplicas)
        .with(flags::ADMIN)
        .tips(CHANGES)
        .since("5.0.0")
        .cost("O(N) where N is the number of replicas")
        .doc("node-id", "Describes the replicas of a node."),
    refused(
        "cluster|replicate",
        3,
        "every shard has a replica on up to three nodes, placed and repaired by the cluster; CLUSTER SHARDS shows them",
    )
    .doc("node-id", "Makes a node follow another one."),
    refused(
        "cluster|reset",
        -2,
        "a node leaves with its data: stop it and remove its data directory, and the others replace its replicas",
    )
    .without(flags::NO_ASYNC_LOADING)
    .with(flags::NOSCRIPT)
    .doc("[HARD | SOFT]", "Makes a node forget its cluster."),
    refused("cluster|saveconfig", 2, EPOCH_IS_LOGGED).doc("", "Writes the topology to disk."),
    refused("cluster|set-config-epoch", 3, EPOCH_IS_LOGGED)
        .doc("config-epoch", "Sets the epoch of a fresh node."),
    refused("cluster|setslot", -4, SLOTS_ARE_FIXED).doc(
        "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        "Moves a slot by hand.",
    ),
    row("cluster|shards", 2, SessionCommand::ClusterShards)
        .tips(CHANGES)
        .since("7.0.0")
        .cost("O(N) where N is the number of nodes")
        .doc("", "Describes shards, their slots and nodes."),
    row("cluster|slaves", 3, SessionCommand::ClusterReplicas)
        .with(flags::ADMIN)
        .tips(CHANGES)
        .cost("O(N) where N is the number of replicas")
        .doc("node-id", "Describes the replicas of a node; the old name of CLUSTER REPLICAS."),
    row("cluster|slots", 2, SessionCommand::ClusterSlots)
        .tips(CHANGES)
        .cost("O(N) where N is the number of nodes")
        .doc("", "Maps runs of slots to nodes."),
    row("cluster|sync", -2, SessionCommand::ClusterSync)
        .with(flags::ADMIN)
        .tips(CHANGES)
        .since("Keystead")
        .cost("O(N) on every replica where N is the number of its keys")
        .doc(
            "[timeout-ms]",
            "Waits until all replicas are level, at most 30 s, and compares their digests, shard by shard.",
        ),
];
