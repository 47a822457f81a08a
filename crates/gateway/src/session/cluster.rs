//! CLUSTER: the topology in the words of Redis Cluster, so that its clients find their way.
//! Owns: the form of these replies. Never: decides where anything lies (see `node`).
//!
//! Any node takes any command and forwards it; what is shown here lets clients go to the leader of a
//! slot straight away. Every node appears as one that takes writes, with the slots it leads. A node
//! that holds replicas only has no slots there; which shards it holds is seen in CLUSTER SLOTS.

use std::fmt::Write as _;
use std::sync::Arc;

use keystead_node::{ClusterView, NodeView, ShardView};
use keystead_resp::ReplyWriter;
use keystead_store::command::SessionCommand;
use keystead_types::{NodeId, SLOT_COUNT, Slot};

use crate::compat;
use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall};

/// A node's address, taken apart.
struct Endpoint<'v> {
    host: &'v str,
    port: u16,
}

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn cluster(&mut self, kind: SessionCommand) -> Answer<'a> {
        use SessionCommand as Cmd;
        let view = self.turn.door.cluster();
        match kind {
            Cmd::ClusterInfo => self.reply().verbatim(&state(&view)),
            Cmd::ClusterNodes => self.reply().verbatim(&nodes(&view)),
            Cmd::ClusterSlots => write_slots(&view, &mut self.reply()),
            Cmd::ClusterShards => write_shards(&view, &mut self.reply()),
            Cmd::ClusterMyId | Cmd::ClusterMyShardId => {
                self.reply().bulk(view.me.to_hex40().as_bytes());
            }
            Cmd::ClusterKeySlot => {
                let slot = Slot::of_key(self.arg(2));
                self.reply().integer(i64::from(slot.number()));
            }
            Cmd::ClusterLinks => self.reply().array(0),
            Cmd::ClusterReplicas => return self.cluster_replicas(&view),
            _ => return self.help("cluster"),
        }
        Ok(Verdict::Next)
    }

    /// No node is only the replica of another here, so each has none of its own.
    fn cluster_replicas(&mut self, view: &Arc<ClusterView>) -> Answer<'a> {
        let name = self.arg(2);
        if !view.nodes.iter().any(|node| node.id.to_hex40().as_bytes() == name) {
            return Err(Failure::UnknownNode { name });
        }
        self.reply().array(0);
        Ok(Verdict::Next)
    }
}

/// CLUSTER INFO.
fn state(view: &ClusterView) -> String {
    let slots_of = |shard: &ShardView| u32::from(shard.slot_last - shard.slot_first) + 1;
    let assigned: u32 = view.shards.iter().map(slots_of).sum();
    let served: u32 = view.shards.iter().filter(|shard| shard.leader.is_some()).map(slots_of).sum();
    let leading = view.nodes.iter().filter(|node| led_by(view, node.id).next().is_some());
    debug_assert!(assigned <= u32::from(SLOT_COUNT), "a slot belongs to one shard");
    format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{served}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:{}\r\ncluster_known_nodes:{}\r\n\
         cluster_size:{}\r\ncluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\n\
         cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\nkeystead_replication:{}\r\n",
        if view.is_ok { "ok" } else { "fail" },
        assigned - served,
        view.nodes.len(),
        leading.count(),
        if view.replication_is_full { "full" } else { "repairing" },
        epoch = view.epoch.0,
    )
}

/// CLUSTER NODES.
fn nodes(view: &ClusterView) -> String {
    let mut lines = String::new();
    for node in &view.nodes {
        let (client, peer) = (endpoint(&node.client_address), endpoint(&node.peer_address));
        let myself = if node.id == view.me { "myself," } else { "" };
        let (health, link) =
            if node.is_up { ("", "connected") } else { (",fail?", "disconnected") };
        write!(
            lines,
            "{} {}:{}@{} {myself}{}{health} - 0 0 {} {link}",
            node.id.to_hex40(),
            client.host,
            client.port,
            peer.port,
            compat::ROLE,
            view.epoch.0,
        )
        .expect("writing to a String cannot fail");
        for (first, last) in led_by(view, node.id) {
            if first == last {
                write!(lines, " {first}")
            } else {
                write!(lines, " {first}-{last}")
            }
            .expect("writing to a String cannot fail");
        }
        lines.push('\n');
    }
    lines
}

/// The runs of slots that a node leads, neighbours joined.
fn led_by(view: &ClusterView, node: NodeId) -> impl Iterator<Item = (u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for shard in view.shards.iter().filter(|shard| shard.leader == Some(node)) {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(shard.slot_first) => {
                *last = shard.slot_last;
            }
            _ => runs.push((shard.slot_first, shard.slot_last)),
        }
    }
    runs.into_iter()
}

/// CLUSTER SLOTS: each shard with its leader first, then its other replicas.
fn write_slots(view: &ClusterView, reply: &mut ReplyWriter<'_>) {
    let served: Vec<&ShardView> =
        view.shards.iter().filter(|shard| shard.leader.is_some()).collect();
    reply.array(served.len());
    for shard in served {
        let nodes: Vec<&NodeView> = leader_first(view, shard).collect();
        reply.array(2 + nodes.len());
        reply.integer(i64::from(shard.slot_first));
        reply.integer(i64::from(shard.slot_last));
        for node in nodes {
            let address = endpoint(&node.client_address);
            reply.array(4);
            reply.bulk(address.host.as_bytes());
            reply.integer(i64::from(address.port));
            reply.bulk(node.id.to_hex40().as_bytes());
            reply.array(0);
        }
    }
}

/// CLUSTER SHARDS.
fn write_shards(view: &ClusterView, reply: &mut ReplyWriter<'_>) {
    reply.array(view.shards.len());
    for shard in &view.shards {
        let nodes: Vec<&NodeView> = leader_first(view, shard).collect();
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2);
        reply.integer(i64::from(shard.slot_first));
        reply.integer(i64::from(shard.slot_last));
        reply.bulk(b"nodes");
        reply.array(nodes.len());
        for node in nodes {
            write_shard_node(node, shard, reply);
        }
    }
}

fn write_shard_node(node: &NodeView, shard: &ShardView, reply: &mut ReplyWriter<'_>) {
    let address = endpoint(&node.client_address);
    let role = if shard.leader == Some(node.id) { compat::ROLE } else { "replica" };
    let health = if node.is_up { "online" } else { "fail" };
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(node.id.to_hex40().as_bytes());
    reply.bulk(b"port");
    reply.integer(i64::from(address.port));
    reply.bulk(b"ip");
    reply.bulk(address.host.as_bytes());
    reply.bulk(b"endpoint");
    reply.bulk(address.host.as_bytes());
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"replication-offset");
    reply.integer(0);
    reply.bulk(b"health");
    reply.bulk(health.as_bytes());
}

/// The nodes of a shard that the view has an address for, its leader first.
fn leader_first<'v>(
    view: &'v ClusterView,
    shard: &'v ShardView,
) -> impl Iterator<Item = &'v NodeView> {
    let others = shard.replicas.iter().copied().filter(|node| Some(*node) != shard.leader);
    let ids = shard.leader.into_iter().chain(others);
    ids.filter_map(|id| view.nodes.iter().find(|node| node.id == id))
}

/// Takes `HOST:PORT` apart; a host in brackets (IPv6) loses them, as clients expect it.
fn endpoint(address: &str) -> Endpoint<'_> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Endpoint { host, port: port.parse().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_types::{Epoch, ShardId};

    /// Three nodes, the last of them down, and four shards, the last without a leader.
    fn view() -> ClusterView {
        let node = |id: u64, host: &str, is_up: bool| NodeView {
            id: NodeId(id),
            client_address: format!("{host}:7379"),
            peer_address: format!("{host}:17379"),
            is_up,
            ..NodeView::default()
        };
        let shard = |id: u32, leader: Option<u64>| ShardView {
            id: ShardId(id),
            slot_first: u16::try_from((id - 1) * 4096).unwrap(),
            slot_last: u16::try_from(id * 4096 - 1).unwrap(),
            leader: leader.map(NodeId),
            replicas: vec![NodeId(1), NodeId(2), NodeId(3)],
        };
        ClusterView {
            epoch: Epoch(7),
            me: NodeId(1),
            nodes: vec![node(1, "10.0.0.1", true), node(2, "[::2]", true), node(3, "three", false)],
            shards: vec![shard(1, Some(1)), shard(2, Some(1)), shard(3, Some(2)), shard(4, None)],
            ..ClusterView::default()
        }
    }

    #[test]
    fn nodes_are_listed_with_the_slots_they_lead() {
        let id = |number: u64| NodeId(number).to_hex40();
        let expected = format!(
            "{} 10.0.0.1:7379@17379 myself,master - 0 0 7 connected 0-8191\n\
             {} ::2:7379@17379 master - 0 0 7 connected 8192-12287\n\
             {} three:7379@17379 master,fail? - 0 0 7 disconnected\n",
            id(1),
            id(2),
            id(3)
        );
        assert_eq!(nodes(&view()), expected);
    }

    #[test]
    fn slots_without_a_leader_are_not_counted_as_served() {
        let state = state(&view());
        for field in [
            "cluster_state:fail\r\n",
            "cluster_slots_assigned:16384\r\n",
            "cluster_slots_ok:12288\r\n",
            "cluster_slots_fail:4096\r\n",
            "cluster_known_nodes:3\r\n",
            "cluster_size:2\r\n",
            "cluster_current_epoch:7\r\n",
            "keystead_replication:repairing\r\n",
        ] {
            assert!(state.contains(field), "{field} in {state}");
        }
    }

    #[test]
    fn each_shard_names_its_leader_first() {
        let view = view();
        let ids = |shard: usize| -> Vec<u64> {
            leader_first(&view, &view.shards[shard]).map(|node| node.id.0).collect()
        };
        assert_eq!(ids(0), [1, 2, 3]);
        assert_eq!(ids(2), [2, 1, 3]);
        assert_eq!(ids(3), [1, 2, 3]);
        let mut reply = Vec::new();
        write_slots(&view, &mut ReplyWriter::new(&mut reply, keystead_resp::Protocol::Resp2));
        assert!(reply.starts_with(b"*3\r\n*5\r\n:0\r\n:4095\r\n*4\r\n$8\r\n10.0.0.1\r\n:7379\r\n"));
    }
}
