//! INV-WAL1, INV-WAL2, INV-WAL8: what is needed stays, what is not goes, oldest first. INV-WAL12: and comes back as
//! another segment.

use keystead_types::{LogIndex, ShardId};
use keystead_wal::{Log, MemoryDisk, Pin};
use std::collections::BTreeMap;

use crate::model::{Op, batch_of, entries, open, replay, segment};

const SEGMENT_BYTES: u64 = 4096;

fn needed(pairs: &[(u32, u64)]) -> BTreeMap<ShardId, LogIndex> {
    pairs.iter().map(|(group, index)| (ShardId(*group), LogIndex(*index))).collect()
}

#[test]
fn a_segment_goes_when_every_group_has_a_snapshot_behind_it() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut history =
        vec![vec![Op::State(ShardId(1), b"only said once".to_vec())], entries(1, 1, 2)];
    for index in 1..=150 {
        history.push(entries(0, index, index));
    }
    for ops in &history {
        log.append(&mut batch_of(ops)).unwrap();
        log.sync().unwrap();
    }
    assert!(log.stats().segments > 3);

    // Group 1 asks for nothing, but it has no snapshot: its entries stay, whatever is said.
    assert_eq!(log.purge(&needed(&[(0, 151), (1, 3)])).unwrap(), []);
    assert_eq!(log.oldest_pinning_group().unwrap().group, ShardId(0));

    let snapshots = vec![
        Op::Snapshot(ShardId(0), LogIndex(149), b"meta 0".to_vec()),
        Op::Snapshot(ShardId(1), LogIndex(1), b"meta 1".to_vec()),
    ];
    log.append(&mut batch_of(&snapshots)).unwrap();
    log.sync().unwrap();
    history.push(snapshots);
    assert_eq!(
        log.purge(&BTreeMap::new()).unwrap(),
        [],
        "entry 2 of group 1 is after its snapshot"
    );
    let pin = Pin { group: ShardId(1), through: LogIndex(2) };
    assert_eq!(log.oldest_pinning_group(), Some(pin), "a snapshot of group 1 would help");

    let more = vec![Op::Snapshot(ShardId(1), LogIndex(2), b"meta 1b".to_vec())];
    log.append(&mut batch_of(&more)).unwrap();
    log.sync().unwrap();
    history.push(more);
    let retired = log.purge(&BTreeMap::new()).unwrap();
    assert_eq!(retired[0].path, segment(1));
    assert_eq!(log.stats().segments, 1, "only the segment being written is left");
    assert_eq!(log.oldest_pinning_group(), None);
    drop(log);

    disk.power_loss(1);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(
        recovered.groups,
        replay(&history),
        "the state that stood only in segment 1 was carried forward"
    );
}

/// Fills a segment with entries of group 0 behind `index`, makes a snapshot and lets the segment go.
fn turn_over(log: &mut Log<MemoryDisk>, index: &mut u64) {
    let before = log.stats().end.segment;
    while log.stats().end.segment == before {
        *index += 1;
        log.append(&mut batch_of(&entries(0, *index, *index))).unwrap();
        log.sync().unwrap();
    }
    log.append(&mut batch_of(&[Op::Snapshot(ShardId(0), LogIndex(*index), Vec::new())])).unwrap();
    log.sync().unwrap();
    assert_eq!(log.purge(&needed(&[(0, *index + 1)])).unwrap().len(), 1);
}

/// Which files lie beside the log's segments, waiting to be used again.
fn shelved(disk: &MemoryDisk) -> Vec<String> {
    let names = disk
        .paths()
        .into_iter()
        .filter_map(|path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
    names.filter(|name| name.ends_with(".old")).collect()
}

#[test]
fn a_segment_that_went_becomes_one_to_come_and_is_read_as_that_only() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut index = 0;
    turn_over(&mut log, &mut index);
    assert_eq!(shelved(&disk), ["0000000000000001.old"]);
    let used_bytes = disk.used_bytes();
    for _ in 0..5 {
        log.prepare_segment().unwrap();
        assert_eq!(shelved(&disk), [""; 0], "the next segment was made of it");
        assert_eq!(disk.used_bytes(), used_bytes, "and took no room");
        turn_over(&mut log, &mut index);
        // Behind its last block stand blocks of the use before, with a block among them at the same place.
        let last = log.stats().end;
        let bytes = disk.contents(&segment(last.segment)).unwrap();
        assert!(bytes[usize::try_from(last.offset).unwrap()..].iter().any(|byte| *byte != 0));
        drop(log);
        disk.power_loss(index);
        let recovered;
        (log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
        assert_eq!(recovered.torn_tail, None);
        let group = &recovered.groups[&ShardId(0)];
        assert_eq!(group.snapshot.as_ref().map(|(at, _)| at.0), Some(index));
        assert_eq!(group.entries, []);
        assert_eq!(log.stats().end, last, "the log goes on where it ended");
    }
}

#[test]
fn files_are_kept_only_while_the_disk_has_room_and_only_so_many() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut index = 0;
    while log.stats().segments < 12 {
        index += 1;
        log.append(&mut batch_of(&entries(0, index, index))).unwrap();
    }
    log.append(&mut batch_of(&[Op::Snapshot(ShardId(0), LogIndex(index), Vec::new())])).unwrap();
    log.sync().unwrap();
    assert_eq!(log.purge(&needed(&[(0, index + 1)])).unwrap().len(), 11);
    assert_eq!(shelved(&disk).len(), 8);
    turn_over(&mut log, &mut index);
    assert_eq!(shelved(&disk).len(), 8, "one is taken, one comes");
    disk.set_capacity_bytes(disk.used_bytes() + 8 * SEGMENT_BYTES - 1);
    turn_over(&mut log, &mut index);
    assert_eq!(shelved(&disk).len(), 7, "one is taken, none comes: the disk is short of room");
    turn_over(&mut log, &mut index);
    assert_eq!(shelved(&disk).len(), 7, "the one that went has made room");
}

#[test]
fn what_the_replication_layer_wants_to_keep_stays() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    for index in 1..=150 {
        log.append(&mut batch_of(&entries(0, index, index))).unwrap();
    }
    log.append(&mut batch_of(&[Op::Snapshot(ShardId(0), LogIndex(150), Vec::new())])).unwrap();
    log.sync().unwrap();
    let before = log.stats().segments;
    assert_eq!(
        log.purge(&BTreeMap::new()).unwrap(),
        [],
        "a group that never said anything keeps everything"
    );
    assert_eq!(log.purge(&needed(&[(0, 1)])).unwrap(), []);
    let some = log.purge(&needed(&[(0, 60)])).unwrap().len();
    assert!(some > 0 && some < before - 1);
    assert_eq!(log.purge(&needed(&[(0, 151)])).unwrap().len(), before - 1 - some);
}

#[test]
fn nothing_goes_before_the_head_of_the_newer_segment_is_durable() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut index = 0;
    while log.stats().end.segment < 2 {
        index += 1;
        log.append(&mut batch_of(&entries(0, index, index))).unwrap();
    }
    log.append(&mut batch_of(&[Op::Snapshot(ShardId(0), LogIndex(index), Vec::new())])).unwrap();
    assert_eq!(log.purge(&needed(&[(0, index + 1)])).unwrap(), []);
    log.sync().unwrap();
    assert_eq!(log.purge(&BTreeMap::new()).unwrap().len(), 1);
}

#[test]
fn a_removed_group_pins_nothing_and_does_not_come_back() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    log.append(&mut batch_of(&entries(5, 1, 10))).unwrap();
    let mut index = 0;
    while log.stats().end.segment < 3 {
        index += 1;
        log.append(&mut batch_of(&entries(0, index, index))).unwrap();
    }
    let last = vec![Op::Removed(ShardId(5)), Op::Snapshot(ShardId(0), LogIndex(index), Vec::new())];
    log.append(&mut batch_of(&last)).unwrap();
    log.sync().unwrap();
    assert_eq!(log.purge(&needed(&[(0, index)])).unwrap().len(), 2);
    drop(log);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups.keys().copied().collect::<Vec<_>>(), [ShardId(0)]);
}

#[test]
fn an_installed_snapshot_drops_entries_after_it_and_a_snapshot_of_ones_own_keeps_them() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut batch = batch_of(&entries(0, 1, 9));
    batch.push_snapshot(ShardId(0), LogIndex(4), b"own");
    for op in entries(1, 1, 9) {
        batch.push(op.record());
    }
    batch.push_installed(ShardId(1), LogIndex(4), b"theirs");
    log.append(&mut batch).unwrap();
    assert!(batch.is_empty(), "the batch comes back for reuse");
    log.close().unwrap();
    for _ in 0..5 {
        let (log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
        assert!(recovered.was_closed && recovered.torn_tail.is_none());
        let indexes = |group| {
            let entries = &recovered.groups[&ShardId(group)].entries;
            entries.iter().map(|(index, _)| index.0).collect::<Vec<_>>()
        };
        assert_eq!(indexes(0), [5, 6, 7, 8, 9]);
        assert_eq!(indexes(1), [0; 0]);
        log.close().unwrap();
    }
}
