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
    row("cluster|countkeysinslot", 3, SessionCommand::ClusterCountKeysInSlot)
        .doc("slot", "Returns the number of keys in a slot."),
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
    row("cluster|shards", 2, SessionCommand::ClusterShards)
        .tips(CHANGES)
        .since("7.0.0")
        .cost("O(N) where N is the number of nodes")
        .doc("", "Describes shards, their slots and nodes."),
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
