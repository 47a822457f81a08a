//! A torn tail is cut; damage to what was synced is refused, with file, offset and remedy.

use keystead_types::{LogIndex, NodeId, ShardId};
use keystead_wal::{Kind, Log, LogOptions, MemoryDisk};
use proptest::prelude::*;
use std::path::Path;

use crate::model::{DIR, Groups, batch_of, entries, open, options, replay, segment};

const SEGMENT_BYTES: u64 = 4096;
const BLOCK_HEADER_BYTES: u64 = 56;
const REMEDY: &str = "nothing was changed; restore this node's data from the other replicas: move its data \
                      directory away and let the node join again as a new one";

/// Three synced blocks (at 64, and two more) in one segment; returns where each begins, and the end.
fn three_blocks(disk: &MemoryDisk) -> Vec<u64> {
    let (mut log, _) = open(disk, SEGMENT_BYTES).unwrap();
    let mut offsets = vec![64];
    for index in 1..=3 {
        offsets.push(log.append(&mut batch_of(&entries(0, index, index))).unwrap().offset);
        log.sync().unwrap();
    }
    offsets
}

fn recovered_entries(groups: &Groups) -> Vec<u64> {
    groups.get(&ShardId(0)).map_or(Vec::new(), |g| g.entries.iter().map(|(i, _)| i.0).collect())
}

#[test]
fn a_torn_last_record_is_cut_and_the_log_goes_on() {
    let whole = MemoryDisk::new(1 << 20);
    let offsets = three_blocks(&whole);
    let bytes = whole.contents(&segment(1)).unwrap();
    for cut in offsets[2]..offsets[3] {
        let disk = MemoryDisk::new(1 << 20);
        let mut torn = bytes.clone();
        torn[usize::try_from(cut).unwrap()..].fill(0);
        disk.put(&segment(1), torn);
        let (mut log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
        let is_whole = recovered_entries(&recovered.groups) == [1, 2, 3];
        assert!(is_whole || recovered_entries(&recovered.groups) == [1, 2], "cut at {cut}");
        if !is_whole {
            let tail = recovered.torn_tail.as_ref();
            assert_eq!(tail.map(|t| t.offset), (cut > offsets[2]).then_some(offsets[2]));
            log.append(&mut batch_of(&entries(0, 3, 4))).unwrap();
            log.sync().unwrap();
        }
        drop(log);
        let (_, again) = open(&disk, SEGMENT_BYTES).unwrap();
        assert_eq!(again.torn_tail, None, "cut at {cut}: a tail is cut once");
        assert!(recovered_entries(&again.groups).starts_with(&[1, 2, 3]));
    }
}

#[test]
fn a_file_cut_short_in_its_last_record_opens() {
    let whole = MemoryDisk::new(1 << 20);
    let offsets = three_blocks(&whole);
    let mut bytes = whole.contents(&segment(1)).unwrap();
    bytes.truncate(usize::try_from(offsets[3] - 5).unwrap());
    let disk = MemoryDisk::new(1 << 20);
    disk.put(&segment(1), bytes);
    let (mut log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered_entries(&recovered.groups), [1, 2]);
    assert_eq!(recovered.torn_tail.unwrap().path, segment(1));
    log.append(&mut batch_of(&entries(0, 3, 30))).unwrap();
    log.close().unwrap();
    let (_, again) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered_entries(&again.groups).len(), 30);
}

#[test]
fn a_damaged_middle_refuses_with_file_offset_and_remedy() {
    let disk = MemoryDisk::new(1 << 20);
    let offsets = three_blocks(&disk);
    disk.flip_bit(&segment(1), offsets[1] + 70, 3);
    let before = disk.contents(&segment(1));
    let failure = open(&disk, SEGMENT_BYTES).unwrap_err();
    assert_eq!(failure.kind(), Kind::Corrupt);
    assert_eq!(
        failure.to_string(),
        format!(
            "the log is damaged at byte {} of /node/log/0000000000000001.seg: the checksum of a record does not fit, \
             although the block at byte {} of /node/log/0000000000000001.seg says that this place had been synced; \
             {REMEDY}",
            offsets[1], offsets[2]
        )
    );
    assert_eq!(disk.contents(&segment(1)), before, "nothing was changed");
}

#[test]
fn every_flipped_bit_is_refused_or_harmless_or_cuts_the_last_unvouched_block() {
    let whole = MemoryDisk::new(1 << 20);
    let offsets = three_blocks(&whole);
    let bytes = whole.contents(&segment(1)).unwrap();
    let full = replay(&[entries(0, 1, 3)]);
    for offset in 0..offsets[3] + 300 {
        for bit in [0, 7] {
            let disk = MemoryDisk::new(1 << 20);
            disk.put(&segment(1), bytes.clone());
            disk.flip_bit(&segment(1), offset, bit);
            match open(&disk, SEGMENT_BYTES) {
                Ok((_, recovered)) if recovered.groups == full => {}
                Ok((_, recovered)) => {
                    assert!((offsets[2]..offsets[3]).contains(&offset), "byte {offset}");
                    assert_eq!(recovered_entries(&recovered.groups), [1, 2]);
                    assert_eq!(recovered.torn_tail.unwrap().offset, offsets[2]);
                }
                Err(failure) => {
                    assert!(offset < offsets[2], "byte {offset}: {failure}");
                    let is_version = (8..12).contains(&offset);
                    let kind = if is_version { Kind::Invalid } else { Kind::Corrupt };
                    assert_eq!(failure.kind(), kind, "byte {offset}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_anywhere_in_a_log_of_many_segments_never_loses_what_a_block_vouches_for(
        at in any::<prop::sample::Index>(),
        bits in prop::collection::vec((0..700u64, 0..8u8), 1..4),
    ) {
        let disk = MemoryDisk::new(1 << 20);
        let blocks = many_segments(&disk);
        let place = at.index(5 * 4096) as u64;
        let mut struck = Vec::new();
        for (distance, bit) in bits {
            let offset = place + distance;
            let (segment_number, offset) = (offset / 4096 + 1, offset % 4096);
            disk.flip_bit(&segment(segment_number), offset, bit);
            struck.push((segment_number, offset));
        }
        match open(&disk, SEGMENT_BYTES) {
            Ok((_, recovered)) => {
                let count = recovered_entries(&recovered.groups).len();
                prop_assert_eq!(&recovered.groups, &replay(&[entries(0, 1, count as u64)]));
                // Whoever could have vouched for the first block that is gone must have been struck himself.
                let lost = count as u64 + 1;
                for block in blocks.iter().skip_while(|block| block.entry != lost).skip(1) {
                    let is_struck = struck.iter().any(|(segment, offset)| {
                        *segment == block.segment && block.header.contains(offset)
                    });
                    prop_assert!(is_struck, "entry {lost} is gone, and {block:?} says so");
                }
            }
            Err(failure) => prop_assert!(matches!(failure.kind(), Kind::Corrupt | Kind::Invalid)),
        }
    }
}

#[test]
fn a_mark_or_a_clean_close_vouches_for_the_last_block_too() {
    for is_closed in [false, true] {
        let disk = MemoryDisk::new(1 << 20);
        let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
        log.append(&mut batch_of(&entries(0, 1, 1))).unwrap();
        log.sync().unwrap();
        if is_closed {
            log.close().unwrap();
        } else {
            log.mark().unwrap();
            drop(log);
        }
        let (log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
        assert_eq!(recovered.was_closed, is_closed);
        drop(log);
        disk.flip_bit(&segment(1), 64 + 60, 0);
        assert_eq!(open(&disk, SEGMENT_BYTES).unwrap_err().kind(), Kind::Corrupt);
    }
}

#[test]
fn damage_at_the_head_of_a_later_segment_is_named_there() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut index = 0;
    while log.stats().end.segment < 2 || log.stats().end.offset < 1000 {
        index += 1;
        log.append(&mut batch_of(&entries(0, index, index))).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    disk.flip_bit(&segment(2), 64 + 20, 1);
    let text = open(&disk, SEGMENT_BYTES).unwrap_err().to_string();
    let start = "the log is damaged at byte 64 of /node/log/0000000000000002.seg: the checksum of the header does not \
                 fit, although the block at byte ";
    assert!(text.starts_with(start), "{text}");

    disk.flip_bit(&segment(2), 64 + 20, 1);
    disk.flip_bit(&segment(2), 20, 1);
    assert_eq!(
        open(&disk, SEGMENT_BYTES).unwrap_err().to_string(),
        format!(
            "the log is damaged at byte 0 of /node/log/0000000000000002.seg: the head of the segment is not what was \
             written (the checksum of the header does not fit); {REMEDY}"
        )
    );
}

/// Five segments or more, all synced.
/// A block and the one entry in it; the block that each later segment begins with has none.
#[derive(Debug)]
struct Block {
    entry: u64,
    segment: u64,
    header: std::ops::Range<u64>,
}

/// A log of five segments, every block synced; its blocks in order.
fn many_segments(disk: &MemoryDisk) -> Vec<Block> {
    let (mut log, _) = open(disk, SEGMENT_BYTES).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut index = 0;
    while log.stats().end.segment < 5 {
        let before = log.stats().end;
        index += 1;
        let end = log.append(&mut batch_of(&entries(0, index, index))).unwrap();
        log.sync().unwrap();
        let begins = match end.segment == before.segment {
            true => vec![(index, before.offset)],
            false => vec![(0, 64), (index, 64 + BLOCK_HEADER_BYTES)],
        };
        blocks.extend(begins.into_iter().map(|(entry, begin)| Block {
            entry,
            segment: end.segment,
            header: begin..begin + BLOCK_HEADER_BYTES,
        }));
    }
    blocks
}

/// What the rule cannot see: a block is struck together with all that could vouch for it.
#[test]
fn a_block_is_lost_only_together_with_all_that_vouch_for_it() {
    let disk = MemoryDisk::new(1 << 20);
    let blocks = many_segments(&disk);
    let entry = blocks.last().unwrap().entry - 1;
    let mut last = blocks.iter().skip_while(|block| block.entry != entry).collect::<Vec<_>>();
    let spared = last.remove(1);
    let strike = |block: &Block| {
        assert!(disk.flip_bit(&segment(block.segment), block.header.start + 20, 1));
    };
    last.into_iter().for_each(strike);
    assert_eq!(open(&disk, SEGMENT_BYTES).unwrap_err().kind(), Kind::Corrupt, "one still vouches");
    strike(spared);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, replay(&[entries(0, 1, entry - 1)]));
}

#[test]
fn a_missing_segment_is_named() {
    let disk = MemoryDisk::new(1 << 20);
    many_segments(&disk);
    keystead_wal::Disk::remove(&disk, &segment(3)).unwrap();
    assert_eq!(
        open(&disk, SEGMENT_BYTES).unwrap_err().to_string(),
        "segment /node/log/0000000000000003.seg of the log is missing, though later ones exist; nothing was changed; \
         put the file back, or restore this node's data from the other replicas: move its data directory away and let \
         the node join again as a new one"
    );
}

#[test]
fn missing_old_segments_are_noticed_by_the_entries_they_held() {
    let disk = MemoryDisk::new(1 << 20);
    many_segments(&disk);
    keystead_wal::Disk::remove(&disk, &segment(1)).unwrap();
    let failure = open(&disk, SEGMENT_BYTES).unwrap_err();
    assert_eq!(failure.kind(), Kind::Corrupt);
    let text = failure.to_string();
    assert!(text.starts_with("the log in /node/log lacks entries 1 to "), "{text}");
}

#[test]
fn segments_of_another_log_or_version_are_refused() {
    let (ours, theirs) = (MemoryDisk::new(1 << 20), MemoryDisk::new(1 << 20));
    many_segments(&ours);
    let (log, _) = Log::open(
        theirs.clone(),
        Path::new(DIR),
        LogOptions {
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: 0,
            ..LogOptions::new(NodeId(7), 43)
        },
    )
    .unwrap();
    drop(log);
    let (log, recovered) = open(&theirs, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.identity.log_id, 43, "an existing log keeps its identity");
    drop(log);
    many_segments(&theirs);
    ours.put(&segment(3), theirs.contents(&segment(3)).unwrap());
    assert_eq!(
        open(&ours, SEGMENT_BYTES).unwrap_err().to_string(),
        "segment /node/log/0000000000000003.seg belongs to another log than the segments before it; nothing was \
         changed; take the file away if it was copied here, else restore this node's data from the other replicas"
    );
    let mut bytes = ours.contents(&segment(1)).unwrap();
    bytes[8] = 9;
    ours.put(&segment(1), bytes);
    assert_eq!(
        open(&ours, SEGMENT_BYTES).unwrap_err().to_string(),
        "segment /node/log/0000000000000001.seg has log format 9, this program reads formats up to 2; nothing was \
         changed; start the version of the program that wrote it"
    );
}

#[test]
fn a_client_who_stores_a_block_as_a_value_cannot_pass_for_a_witness() {
    let disk = MemoryDisk::new(1 << 20);
    let offsets = three_blocks(&disk);
    let bytes = disk.contents(&segment(1)).unwrap();
    let stolen =
        bytes[usize::try_from(offsets[2]).unwrap()..usize::try_from(offsets[3]).unwrap()].to_vec();
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let payload = stolen.repeat(4);
    let op = crate::model::Op::Entry(ShardId(0), LogIndex(4), payload);
    log.append(&mut batch_of(&[op])).unwrap();
    drop(log);
    // The block with the forgery is torn at its head; the forgery is whole.
    disk.flip_bit(&segment(1), offsets[3] + 1, 1);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.torn_tail.unwrap().offset, offsets[3]);
}

#[test]
fn two_processes_cannot_open_one_directory() {
    let disk = MemoryDisk::new(1 << 20);
    let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let failure = open(&disk, SEGMENT_BYTES).unwrap_err();
    assert_eq!(failure.kind(), Kind::Conflict);
    assert_eq!(
        failure.to_string(),
        "the data directory of /node/lock is in use by another process; stop that process first, or give this node a \
         directory of its own"
    );
    drop(log);
    assert_eq!(open(&disk, SEGMENT_BYTES).unwrap().1.identity, options(1).identity_if_new);
}

#[test]
fn a_log_of_format_1_is_read_and_written_on() {
    let disk = MemoryDisk::new(1 << 20);
    three_blocks(&disk);
    let (_, as_written) = open(&disk, SEGMENT_BYTES).unwrap();
    let mut bytes = disk.contents(&segment(1)).unwrap();
    assert_eq!(bytes[8], 2);
    bytes[8] = 1;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..64]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    disk.put(&segment(1), bytes);
    let (mut log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, as_written.groups);
    let last = recovered.groups[&ShardId(0)].entries.last().unwrap().0;
    let op = crate::model::Op::Entry(ShardId(0), last.next(), b"on".to_vec());
    log.append(&mut batch_of(&[op])).unwrap();
    log.close().unwrap();
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups[&ShardId(0)].entries.last().unwrap().1, "on");
}
