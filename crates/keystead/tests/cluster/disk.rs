//! A disk that fills up, and a disk that fails.
//!
//! The full disk is a tmpfs of its own, which only root may mount; as anybody else the test fails and says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keystead_resp::Value;

use crate::cluster::{Cluster, Shape};
use crate::load::Load;
use crate::node::{Tested as _, wait_for_log};
use crate::wait::wait_for;
use crate::wire::{ask, connect, field, set};

/// Room for the first segments and what the log leaves alone (64 MiB), and little more.
const SMALL: &str = "size=100m";
const LARGER: &str = "remount,size=200m";
/// Bytes of each value, so that the disk is soon full.
const VALUE_BYTES: usize = 64 * 1024;
/// More writes than the disk takes.
const WRITES_MAX: usize = 2_000;
const HEAL_MAX: Duration = Duration::from_secs(20);

/// A file system in memory, unmounted with the value.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).expect("a directory to mount on");
        mount(&["-t", "tmpfs", "-o", SMALL, "keystead-test"], &path);
        Self { path }
    }

    fn make_larger(&self) {
        mount(&["-o", LARGER], &self.path);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: on a failing test the node may still run.
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

fn mount(args: &[&str], path: &Path) {
    let status = Command::new("mount").args(args).arg(path).status().expect("the program mount");
    assert!(
        status.success(),
        "this test mounts a small tmpfs on {}; run it as root (in a container, or with sudo env \"PATH=$PATH\")",
        path.display()
    );
}

#[test]
fn a_full_disk_refuses_clearly_loses_nothing_and_heals() {
    let mut cluster =
        Cluster::prepare(&Shape { nodes: 1, shards: 1, flags: &["--segment-bytes=1048576"] });
    let disk = SmallDisk::mount(cluster.dir().join("small"));
    cluster.nodes[0].set_data(disk.path.join("data"));
    cluster.nodes[0].begin();
    cluster.wait_until_level();
    let port = cluster.nodes[0].port();
    let value = "v".repeat(VALUE_BYTES);
    let mut wire = connect(port).expect("the node takes connections");
    let (mut acked, mut refusal) = (0, None);
    for key in 0..WRITES_MAX {
        match wire.call(["SET", &format!("key:{key}"), &value]).expect("a reply") {
            Value::Simple(_) => acked = key + 1,
            other => {
                refusal = Some((key, other));
                break;
            }
        }
    }
    let (refused_key, refusal) = refusal.expect("the disk is full before all is written");
    let text = refusal.as_error().expect("a refusal is an error").to_owned();
    assert!(text.starts_with("OOM ") && text.contains("is full"), "{text}");
    let durability = cluster.nodes[0].info("durability").expect("the node answers");
    assert_eq!(field(&durability, "log_is_full").as_deref(), Some("1"));
    // What was acknowledged is there, what was refused is not, and reads go on.
    for key in 0..acked {
        let reply = wire.call(["STRLEN", &format!("key:{key}")]).expect("a reply");
        assert_eq!(reply.as_integer(), i64::try_from(VALUE_BYTES).ok(), "key:{key}");
    }
    assert!(wire.call(["GET", &format!("key:{refused_key}")]).expect("a reply").is_null());
    disk.make_larger();
    wait_for("writes go on once there is room", HEAL_MAX, || {
        (set(port, "healed", "yes")? == "OK").then_some(())
    });
    cluster.nodes[0].end();
    cluster.nodes[0].begin();
    cluster.wait_until_level();
    for key in 0..acked {
        let reply = ask(port, &["STRLEN", &format!("key:{key}")]).expect("a reply");
        assert_eq!(
            reply.as_integer(),
            i64::try_from(VALUE_BYTES).ok(),
            "key:{key} after a restart"
        );
    }
    assert_eq!(ask(port, &["GET", "healed"]).expect("a reply").as_str(), Some("yes"));
    eprintln!("full disk: {acked} writes acknowledged before, all found; then: {text}");
    cluster.nodes[0].end();
}

#[test]
fn a_failed_write_of_the_log_ends_the_process_and_the_others_go_on() {
    let mut cluster = Cluster::start(&Shape::default());
    let load = Load::start_with_values(&cluster, 2_000);
    // From now on a write behind the first MiB of a file fails; the log is soon there, the log lines are not.
    let pid = cluster.nodes[0].pid().expect("the node runs").to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=1048576"])
        .status()
        .expect("the program prlimit");
    assert!(status.success(), "the limit is set");
    let status = cluster.nodes[0].wait_for_end(Duration::from_secs(20));
    assert_eq!(status.code(), Some(74), "the exit code says input/output error");
    let line = wait_for_log(&cluster.nodes[0], "cannot append to the log", Duration::from_secs(1));
    assert!(line.contains("replace the disk or remove the node"), "{line}");
    load.arm();
    load.wait_for_writes("after a node's log failed", Duration::from_secs(10));
    cluster.nodes[0].begin();
    cluster.wait_until_level();
    let figures = load.finish(&cluster);
    cluster.assert_equal_digests();
    eprintln!("failed log: {figures:?}");
}
