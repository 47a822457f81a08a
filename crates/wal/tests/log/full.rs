//! A full disk stops the log in time, damages nothing, and heals by itself.

use keystead_types::ShardId;
use keystead_wal::{Kind, Log, LogOptions, MemoryDisk};
use std::path::Path;

use crate::model::{DIR, batch_of, entries, open, options};

const SEGMENT_BYTES: u64 = 4096;

#[test]
fn a_full_disk_refuses_before_anything_is_written_and_goes_on_when_there_is_room() {
    let disk = MemoryDisk::new(10_000);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut last = 0;
    let failure = loop {
        match log.append(&mut batch_of(&entries(0, last + 1, last + 1))) {
            Ok(_) => last += 1,
            Err(failure) => break failure,
        }
        log.sync().unwrap();
    };
    assert_eq!(failure.kind(), Kind::Unavailable);
    assert_eq!(
        failure.to_string(),
        "the disk under the log at /node/log/0000000000000003.seg is full: a new segment needs 4096 bytes, 1808 are \
         free and 0 of them stay in reserve; free some space, the node then goes on by itself"
    );
    disk.set_capacity_bytes(20_000);
    log.append(&mut batch_of(&entries(0, last + 1, last + 1))).unwrap();
    log.sync().unwrap();
    drop(log);
    disk.power_loss(9);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups[&ShardId(0)].entries.len() as u64, last + 1);
}

#[test]
fn the_reserve_is_left_alone() {
    let disk = MemoryDisk::new(12_000);
    let options = LogOptions { reserve_bytes: 4000, ..options(SEGMENT_BYTES) };
    let (mut log, _) = Log::open(disk.clone(), Path::new(DIR), options).unwrap();
    let failure = log.prepare_segment().unwrap_err().to_string();
    assert!(
        failure.contains("needs 4096 bytes, 7904 are free and 4000 of them stay in reserve"),
        "{failure}"
    );
    disk.set_capacity_bytes(14_000);
    log.prepare_segment().unwrap();
}

#[test]
fn a_block_larger_than_a_segment_gets_a_larger_segment_or_none() {
    let disk = MemoryDisk::new(40_000);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let large = |bytes| {
        vec![crate::model::Op::Entry(ShardId(0), keystead_types::LogIndex(1), vec![7; bytes])]
    };
    let mut too_large = batch_of(&large(50_000));
    assert_eq!(log.append(&mut too_large).unwrap_err().kind(), Kind::Unavailable);
    assert!(!too_large.is_empty(), "a refused batch is as it was");
    log.append(&mut batch_of(&large(20_000))).unwrap();
    log.append(&mut batch_of(&entries(0, 2, 2))).unwrap();
    log.sync().unwrap();
    drop(log);
    disk.power_loss(1);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups[&ShardId(0)].entries[0].1.len(), 20_000);
    assert_eq!(recovered.groups[&ShardId(0)].entries.len(), 2);
}
