//! The torture as its users meet it: a short run of the verb, and its word when it could not do what was asked.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value as Json;

use crate::cluster::{Cluster, Shape, Turn};
use crate::node::{Node, Tested as _};
use crate::wait::{pause, wait_for};

fn torture(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keystead"));
    command.arg("torture").args(args).output().expect("the program runs")
}

/// The report on standard output.
fn report(output: &Output) -> Json {
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{told}"))
}

/// Kills and pauses need no rights beyond those of any user.
#[test]
fn a_short_torture_passes() {
    let _turn = Turn::take();
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().to_str().expect("a path in UTF-8");
    let args =
        ["--faults", "kill,pause,hang-up", "--minutes", "0.6", "--seed", "3", "--shards", "8"];
    let output = torture(&[&args[..], &["--json", "--data", data]].concat());
    let report = report(&output);
    assert_eq!(report["verdict"], "PASS", "{report:#}");
    assert_eq!(output.status.code(), Some(0));
    assert!(report["failovers"]["count"].as_u64() > Some(0), "{report:#}");
    assert!(report["history"]["total"]["acked"].as_u64() > Some(1_000), "{report:#}");
    assert_eq!(report["digests"]["equal"], 9, "eight shards and the metadata group");
    let left = std::fs::read_dir(dir.path()).expect("it is there").count();
    assert_eq!(left, 0, "a run that passes leaves nothing behind");
}

/// A cluster that runs is loaded and judged; who breaks it is somebody else.
#[test]
fn a_running_cluster_is_judged_and_left_as_it_was() {
    let mut cluster = Cluster::start(&Shape { shards: 4, ..Shape::default() });
    let address = cluster.nodes[1].client_address.to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_keystead"))
        .args(["torture", &address, "--minutes", "0.2", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    // Long enough for the load to be under way, and for the change of leaders to be seen.
    pause(Duration::from_secs(3));
    cluster.nodes[0].end();
    pause(Duration::from_secs(3));
    cluster.nodes[0].begin();
    let output = child.wait_with_output().expect("the program ends");
    let report = report(&output);
    assert_eq!(report["verdict"], "PASS", "{report:#}");
    assert_eq!(report["nodes"], 3);
    wait_for("its keys are gone", Duration::from_secs(10), || {
        let keys = crate::wire::ask(cluster.nodes[1].port(), &["DBSIZE"]).ok()?;
        (keys.as_integer() == Some(0)).then_some(())
    });
}

/// What was not seen is not passed.
#[test]
fn a_torture_without_a_failover_is_unknown() {
    let cluster = Cluster::start(&Shape { nodes: 1, shards: 1, ..Shape::default() });
    let address = cluster.nodes.first().map(Node::port).expect("one node");
    let output = torture(&[&format!("127.0.0.1:{address}"), "--minutes", "0.02", "--json"]);
    let report = report(&output);
    assert_eq!(report["verdict"], "UNKNOWN", "{report:#}");
    assert_eq!(output.status.code(), Some(2));
    assert!(report["reasons"].to_string().contains("no failover was seen"), "{report:#}");
}
