//! A cluster of the torture as tests handle it: what fails, fails the test.
//! Owns: turns between tests, a directory for each, deadlines. Never: a process; those are the torture's.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keystead::torture;

use crate::node::{Node, Tested};
use crate::wait::wait_for;

/// Longest wait for a cluster to be founded, and for all its replicas to be level. No promise is behind it:
/// it bounds a test on a machine that others use as well.
pub(crate) const LEVEL_MAX: Duration = Duration::from_secs(120);

static TURN: Mutex<()> = Mutex::new(());

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
    cluster: torture::Cluster,
    pub(crate) shards: u32,
    dir: tempfile::TempDir,
    _turn: Turn,
}

impl Cluster {
    /// Nodes that do not run yet.
    pub(crate) fn prepare(shape: &Shape) -> Self {
        let turn = Turn::take();
        let dir = tempfile::tempdir().expect("a directory");
        // The shell ignores SIGXFSZ for the program, so that a limit on file sizes is an error to it.
        let prefix = ["sh", "-c", "trap '' XFSZ; ulimit -S -n $(ulimit -H -n); exec \"$0\" \"$@\""];
        let shards = shape.shards;
        let shape = torture::Shape {
            nodes: shape.nodes,
            shards,
            flags: shape.flags.iter().map(|flag| (*flag).to_owned()).collect(),
            program: env!("CARGO_BIN_EXE_keystead").into(),
            prefix: prefix.map(str::to_owned).to_vec(),
            takes_faults: true,
        };
        let cluster = torture::Cluster::prepare(dir.path(), shape, None);
        Self { cluster: cluster.expect("directories for the nodes"), shards, dir, _turn: turn }
    }

    /// Nodes that run and are level.
    pub(crate) fn start(shape: &Shape) -> Self {
        let mut cluster = Self::prepare(shape);
        cluster.nodes.iter_mut().for_each(Node::begin);
        cluster.wait_until_level();
        cluster
    }

    /// A further node, which joins by the first one's address; it does not run yet.
    pub(crate) fn join(&mut self) -> usize {
        self.cluster.add().expect("a directory for the node")
    }

    /// Where a test may put what belongs to the cluster.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Where clients connect, node by node.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(Node::port).collect()
    }

    /// Waits until every node that runs sees all slots served and all replicas level.
    pub(crate) fn wait_until_level(&self) {
        wait_for("all slots are served and all replicas are level", LEVEL_MAX, || {
            self.is_level().then_some(())
        });
    }

    /// Waits until every shard is led by one of the nodes that run.
    pub(crate) fn wait_until_led(&self) {
        wait_for("every shard has a leader", LEVEL_MAX, || {
            let placement = self.placement();
            (1..=self.shards).all(|id| placement.leaders.contains_key(&id)).then_some(())
        });
    }

    /// Which node leads a shard, as the nodes that run say of themselves.
    pub(crate) fn leader_of(&self, shard: u32) -> Option<usize> {
        self.placement().leaders.get(&shard).copied()
    }

    /// Has the replicas of every shard take a digest at one index each, and compares them.
    ///
    /// # Panics
    /// If two replicas differ.
    pub(crate) fn assert_equal_digests(&self) {
        for shard in 0..=self.shards {
            // A shard whose leadership is being handed over takes no proposal for a moment.
            let what = format!("the replicas of shard {shard} give digests");
            let digests = wait_for(&what, LEVEL_MAX, || self.compare_digests(shard));
            assert!(digests.are_equal(), "replicas of shard {shard} differ: {digests:?}");
        }
    }
}

impl Deref for Cluster {
    type Target = torture::Cluster;

    fn deref(&self) -> &torture::Cluster {
        &self.cluster
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut torture::Cluster {
        &mut self.cluster
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.cluster.nodes.iter().for_each(Node::show_log);
            // What is on disk may say why.
            self.dir.disable_cleanup(true);
            eprintln!("the nodes' directories are kept in {}", self.dir.path().display());
        }
    }
}
