//! Three nodes in one process: put a replicated value, lose a node, go on, recover it, compare.
//!
//! ```sh
//! cargo run --example three_nodes
//! ```

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use keystead::{Keystead, Kind, Options};
use serde::{Deserialize, Serialize};

/// Longest wait for the cluster to settle.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;

    // The first node founds a cluster; the others need one address of it, and nothing else.
    let node1 = Keystead::start(options(data.path(), "node1")).await?;
    let seed = node1.peer_address();
    let node2 = Keystead::start(options(data.path(), "node2").join([&seed])?).await?;
    let node3 = Keystead::start(options(data.path(), "node3").join([&seed])?).await?;
    for node in [&node1, &node2, &node3] {
        node.ready(PATIENCE).await?;
    }
    node1.sync(PATIENCE).await?;
    show("three nodes, three replicas of every shard, all level");

    // Acknowledged once two of three have it on disk; every node answers with it from then on.
    node1.put("user1", &User { name: "Alice".into(), age: 30 }).await?;
    let user: Option<User> = node3.get("user1").await?;
    show(format_args!("put on node 1, read on node 3: {user:?}"));

    let older = |user: Option<User>| user.map(|user| User { age: user.age + 1, ..user });
    let user = node2.update("user1", older).await?;
    show(format_args!("updated on node 2: {user:?}"));

    // A crash: no leadership is handed over, the others find out by silence.
    let peer = node1.peer_address();
    drop(node1);
    let since = Instant::now();
    let user = match node2.update("user1", older).await {
        // The write was on its way to the node that fell: it may or may not have happened. Nobody
        // repeats such a write by itself; the caller reads, then decides.
        Err(error) if error.kind() == Kind::Unknown => {
            show(format_args!("not known: {error}"));
            let to_32 = |user: Option<User>| user.map(|user| User { age: 32, ..user });
            node2.update("user1", to_32).await?
        }
        outcome => outcome?,
    };
    show(format_args!("node 1 is gone; written again after {:?}: {user:?}", since.elapsed()));
    assert_eq!(user.map(|user| user.age), Some(32));

    // It comes back with its data directory and catches up by itself.
    let node1 = Keystead::start(options(data.path(), "node1").peer(peer.parse()?)).await?;
    node1.sync(PATIENCE).await?;
    let user: Option<User> = node1.get("user1").await?;
    show(format_args!("node 1 is back and level: {user:?}"));
    assert_eq!(user, Some(User { name: "Alice".into(), age: 32 }));

    for node in [node1, node2, node3] {
        node.shutdown().await?;
    }
    Ok(())
}

/// A small node: four shards are enough for an example.
fn options(data: &Path, name: &str) -> Options {
    Options::new(data.join(name)).configure(|config| {
        config.shards = 4;
        config.segment_bytes = 4 << 20;
    })
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn show(line: impl std::fmt::Display) {
    println!("{line}");
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn Error>> {
    main()
}
