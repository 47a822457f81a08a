//! Several nodes that form a cluster.
//! Owns: ports, directories, founding, waiting for level, comparing digests. Never: a verdict on a history.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keystead_replication::transport::{Caller, Hello, Purpose};
use keystead_types::NodeId;
use serde_json::{Value as Json, json};

use crate::node::Node;
use crate::wait::wait_for;

/// Longest wait for a cluster to be founded, and for all its replicas to be level. No promise is behind it:
/// it bounds a test on a machine that others use as well.
pub(crate) const LEVEL_MAX: Duration = Duration::from_secs(120);
/// Longest wait for one answer of a node's peer port.
const ANSWER_MAX: Duration = Duration::from_secs(8);

static TURN: Mutex<()> = Mutex::new(());
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// One test at a time: each measures times on processes of its own.
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Turn {
    pub(crate) fn take() -> Self {
        // A test that failed held it; its processes are gone with it.
        Self(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a cluster differs from the usual one of three nodes and 16 shards.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) nodes: usize,
    pub(crate) shards: u32,
    pub(crate) flags: &'static [&'static str],
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 3, shards: 16, flags: &[] }
    }
}

/// Nodes of one cluster, ended with the value.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) shards: u32,
    flags: &'static [&'static str],
    dir: tempfile::TempDir,
    _turn: Turn,
}

impl Cluster {
    /// Nodes that do not run yet.
    pub(crate) fn prepare(shape: &Shape) -> Self {
        let turn = Turn::take();
        let dir = tempfile::tempdir().expect("a directory");
        let ports: Vec<(u16, u16)> = (0..shape.nodes).map(|_| (free_port(), free_port())).collect();
        let join: Vec<String> = ports.iter().map(|(_, peer)| format!("127.0.0.1:{peer}")).collect();
        let mut flags = vec![format!("--shards={}", shape.shards)];
        flags.extend(shape.flags.iter().map(|flag| (*flag).to_owned()));
        if shape.nodes > 1 {
            flags.push(format!("--join={}", join.join(",")));
            flags.push(format!("--expect={}", shape.nodes));
        }
        let node = |(at, ports): (usize, &(u16, u16))| {
            Node::new(&format!("n{}", at + 1), dir.path(), *ports, flags.clone())
        };
        let nodes = ports.iter().enumerate().map(node).collect();
        Self { nodes, shards: shape.shards, flags: shape.flags, dir, _turn: turn }
    }

    /// Nodes that run and are level.
    pub(crate) fn start(shape: &Shape) -> Self {
        let mut cluster = Self::prepare(shape);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_level();
        cluster
    }

    /// A further node, which joins by the first one's address; it does not run yet.
    pub(crate) fn add(&mut self) -> usize {
        let at = self.nodes.len();
        let mut flags: Vec<String> = self.flags.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--join=127.0.0.1:{}", self.nodes[0].peer_port));
        let ports = (free_port(), free_port());
        self.nodes.push(Node::new(&format!("n{}", at + 1), self.dir.path(), ports, flags));
        at
    }

    /// Where a test may put what belongs to the cluster.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Where clients connect, node by node.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// Waits until every node that runs sees all slots served and all replicas level.
    pub(crate) fn wait_until_level(&self) {
        wait_for("all slots are served and all replicas are level", LEVEL_MAX, || {
            self.running().all(|node| node.sees_all_well(self.nodes.len())).then_some(())
        });
    }

    /// Waits until every shard is led by one of the nodes that run.
    pub(crate) fn wait_until_led(&self) {
        wait_for("every shard has a leader", LEVEL_MAX, || {
            (1..=self.shards).all(|id| self.leader_of(id).is_some()).then_some(())
        });
    }

    /// Which node leads a shard, as the nodes that run say of themselves.
    pub(crate) fn leader_of(&self, shard: u32) -> Option<usize> {
        (0..self.nodes.len())
            .find(|at| self.nodes[*at].is_running() && self.nodes[*at].leads().contains(&shard))
    }

    /// Has the replicas of every shard take a digest at one index each, and compares them.
    ///
    /// # Panics
    /// If two replicas differ.
    pub(crate) fn assert_equal_digests(&self) {
        for shard in 0..=self.shards {
            // A shard whose leadership is being handed over takes no proposal for a moment.
            let what = format!("the replicas of shard {shard} give digests");
            wait_for(&what, LEVEL_MAX, || self.digests_agree(shard).then_some(()));
        }
    }

    /// False if the digests could not be had, because the shard's leader changed.
    fn digests_agree(&self, shard: u32) -> bool {
        let taken = self.running().find_map(|node| {
            let answer = question(node, &json!({ "take_digest": { "shard": shard } }))?;
            answer["digest_will_be_at"]["index"].as_u64()
        });
        let Some(index) = taken else { return false };
        let mut seen: Vec<(&str, String)> = Vec::new();
        for node in self.running() {
            let answer =
                question(node, &json!({ "digest_at": { "shard": shard, "index": index } }));
            let digest =
                answer.and_then(|answer| answer["digest"]["digest"].as_str().map(str::to_owned));
            if let Some(digest) = digest {
                seen.push((&node.name, digest));
            }
        }
        if seen.len() < self.running().count().min(3) {
            return false;
        }
        assert!(
            seen.iter().all(|(_, digest)| *digest == seen[0].1),
            "replicas of shard {shard} differ at index {index}: {seen:?}"
        );
        true
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What is on disk may say why.
            self.dir.disable_cleanup(true);
            eprintln!("the nodes' directories are kept in {}", self.dir.path().display());
        }
    }
}

/// Asks a node's peer port, as a tool.
fn question(node: &Node, question: &Json) -> Option<Json> {
    let address = format!("127.0.0.1:{}", node.peer_port);
    let (nobody, none) = (NodeId::NONE, String::new());
    let hello = Hello {
        purpose: Purpose::Call,
        cluster: 0,
        sender: nobody,
        receiver: nobody,
        address: none,
    };
    let mut caller = Caller::connect(&address, &hello, ANSWER_MAX).ok()?;
    let reply = caller.call(question.to_string().as_bytes(), ANSWER_MAX).ok()?;
    serde_json::from_slice(&reply).ok()
}

/// A port that nobody listens on, outside of the range from which connections take theirs.
pub(crate) fn free_port() -> u16 {
    let first = u16::try_from(std::process::id() % 997).expect("less than 997") * 11;
    for _ in 0..10_000 {
        let port = 20_000 + (first + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from 20000 to 32000");
}
