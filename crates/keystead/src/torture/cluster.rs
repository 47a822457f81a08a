//! A cluster of processes that this program started.
//!
//! Owns: the nodes, their addresses, namespaces and disks; founding, waiting for level, who leads what, comparing digests.
//! Never: a fault by its own decision, a verdict.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use keystead_replication::transport::{Caller, Hello, Purpose};
use keystead_types::NodeId;
use serde_json::{Value as Json, json};

use super::error::TortureError;
use super::image::Image;
use super::network::Network;
use super::node::{Launch, Node};
use super::wait::try_for;

/// Longest wait for one answer of a node's peer port.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Ports of nodes in namespaces, where nobody else is.
const CLIENT_PORT: u16 = 7379;
const PEER_PORT: u16 = 17379;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Nodes.
    pub nodes: usize,
    /// Shards.
    pub shards: u32,
    /// Further flags of every node.
    pub flags: Vec<String>,
    /// The program.
    pub program: PathBuf,
    /// Words before it.
    pub prefix: Vec<String>,
    /// Faults may be armed in the nodes.
    pub takes_faults: bool,
}

/// Nodes of one cluster; they end with the value.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: nobody runs when disks and links go.
    /// The nodes.
    pub nodes: Vec<Node>,
    pub(super) images: Vec<Option<Image>>,
    pub(super) network: Option<Network>,
    shape: Shape,
    dir: PathBuf,
}

impl Cluster {
    /// Nodes that do not run yet, in `dir`, on loopback addresses or in the namespaces of `network`.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn prepare(
        dir: &Path,
        shape: Shape,
        network: Option<Network>,
    ) -> Result<Self, TortureError> {
        let places: Vec<_> = (0..shape.nodes).map(|at| place(network.as_ref(), at)).collect();
        let join: Vec<String> = places.iter().map(|(_, peer)| peer.to_string()).collect();
        let mut flags = vec![format!("--shards={}", shape.shards)];
        flags.extend(shape.flags.iter().cloned());
        if shape.nodes > 1 {
            flags.push(format!("--join={}", join.join(",")));
            flags.push(format!("--expect={}", shape.nodes));
        }
        let mut nodes = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let mut prefix = network.as_ref().map(|network| network.prefix(at)).unwrap_or_default();
            prefix.extend(shape.prefix.iter().cloned());
            let (program, flags) = (shape.program.clone(), flags.clone());
            let launch = Launch { prefix, program, flags, takes_faults: shape.takes_faults };
            nodes.push(Node::new(&format!("n{}", at + 1), dir, *place, launch)?);
        }
        let images = nodes.iter().map(|_| None).collect();
        Ok(Self { nodes, images, network, shape, dir: dir.to_owned() })
    }

    /// Gives every node a disk of its own.
    ///
    /// # Errors
    /// [`TortureError`]: then all keep their data where it was.
    pub fn give_disks(&mut self) -> Result<(), TortureError> {
        let mut images = Vec::new();
        for node in &self.nodes {
            let dir = self.dir.join(&node.name);
            images.push(Some(Image::create(dir.join("disk.img"), dir.join("disk"))?));
        }
        for node in &mut self.nodes {
            let dir = self.dir.join(&node.name).join("disk").join("data");
            fs::create_dir_all(&dir).map_err(TortureError::file("create", &dir))?;
            node.set_data(dir);
        }
        self.images = images;
        Ok(())
    }

    /// A further node on a loopback address, which joins by the first one's; it does not run yet.
    ///
    /// # Errors
    /// [`TortureError`].
    pub fn add(&mut self) -> Result<usize, TortureError> {
        let at = self.nodes.len();
        let mut flags = self.shape.flags.clone();
        flags.push(format!("--join={}", self.nodes[0].peer_address));
        let (prefix, program) = (self.shape.prefix.clone(), self.shape.program.clone());
        let launch = Launch { prefix, program, flags, takes_faults: self.shape.takes_faults };
        self.nodes.push(Node::new(&format!("n{}", at + 1), &self.dir, place(None, at), launch)?);
        self.images.push(None);
        Ok(at)
    }

    /// Shards that hold keys.
    #[must_use]
    pub fn shards(&self) -> u32 {
        self.shape.shards
    }

    /// Where clients connect, node by node.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.client_address).collect()
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// True if every node that runs sees all slots served and all replicas level.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.running().all(|node| node.sees_all_well(self.nodes.len()))
    }

    /// Which nodes hold and which one leads each shard, as the nodes that answer say of themselves.
    #[must_use]
    pub fn placement(&self) -> Placement {
        let mut placement = Placement::default();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
            placement.read(at, &node.info("raft").unwrap_or_default());
        }
        placement
    }

    /// Has the replicas of a shard take a digest at one index each, and compares them. `None` if the
    /// digests could not be had, because the shard's leader changed.
    #[must_use]
    pub fn compare_digests(&self, shard: u32) -> Option<Digests> {
        let peers: Vec<(String, SocketAddr)> =
            self.running().map(|node| (node.name.clone(), node.peer_address)).collect();
        compare_digests(&peers, shard)
    }
}

/// Digests of the replicas of one shard at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The log index.
    pub index: u64,
    /// Node and digest.
    pub of: Vec<(String, String)>,
}

impl Digests {
    /// True if all are the same.
    #[must_use]
    pub fn are_equal(&self) -> bool {
        self.of.iter().all(|(_, digest)| *digest == self.of[0].1)
    }
}

pub(super) fn compare_digests(peers: &[(String, SocketAddr)], shard: u32) -> Option<Digests> {
    let index = peers.iter().find_map(|(_, peer)| {
        let answer = question(*peer, &json!({ "take_digest": { "shard": shard } }))?;
        answer["digest_will_be_at"]["index"].as_u64()
    })?;
    let of = peers.iter().filter_map(|(name, peer)| {
        let answer = question(*peer, &json!({ "digest_at": { "shard": shard, "index": index } }))?;
        Some((name.clone(), answer["digest"]["digest"].as_str()?.to_owned()))
    });
    let digests = Digests { index, of: of.collect() };
    // Three replicas, or as many as there are nodes.
    (digests.of.len() >= peers.len().min(3)).then_some(digests)
}

/// Asks a node's peer port, as a tool.
fn question(peer: SocketAddr, question: &Json) -> Option<Json> {
    let (nobody, none) = (NodeId::NONE, String::new());
    let hello = Hello {
        purpose: Purpose::Call,
        cluster: 0,
        sender: nobody,
        receiver: nobody,
        address: none,
    };
    let mut caller = Caller::connect(&peer.to_string(), &hello, ANSWER_MAX).ok()?;
    let reply = caller.call(question.to_string().as_bytes(), ANSWER_MAX).ok()?;
    serde_json::from_slice(&reply).ok()
}

/// Who holds and who leads which shard. Nodes are places in the cluster's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Nodes with a replica that may vote, by shard.
    pub replicas: BTreeMap<u32, Vec<usize>>,
    /// The leader, by shard.
    pub leaders: BTreeMap<u32, usize>,
}

impl Placement {
    /// Takes in what a node says in INFO raft.
    pub fn read(&mut self, node: usize, info: &str) {
        for line in info.lines() {
            let Some((shard, rest)) = line.strip_prefix("shard_").and_then(|l| l.split_once(':'))
            else {
                continue;
            };
            let Ok(shard) = shard.parse::<u32>() else { continue };
            let role = rest.split(',').next().and_then(|word| word.strip_prefix("role="));
            if !matches!(role, Some("learner" | "down")) {
                self.replicas.entry(shard).or_default().push(node);
            }
            if role == Some("leader") {
                self.leaders.insert(shard, node);
            }
        }
    }

    /// The shards that a node leads, the metadata group (0) not among them.
    #[must_use]
    pub fn led_by(&self, node: usize) -> Vec<u32> {
        let led = self.leaders.iter().filter(|(shard, leader)| **leader == node && **shard != 0);
        led.map(|(shard, _)| *shard).collect()
    }
}

/// Where a node's clients and its peers connect.
fn place(network: Option<&Network>, at: usize) -> (SocketAddr, SocketAddr) {
    match network {
        Some(network) => {
            let address = IpAddr::V4(network.address(at));
            (SocketAddr::new(address, CLIENT_PORT), SocketAddr::new(address, PEER_PORT))
        }
        None => (local(free_port()), local(free_port())),
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A port that nobody listens on, outside of the range from which connections take theirs.
///
/// # Panics
/// If there is none from 20000 to 32000.
#[must_use]
pub fn free_port() -> u16 {
    let first = u16::try_from(std::process::id() % 997).expect("less than 997") * 11;
    for _ in 0..10_000 {
        let port = 20_000 + (first + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(local(port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from 20000 to 32000");
}

/// Waits until a cluster is level, or `within` has passed.
pub(super) fn wait_until_level(cluster: &Cluster, within: Duration) -> bool {
    try_for(within, || cluster.is_level().then_some(())).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placement_is_read_from_what_nodes_say() {
        let mut placement = Placement::default();
        placement.read(
            0,
            "# Raft\r\nleader_of:1\r\nshard_0:role=leader,term=7\r\nshard_1:role=leader,term=7\r\n",
        );
        placement.read(1, "shard_1:role=follower,term=7\nshard_2:role=leader,term=3\n");
        placement.read(2, "shard_1:role=learner,term=7\nshard_2:role=follower,term=3\n");
        assert_eq!(placement.replicas[&1], [0, 1]);
        assert_eq!(placement.leaders[&2], 1);
        assert_eq!(placement.led_by(0), [1]);
    }
}
