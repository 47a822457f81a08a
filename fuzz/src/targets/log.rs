//! The node's log: segments of any content, and a log that is written, torn and damaged.
//!
//! Bytes that nobody wrote are refused or read, never a panic; what was read once is read again as it was. A log that
//! was written and lost its power comes back as a prefix of what was appended that holds all that was synced
//! (INV-WAL4, INV-WAL5).

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use keystead_types::{LogIndex, ShardId};
use keystead_wal::fuzzing::{IDENTITY, reseal};
use keystead_wal::{
    Batch, Log, LogOptions, MemoryDisk, Record, Recovered, RecoveredGroup, WalError,
};

use crate::input::Input;

const DIR: &str = "/node";
const SEGMENT_BYTES: u64 = 4096;
const GROUPS: u32 = 3;

/// See the module. The first byte decides between the two, and whether checksums are made right.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.u8() % 3 {
        0 => any_segments(input, false),
        1 => any_segments(input, true),
        _ => written(&mut input),
    }
}

fn open(disk: &MemoryDisk) -> Result<(Log<MemoryDisk>, Recovered), WalError> {
    let options = LogOptions {
        segment_bytes: SEGMENT_BYTES,
        reserve_bytes: 0,
        ..LogOptions::new(IDENTITY.node, IDENTITY.log_id)
    };
    Log::open(disk.clone(), Path::new(DIR), options)
}

fn any_segments(mut input: Input<'_>, is_sealed: bool) {
    let disk = MemoryDisk::new(1 << 24);
    let (count, zeros) = (1 + input.below(3), input.below(200));
    let mut block = 1;
    for sequence in 1..=count as u64 {
        let mut segment = vec![0; 64];
        segment.extend_from_slice(input.piece(700));
        if is_sealed {
            block = reseal(&mut segment, sequence, block);
        }
        segment.resize(segment.len() + zeros, 0);
        disk.put(&Path::new(DIR).join(format!("log/{sequence:016}.seg")), segment);
    }
    let recovered = match open(&disk) {
        Ok((log, recovered)) => {
            log.close().expect("a log that was opened can be closed");
            recovered
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "an error without words");
            return;
        }
    };
    let (_, again) = open(&disk).expect("a log that was opened can be opened again");
    assert_eq!(again.groups, recovered.groups, "what was read once is read again as it was");
}

/// What was appended, as the log should give it back after each batch.
type Groups = BTreeMap<ShardId, RecoveredGroup>;

fn written(input: &mut Input<'_>) {
    let disk = MemoryDisk::new(1 << 24);
    let (mut log, _) = open(&disk).expect("a log is made in an empty directory");
    let mut history = vec![Groups::new()];
    let mut synced = 0;
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            0..=3 => {
                let mut batch = Batch::new();
                let mut groups = history.last().cloned().unwrap_or_default();
                for _ in 0..=input.below(4) {
                    push(input, &mut batch, &mut groups);
                }
                log.append(&mut batch).expect("there is room");
                history.push(groups);
            }
            4 => {
                log.sync().expect("the disk syncs");
                synced = history.len() - 1;
            }
            5 => log.mark().expect("there is room"),
            6 => log.prepare_segment().expect("there is room"),
            _ => {
                drop(log);
                disk.power_loss(input.u64());
                let reopened = open(&disk);
                let (again, recovered) = match reopened {
                    Ok(reopened) => reopened,
                    Err(error) => panic!("INV-WAL4: a log that lost its power is refused: {error}"),
                };
                let at = history.iter().rposition(|groups| *groups == recovered.groups);
                let at = at.expect("INV-WAL5: what comes back is no prefix of what was appended");
                assert!(at >= synced, "INV-WAL4: batch {synced} was synced, {at} came back");
                history.truncate(at + 1);
                synced = at;
                log = again;
            }
        }
    }
    drop(log);
    damaged(input, &disk, &history, synced);
}

/// A bit flips while the node is down: what comes back was once there, or the log is refused.
fn damaged(input: &mut Input<'_>, disk: &MemoryDisk, history: &[Groups], synced: usize) {
    disk.process_exit();
    let paths = disk.paths();
    let path = &paths[input.below(paths.len())];
    let (offset, bit) = (u64::from(input.u16()), input.u8());
    if !disk.flip_bit(path, offset, bit) {
        return;
    }
    if let Ok((_, recovered)) = open(disk) {
        let at = history.iter().rposition(|groups| *groups == recovered.groups);
        assert!(
            at.is_some(),
            "INV-WAL5: with a bit flipped in {} at {offset} (synced: {synced}), what comes back was never there: {:?}",
            path.display(),
            recovered.groups,
        );
    }
}

fn push(input: &mut Input<'_>, batch: &mut Batch, groups: &mut Groups) {
    let group = ShardId(u32::from(input.u8()) % GROUPS);
    let choice = input.u8();
    let payload = vec![choice; input.below(400)];
    let known = groups.entry(group).or_default();
    let base = known.snapshot.as_ref().map_or(0, |(index, _)| index.0);
    let last = known.entries.last().map_or(base, |(index, _)| index.0);
    match choice % 8 {
        0..=4 => {
            let back = u64::from(choice / 8 % 3);
            let index = LogIndex((last + 1).saturating_sub(back).max(base + 1));
            batch.push_entry(group, index, &payload);
            known.entries.retain(|(at, _)| *at < index);
            known.entries.push((index, Bytes::from(payload)));
        }
        5 => {
            batch.push(Record::State { group, payload: &payload });
            known.state = Some(Bytes::from(payload));
        }
        6 if last > base => {
            let index = LogIndex(base + 1 + u64::from(choice / 8) % (last - base));
            batch.push_snapshot(group, index, &payload);
            known.entries.retain(|(at, _)| *at > index);
            known.snapshot = Some((index, Bytes::from(payload)));
        }
        6 => {
            let index = LogIndex(last + u64::from(choice / 8));
            batch.push_installed(group, index, &payload);
            known.entries.clear();
            known.snapshot = Some((index, Bytes::from(payload)));
        }
        _ => {
            batch.push_removed(group);
            groups.remove(&group);
        }
    }
}

/// Histories and segments.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let walk = |first: u8, step: u8| -> Vec<u8> {
        let bytes = (0_u8..200).map(|number| number.wrapping_mul(step).wrapping_add(first));
        std::iter::once(2).chain(bytes).collect()
    };
    vec![
        walk(0, 1),
        walk(3, 7),
        walk(9, 29),
        [&[1, 1, 0, 0, 0, 0xff, 1][..], &[3; 600]].concat(),
        [&[1, 0, 0, 9, 0, 0xc0, 0][..], &(0..=255).collect::<Vec<u8>>()].concat(),
        [&[0, 0, 0, 9, 0, 0x40, 0][..], &[0; 200]].concat(),
    ]
}
