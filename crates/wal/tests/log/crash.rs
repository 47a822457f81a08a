//! INV-WAL4, INV-WAL5: after a crash at any byte, what was synced is there, and the rest is a prefix.

use keystead_types::{LogIndex, ShardId};
use keystead_wal::{Kind, Log, MemoryDisk, RecoveredGroup, write_durably};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use crate::model::{Groups, Op, batch_of, entries, open, replay};

const SEGMENT_BYTES: u64 = 4096;

/// What happens to the log, with numbers that the test makes sense of.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, u32, u8, u16)>),
    Sync,
    Mark,
    Prepare,
    Purge(u8),
    Crash { after_bytes: u16, seed: u64 },
    Exit,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0..12u8, 0..3u32, any::<u8>(), prop_oneof![9 => 0..300u16, 1 => 0..9000u16]);
    prop_oneof![
        8 => prop::collection::vec(op, 1..6).prop_map(Step::Append),
        5 => Just(Step::Sync),
        1 => Just(Step::Mark),
        2 => Just(Step::Prepare),
        2 => any::<u8>().prop_map(Step::Purge),
        2 => (0..3000u16, any::<u64>()).prop_map(|(after_bytes, seed)| Step::Crash { after_bytes, seed }),
        1 => Just(Step::Exit),
        1 => Just(Step::Close),
    ]
}

/// Makes records that follow what the groups have.
fn make_ops(numbers: &[(u8, u32, u8, u16)], groups: &Groups) -> Vec<Op> {
    let mut groups = groups.clone();
    let mut ops = Vec::new();
    for (kind, group, number, length) in numbers.iter().copied() {
        let group = ShardId(group);
        let known = groups.entry(group).or_default();
        let base = known.snapshot.as_ref().map_or(0, |(index, _)| index.0);
        let last = known.entries.last().map_or(base, |(index, _)| index.0);
        let payload = vec![number; usize::from(length)];
        let op = match kind {
            0..=7 => {
                let first = (last + 1).saturating_sub(u64::from(number % 8) / 6).max(base + 1);
                Op::Entry(group, LogIndex(first), payload)
            }
            8 => Op::State(group, vec![number; 20]),
            9 if last > base => {
                let index = base + 1 + u64::from(number) % (last - base);
                Op::Snapshot(group, LogIndex(index), vec![number; 30])
            }
            10 => Op::Installed(group, LogIndex(last + u64::from(number % 5)), vec![number; 30]),
            11 if number < 40 => Op::Removed(group),
            _ => Op::State(group, vec![number; 25]),
        };
        let mut history = vec![vec![op.clone()]];
        history.insert(0, restate(&groups));
        groups = replay(&history);
        ops.push(op);
    }
    ops
}

/// Records that lead to the given groups.
fn restate(groups: &Groups) -> Vec<Op> {
    let mut ops = Vec::new();
    for (group, known) in groups {
        if let Some((index, payload)) = &known.snapshot {
            ops.push(Op::Snapshot(*group, *index, payload.to_vec()));
        }
        if let Some(state) = &known.state {
            ops.push(Op::State(*group, state.to_vec()));
        }
        for (index, payload) in &known.entries {
            ops.push(Op::Entry(*group, *index, payload.to_vec()));
        }
    }
    ops
}

/// The log beside the list of all that was appended.
struct Run {
    disk: MemoryDisk,
    log: Option<Log<MemoryDisk>>,
    batches: Vec<Vec<Op>>,
    /// So many batches are durable.
    synced: usize,
}

impl Run {
    fn new() -> Self {
        let disk = MemoryDisk::new(1 << 24);
        let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
        Self { disk, log: Some(log), batches: Vec::new(), synced: 0 }
    }

    fn step(&mut self, step: Step) {
        let log = self.log.as_mut().expect("open between steps");
        let outcome = match step {
            Step::Append(numbers) => {
                let ops = make_ops(&numbers, &replay(&self.batches));
                self.batches.push(ops);
                let mut batch = batch_of(self.batches.last().unwrap());
                log.append(&mut batch).map(drop)
            }
            Step::Sync => log.sync().map(|()| self.synced = self.batches.len()),
            Step::Mark => log.mark(),
            Step::Prepare => log.prepare_segment(),
            Step::Purge(number) => {
                let needed =
                    |group| (ShardId(group), LogIndex(u64::from(number) / (u64::from(group) + 1)));
                log.purge(&(0..3).map(needed).collect::<BTreeMap<_, _>>()).map(drop)
            }
            Step::Crash { after_bytes, seed } => {
                if after_bytes < 400 {
                    return self.crash(seed);
                }
                self.disk.cut_power_after(u64::from(after_bytes));
                return;
            }
            Step::Exit => {
                self.disk.process_exit();
                return self.reopen();
            }
            Step::Close => {
                let closed = self.log.take().expect("open").close();
                if closed.is_ok() {
                    self.synced = self.batches.len();
                    return self.reopen();
                }
                closed
            }
        };
        if outcome.is_err() {
            self.crash(self.batches.len() as u64);
        }
    }

    fn crash(&mut self, seed: u64) {
        self.disk.power_loss(seed);
        self.reopen();
    }

    /// Whatever was read back becomes the past, and is durable.
    fn reopen(&mut self) {
        self.log = None;
        let opened = open(&self.disk, SEGMENT_BYTES).or_else(|failure| {
            // The power failed again, while the log was being opened.
            assert_ne!(failure.kind(), Kind::Corrupt, "{failure}");
            self.disk.power_loss(self.synced as u64);
            open(&self.disk, SEGMENT_BYTES)
        });
        let (log, recovered) = opened.expect("an undamaged log opens");
        self.log = Some(log);
        let survived = (self.synced..=self.batches.len())
            .find(|count| replay(&self.batches[..*count]) == recovered.groups);
        let Some(survived) = survived else {
            panic!(
                "INV-WAL4, INV-WAL5: what was recovered ({}) is no prefix from batch {} on of\n{}",
                shape(&recovered.groups),
                self.synced,
                (0..=self.batches.len())
                    .map(|count| shape(&replay(&self.batches[..count])))
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        };
        self.batches.truncate(survived);
        self.synced = survived;
    }
}

/// Enough of the groups to see what is wrong.
fn shape(groups: &Groups) -> String {
    let one = |(group, known): (&ShardId, &RecoveredGroup)| {
        let snapshot = known.snapshot.as_ref().map(|(index, _)| *index);
        let indexes = known.entries.iter().map(|(index, _)| index.0);
        let state = known.state.as_ref().map(|state| state[0]);
        format!("{group}: state {state:?} snapshot {snapshot:?} {:?}", indexes.collect::<Vec<_>>())
    };
    groups.iter().map(one).collect::<Vec<_>>().join("; ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_synced_is_recovered_and_the_rest_is_a_prefix(
        steps in prop::collection::vec(step(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.crash(seed);
        run.crash(seed ^ 1);
    }
}

#[test]
fn the_log_survives_a_crash_at_every_byte_of_its_making() {
    for cut in 0..700 {
        let disk = MemoryDisk::new(1 << 20);
        let batches = [entries(0, 1, 3), entries(1, 1, 2), entries(0, 3, 5)];
        disk.cut_power_after(cut * 13);
        let mut synced = 0;
        if let Ok((mut log, _)) = open(&disk, SEGMENT_BYTES) {
            for (count, ops) in batches.iter().enumerate() {
                if log.append(&mut batch_of(ops)).and_then(|_| log.sync()).is_err() {
                    break;
                }
                synced = count + 1;
            }
        }
        disk.power_loss(cut);
        let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
        let found =
            (synced..=batches.len()).any(|count| replay(&batches[..count]) == recovered.groups);
        assert!(found, "cut {cut}: {recovered:?}");
    }
}

/// INV-WAL7: whatever a power failure leaves of unsynced blocks, every `.seg` has its header.
#[test]
fn a_power_failure_across_unsynced_segments_leaves_a_prefix() {
    for seed in 0..300 {
        let disk = MemoryDisk::new(1 << 20);
        let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
        let batches: Vec<_> = (1..=120).map(|index| entries(0, index, index)).collect();
        for (count, ops) in batches.iter().enumerate() {
            log.append(&mut batch_of(ops)).unwrap();
            if count == 10 {
                log.sync().unwrap();
            }
        }
        assert!(log.stats().end.segment > 2);
        disk.power_loss(seed);
        let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
        let count = recovered.groups[&ShardId(0)].entries.len();
        assert!((11..=120).contains(&count), "seed {seed}: {count}");
        assert_eq!(recovered.groups, replay(&batches[..count]));
    }
}

/// INV-WAL9: a file that others had made durable is there with all of its bytes or not at all.
#[test]
fn a_durable_file_survives_a_power_failure_whole_or_not_at_all() {
    let path = Path::new("/snapshots/s1");
    for cut in 0..300 {
        let disk = MemoryDisk::new(1 << 24);
        disk.cut_power_after(cut * 2000);
        let content: Vec<u8> = (0..500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let written =
            write_durably(&disk, Path::new("/snapshots"), "s1", |file| file.write_all(&content));
        disk.power_loss(cut);
        match disk.contents(path) {
            Some(found) => assert!(found == content, "cut {cut}: half a file"),
            None => assert!(written.is_err(), "cut {cut}: lost after it was reported durable"),
        }
    }
}

/// INV-WAL6, and the restart after it.
#[test]
fn after_a_failed_fsync_the_log_refuses_everything_and_a_restart_makes_its_bytes_durable() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    log.append(&mut batch_of(&entries(0, 1, 1))).unwrap();
    log.sync().unwrap();
    log.append(&mut batch_of(&entries(0, 2, 2))).unwrap();
    disk.fail_sync_after(0);
    let failure = log.sync().unwrap_err();
    assert_eq!(failure.kind(), Kind::Unknown);
    assert_eq!(
        failure.to_string(),
        "cannot sync the log at /node/log/0000000000000001.seg: the disk failed an fsync; this node stops, because \
         a failed fsync may already have lost data; replace the disk or remove the node, then start again"
    );
    let syncs = disk.syncs();
    assert_eq!(log.sync().unwrap_err().kind(), Kind::Closed);
    assert_eq!(log.append(&mut batch_of(&entries(0, 3, 3))).unwrap_err().kind(), Kind::Closed);
    assert_eq!(disk.syncs(), syncs, "an fsync is never retried");

    // The bytes are still in the cache of this disk, though a second fsync would not save them.
    disk.process_exit();
    let (log, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups[&ShardId(0)].entries.len(), 2);
    drop(log);
    disk.power_loss(3);
    let (_, again) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(again.groups, recovered.groups, "what a node was told at its start stays true");
}

#[test]
fn a_failed_write_poisons_the_log_and_says_what_to_do() {
    let disk = MemoryDisk::new(1 << 20);
    let (mut log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    disk.fail_write_after(0);
    let failure = log.append(&mut batch_of(&entries(0, 1, 1))).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "cannot append to the log at /node/log/0000000000000001.seg: the disk failed a write; this node stops, \
         because a failed write may already have lost data; replace the disk or remove the node, then start again"
    );
    assert_eq!(
        log.sync().unwrap_err().to_string(),
        "the log accepts nothing more, because an earlier write or fsync failed; this node must stop"
    );
}

#[test]
#[should_panic(expected = "INV-WAL3: entry 5 of s0 after 3")]
fn a_gap_in_a_groups_entries_is_a_broken_invariant() {
    let (mut log, _) = open(&MemoryDisk::new(1 << 20), SEGMENT_BYTES).unwrap();
    log.append(&mut batch_of(&entries(0, 1, 3))).unwrap();
    log.append(&mut batch_of(&entries(0, 5, 5))).unwrap();
}

/// The disk's own model: what was synced later outlives a power failure, also where it lies within bytes whose fsync
/// had failed.
#[test]
fn a_sync_holds_within_bytes_that_an_earlier_one_lost() {
    use keystead_wal::{Disk, DiskFile};
    let (disk, path) = (MemoryDisk::new(1 << 20), Path::new("/file"));
    disk.put(path, vec![b'a'; 100]);
    let file = disk.open(path).unwrap();
    disk.fail_sync_after(0);
    file.write_at(&[b'b'; 100], 0).unwrap();
    file.sync().unwrap_err();
    file.write_at(&[b'c'; 10], 20).unwrap();
    file.sync().unwrap();
    disk.power_loss(1);
    let bytes = disk.contents(path).unwrap();
    assert_eq!(
        (&bytes[..20], &bytes[20..30], &bytes[30..]),
        (&[b'a'; 20][..], &[b'c'; 10][..], &[b'a'; 70][..])
    );
}
