//! A cluster that somebody else runs: found by the addresses of some of its nodes, loaded, watched, never broken.
//! Owns: finding its nodes and shards, counting its changes of leaders. Never: a fault but those that a client makes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use super::cluster::Placement;
use super::error::TortureError;
use super::wire::{Login, Wire, field};

/// A running cluster.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    pub(super) login: Login,
    /// Where clients and nodes connect, node by node.
    pub(super) nodes: Vec<(SocketAddr, SocketAddr)>,
    pub(super) shards: u32,
    leaders: BTreeMap<u32, usize>,
    /// Shards that were seen to have got another leader.
    pub(super) failovers: usize,
}

impl Attached {
    /// Finds the cluster by the first address that answers.
    pub(super) fn find(addresses: &[String], login: Login) -> Result<Self, TortureError> {
        let mut last = None;
        for address in addresses {
            match nodes_at(address, &login) {
                Ok(nodes) if !nodes.is_empty() => {
                    let mut found =
                        Self { login, nodes, shards: 0, leaders: BTreeMap::new(), failovers: 0 };
                    let placement = found.placement();
                    found.shards = placement.replicas.keys().copied().max().unwrap_or(0);
                    found.leaders = placement.leaders;
                    if found.shards == 0 {
                        let address = address.clone();
                        return Err(TortureError::Stranger { address, command: "INFO raft" });
                    }
                    return Ok(found);
                }
                Ok(_) => {
                    last = Some(TortureError::Stranger {
                        address: address.clone(),
                        command: "CLUSTER NODES",
                    })
                }
                Err(source) => {
                    last = Some(TortureError::Address { address: address.clone(), source })
                }
            }
        }
        Err(last.unwrap_or_else(|| TortureError::Address {
            address: String::new(),
            source: io::ErrorKind::InvalidInput.into(),
        }))
    }

    pub(super) fn client_addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|(client, _)| *client).collect()
    }

    /// Looks who leads, and counts the shards that have another leader than at the last look.
    pub(super) fn look(&mut self) {
        for (shard, leader) in self.placement().leaders {
            let before = self.leaders.insert(shard, leader);
            self.failovers +=
                usize::from(shard != 0 && before.is_some_and(|before| before != leader));
        }
    }

    pub(super) fn is_level(&self) -> bool {
        self.nodes.iter().all(|(client, _)| {
            let info = self.text(*client, &["CLUSTER", "INFO"]).unwrap_or_default();
            field(&info, "cluster_state").as_deref() == Some("ok")
                && field(&info, "keystead_replication").as_deref() == Some("full")
        })
    }

    /// Removes the keys of the run.
    pub(super) fn remove_keys(&self, prefix: &str) {
        let Some((client, _)) = self.nodes.first() else { return };
        let Ok(mut wire) = Wire::connect_as(*client, &self.login) else { return };
        let pattern = format!("{prefix}:*");
        let Ok(found) = wire.call(["KEYS", &pattern]) else { return };
        let keystead_resp::Value::Array(keys) = found else { return };
        for key in &keys {
            if let Some(key) = key.as_str() {
                // What stays is named by its prefix; the run is over either way.
                drop(wire.call(["DEL", key]));
            }
        }
    }

    fn placement(&self) -> Placement {
        let mut placement = Placement::default();
        for (at, (client, _)) in self.nodes.iter().enumerate() {
            placement.read(at, &self.text(*client, &["INFO", "raft"]).unwrap_or_default());
        }
        placement
    }

    fn text(&self, node: SocketAddr, command: &[&str]) -> Option<String> {
        let reply = Wire::connect_as(node, &self.login).ok()?.call_all(command).ok()?;
        reply.as_str().map(str::to_owned)
    }
}

/// The nodes of the cluster that the node at `address` belongs to.
fn nodes_at(address: &str, login: &Login) -> io::Result<Vec<(SocketAddr, SocketAddr)>> {
    let place = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let reply = Wire::connect_as(place, login)?.call(["CLUSTER", "NODES"])?;
    let nodes = reply.as_str().unwrap_or_default().lines().filter_map(node_line);
    Ok(nodes.collect::<BTreeSet<_>>().into_iter().collect())
}

/// `id host:port@peerport[,name] flags ...`
fn node_line(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let place = line.split_whitespace().nth(1)?.split(',').next()?;
    let (client, peer_port) = place.split_once('@')?;
    let client = client.to_socket_addrs().ok()?.next()?;
    Some((client, SocketAddr::new(client.ip(), peer_port.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_found_in_cluster_nodes() {
        let line = "00aa 127.0.0.1:7379@17379,host myself,master - 0 0 3 connected 0-100";
        let (client, peer) = node_line(line).expect("a node");
        assert_eq!((client.port(), peer.port()), (7379, 17379));
        assert_eq!(node_line("odd"), None);
    }
}
