//! The node's log.
//! Owns: that piece. Never: a real disk: what a disk costs is not counted in instructions.

use std::path::Path;

use keystead_types::{LogIndex, NodeId, ShardId};
use keystead_wal::{Batch, Log, LogOptions, MemoryDisk};

const GROUP: ShardId = ShardId(1);
const PAYLOAD: [u8; 128] = [b'p'; 128];
/// Batches after which the log lets go of what is superfluous.
const KEPT_EVERY: u64 = 256;

pub(super) fn append() -> Box<dyn FnMut()> {
    let options =
        LogOptions { segment_bytes: 1 << 20, reserve_bytes: 0, ..LogOptions::new(NodeId(1), 1) };
    let opened = Log::open(MemoryDisk::new(1 << 28), Path::new("/node"), options);
    let (mut log, _) = opened.expect("an empty disk takes a log");
    let (mut batch, mut index, mut turn) = (Batch::new(), 0, 0_u64);
    Box::new(move || {
        for _ in 0..16 {
            index += 1;
            batch.push_entry(GROUP, LogIndex(index), &PAYLOAD);
        }
        log.append(&mut batch).expect("the disk has room");
        turn += 1;
        if turn.is_multiple_of(KEPT_EVERY) {
            log.sync().expect("the disk works");
            batch.push_snapshot(GROUP, LogIndex(index), b"place");
            log.append(&mut batch).expect("the disk has room");
            log.sync().expect("the disk works");
            let needed = [(GROUP, LogIndex(index + 1))].into();
            log.purge(&needed).expect("the disk works");
            log.prepare_segment().expect("the disk has room");
        }
    })
}
