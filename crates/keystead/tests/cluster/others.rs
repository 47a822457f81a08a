//! Programs that others wrote, unchanged, against three nodes: which, in which version, and where they lie.
//!
//! Owns: finding them; they are installed by `cargo xtask setup` from the lists beside this file
//! (`others/requirements.txt`, `others/package-lock.json`; `msgpackr-extract`, an optional part of BullMQ, is held at the version of
//! which every platform's part is published). Never: skips a test because one is missing.
//!
//! | program | version | what of it is used | test |
//! |---|---|---|---|
//! | rq, a job queue in Python, over redis-py | 2.12.0 | queues, workers that fork, retries, dependencies, schedules, groups, callbacks | `job_queue` |
//! | BullMQ, a job queue in Node.js, over ioredis | 6.7.0, 6.0.0 | workers that wait, events, delays, ranks, flows, schedules, limits | `message_queue` |
//! | express-session and connect-redis, sessions of web pages in Node.js, over node-redis | 1.19.0, 9.0.0 | saving, reading, touching, ending and listing sessions | `web_sessions` |

mod job_queue;
mod message_queue;
mod web_sessions;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Cluster;
use crate::node::Tested as _;

/// Where scripts lie.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/others");

/// The python of the test environment, with redis-py and rq.
pub(crate) fn python() -> PathBuf {
    installed("python/bin/python3", "KEYSTEAD_TEST_PYTHON")
}

/// A program of one of the scripts, with what it needs.
fn python_script(name: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(Path::new(SCRIPTS).join(name));
    // Nothing is left in the tree.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// As [`python_script`], for Node.js.
fn node_script(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(Path::new(SCRIPTS).join(name));
    command.env("NODE_PATH", installed("node/node_modules", "KEYSTEAD_TEST_NODE_MODULES"));
    command
}

/// Something that `cargo xtask setup` put into the target folder, or the place that the variable names.
fn installed(place: &str, variable: &str) -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let own = tmp.parent().expect("a folder in the target folder").join(place);
    let found =
        if own.exists() { own } else { std::env::var_os(variable).map_or(own, PathBuf::from) };
    assert!(
        found.exists(),
        "{} is needed by this test; `cargo xtask setup` installs it",
        found.display()
    );
    found
}

/// Ports of all nodes as words of a command.
fn port_words(cluster: &Cluster) -> Vec<String> {
    cluster.ports().iter().map(u16::to_string).collect()
}

/// The node that leads the one shard that holds keys.
fn leader(cluster: &Cluster) -> usize {
    cluster.wait_until_led();
    cluster.leader_of(1).expect("it has a leader")
}

/// Kills the node at this place.
fn kill(cluster: &mut Cluster, at: usize) {
    eprintln!("  {} dies, which leads", cluster.nodes[at].name);
    cluster.nodes[at].end();
}
