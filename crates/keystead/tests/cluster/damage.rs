//! Data directories that are not what was written.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::{Cluster, Shape};
use crate::node::{Node, Tested as _};
use crate::wire::{ask, set};

const START_MAX: Duration = Duration::from_secs(20);
const KEYS: usize = 200;

/// The node's first segment.
fn segment(node: &Node) -> PathBuf {
    node.data().join("log/0000000000000001.seg")
}

/// A node of its own with keys, killed: its log ends as a power cut would leave it at best.
fn written_and_killed() -> Cluster {
    let mut cluster =
        Cluster::start(&Shape { nodes: 1, shards: 1, flags: &["--segment-bytes=1048576"] });
    for key in 0..KEYS {
        assert_eq!(
            set(cluster.nodes[0].port(), &format!("key:{key}"), "value").as_deref(),
            Some("OK")
        );
    }
    cluster.nodes[0].end();
    cluster
}

/// Where the last block of a segment begins: the last place with a block's mark.
fn last_block(bytes: &[u8]) -> usize {
    bytes.windows(4).rposition(|window| window == b"KBLK").expect("the segment has blocks")
}

/// Where the bytes of a segment end and its zeros begin.
fn end_of_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).expect("the segment has bytes") + 1
}

#[test]
fn a_torn_last_record_opens() {
    let mut cluster = written_and_killed();
    let path = segment(&cluster.nodes[0]);
    let bytes = fs::read(&path).expect("the segment");
    let (block, end) = (last_block(&bytes), end_of_bytes(&bytes));
    // The last write reached the disk only in part.
    let mut file = OpenOptions::new().write(true).open(&path).expect("the segment");
    let torn = block + (end - block) / 2;
    file.seek(SeekFrom::Start(torn as u64)).expect("the segment is longer");
    file.write_all(&vec![0; end - torn]).expect("the segment is writable");
    drop(file);
    cluster.nodes[0].begin();
    cluster.nodes[0].wait_for_answers(START_MAX);
    cluster.wait_until_level();
    // Only the last record may be gone, and it held no more than the last key.
    for key in 0..KEYS - 1 {
        let reply = ask(cluster.nodes[0].port(), &["GET", &format!("key:{key}")]).expect("a reply");
        assert_eq!(reply.as_str(), Some("value"), "key:{key}");
    }
    assert_eq!(set(cluster.nodes[0].port(), "after", "the tear").as_deref(), Some("OK"));
}

#[test]
fn a_damaged_middle_refuses_and_names_file_offset_and_remedy() {
    let mut cluster = written_and_killed();
    let path = segment(&cluster.nodes[0]);
    let mut file = OpenOptions::new().read(true).write(true).open(&path).expect("the segment");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("the segment is readable");
    let middle = end_of_bytes(&bytes) / 2;
    file.seek(SeekFrom::Start(middle as u64)).expect("the segment is longer");
    file.write_all(&[bytes[middle] ^ 0x40]).expect("the segment is writable");
    drop(file);
    let before = fs::read(&path).expect("the segment");
    cluster.nodes[0].begin();
    let status = cluster.nodes[0].wait_for_end(START_MAX);
    assert!(!status.success(), "a damaged log must not open");
    let log = cluster.nodes[0].log();
    for told in
        [path.to_str().expect("UTF-8"), "damaged at byte ", "let the node join again as a new one"]
    {
        assert!(log.contains(told), "{told:?} is not told:\n{log}");
    }
    assert_eq!(fs::read(&path).expect("the segment"), before, "nothing was changed");
}

/// INV-I2.
#[test]
fn a_member_whose_log_is_gone_does_not_start() {
    let mut cluster = written_and_killed();
    fs::remove_dir_all(cluster.nodes[0].data().join("log")).expect("the log's directory");
    cluster.nodes[0].begin();
    let status = cluster.nodes[0].wait_for_end(START_MAX);
    assert!(!status.success(), "a member without its log has forgotten its votes");
}
