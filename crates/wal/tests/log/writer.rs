//! The log behind its threads: order, one fsync for many, a full disk, a failing one, the end.

use keystead_types::{LogIndex, ShardId};
use keystead_wal::{
    Batch, DiskState, Handle, Kind, MemoryDisk, Refusal, Submission, WalError, Writer,
    WriterOptions, Written,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::model::{DIR, Op, batch_of, entries, open, replay};

pub(crate) const SEGMENT_BYTES: u64 = 4096;
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Runs both threads around `body`, closes, and returns how the writer ended.
pub(crate) fn with_writer(disk: &MemoryDisk, body: impl FnOnce(&Handle)) -> Result<(), WalError> {
    let (log, _) = open(disk, SEGMENT_BYTES).unwrap();
    let options = WriterOptions {
        background_sync: Duration::from_millis(5),
        mark_after: Duration::from_millis(5),
    };
    let (writer, preparer, handle) = Writer::new(log, options);
    std::thread::scope(|scope| {
        scope.spawn(move || preparer.run());
        let writer = scope.spawn(move || writer.run(|_| {}));
        // Also if `body` panics: the scope waits for both threads.
        let closing = ShutDown(&handle);
        body(&handle);
        drop(closing);
        writer.join().expect("the writer does not panic")
    })
}

struct ShutDown<'a>(&'a Handle);

impl Drop for ShutDown<'_> {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

pub(crate) struct Inbox {
    sender: mpsc::Sender<Written>,
    pub(crate) receiver: mpsc::Receiver<Written>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    pub(crate) fn submission(&self, token: u64, batch: Batch, must_sync: bool) -> Submission {
        let sender = self.sender.clone();
        let done = Arc::new(move |written: Written| drop(sender.send(written)));
        Submission { batch, must_sync, token, done }
    }

    pub(crate) fn next(&self) -> Written {
        self.receiver.recv_timeout(DEADLINE).expect("a completion before the deadline")
    }
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn what_waits_for_a_segment_when_the_log_is_closed_is_written_all_the_same() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let (writer, preparer, handle) = Writer::new(log, WriterOptions::default());
    let entry = |index| vec![Op::Entry(ShardId(0), LogIndex(index), vec![7; 2500])];
    for index in [1, 2] {
        handle.submit(inbox.submission(index, batch_of(&entry(index)), true)).unwrap();
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || writer.run(|_| {}));
        // The second has no room: it is in the writer's hands, and nobody makes a segment yet.
        assert_eq!(inbox.next().token, 1);
        handle.shutdown();
        // Long enough for a writer that did not wait to be gone.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(100) {
            assert!(!handle.is_closed(), "the second was taken");
            std::thread::yield_now();
        }
        scope.spawn(move || preparer.run());
        assert_eq!(inbox.next().token, 2);
        writer.join().unwrap().unwrap();
    });
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, replay(&[entry(1), entry(2)]));
}

#[test]
fn completions_come_in_order_and_share_fsyncs() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let mut history = Vec::new();
    with_writer(&disk, |handle| {
        for index in 1..=500 {
            history.push(entries(0, index, index));
            let batch = batch_of(history.last().unwrap());
            handle.submit(inbox.submission(index, batch, true)).unwrap();
        }
        for token in 1..=500 {
            let written = inbox.next();
            assert_eq!((written.token, written.is_durable), (token, true));
            assert!(written.batch.is_empty());
        }
        let stats = handle.stats();
        assert!(stats.syncs_total < 500, "{stats:?}");
        assert!(stats.segments > 3, "{stats:?}");
    })
    .unwrap();
    disk.power_loss(5);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert!(recovered.was_closed);
    assert_eq!(recovered.groups, replay(&history));
}

#[test]
fn what_need_not_be_durable_is_completed_at_once_and_synced_soon() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    with_writer(&disk, |handle| {
        handle.submit(inbox.submission(1, batch_of(&entries(0, 1, 1)), false)).unwrap();
        assert!(!inbox.next().is_durable);
        wait_until("synced in the background", || {
            let stats = handle.stats();
            stats.synced > LogStart::POSITION && stats.syncs_total > 0
        });
        // The idle writer then vouches for it with an empty block.
        wait_until("vouched for", || handle.stats().end > handle.stats().synced);
    })
    .unwrap();
}

struct LogStart;

impl LogStart {
    const POSITION: keystead_wal::Position = keystead_wal::Position { segment: 1, offset: 64 };
}

#[test]
fn a_full_disk_holds_submissions_back_until_there_is_room() {
    let disk = MemoryDisk::new(9_000);
    let inbox = Inbox::new();
    let mut history = Vec::new();
    with_writer(&disk, |handle| {
        wait_until("the spare is ready", || {
            disk.paths().iter().any(|p| p.extension().is_some_and(|e| e == "spare"))
        });
        assert_eq!(handle.disk_state(), DiskState::Ok);
        let mut completed = 0;
        for index in 1..=200 {
            history.push(entries(0, index, index));
            let batch = batch_of(history.last().unwrap());
            handle.submit(inbox.submission(index, batch, true)).unwrap();
        }
        wait_until("full", || {
            completed += inbox.receiver.try_iter().count();
            handle.disk_state() == DiskState::Full
        });
        wait_until("what fits is written", || {
            completed += inbox.receiver.try_iter().count();
            handle.stats().end.segment == 2 && handle.stats().synced == handle.stats().end
        });
        assert!(completed < 200);
        disk.set_capacity_bytes(1 << 20);
        while completed < 200 {
            inbox.next();
            completed += 1;
        }
        wait_until("healed", || handle.disk_state() == DiskState::Ok);
    })
    .unwrap();
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, replay(&history));
}

#[test]
fn a_block_that_no_segment_can_hold_waits_for_room_too() {
    let disk = MemoryDisk::new(20_000);
    let inbox = Inbox::new();
    with_writer(&disk, |handle| {
        let large = [Op::Entry(ShardId(0), LogIndex(1), vec![1; 30_000])];
        handle.submit(inbox.submission(1, batch_of(&large), true)).unwrap();
        wait_until("full", || handle.disk_state() == DiskState::Full);
        assert!(inbox.receiver.try_recv().is_err());
        disk.set_capacity_bytes(1 << 20);
        assert_eq!(inbox.next().token, 1);
        wait_until("healed", || handle.disk_state() == DiskState::Ok);
    })
    .unwrap();
}

#[test]
fn a_failed_fsync_ends_the_writer_and_completes_nothing() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let outcome = with_writer(&disk, |handle| {
        handle.submit(inbox.submission(1, batch_of(&entries(0, 1, 1)), true)).unwrap();
        inbox.next();
        wait_until("the spare is ready", || {
            disk.paths().iter().any(|p| p.extension().is_some_and(|e| e == "spare"))
        });
        disk.fail_sync_after(0);
        handle.submit(inbox.submission(2, batch_of(&entries(0, 2, 2)), true)).unwrap();
        wait_until("closed", || handle.is_closed());
        let refused =
            handle.submit(inbox.submission(3, batch_of(&entries(0, 3, 3)), true)).unwrap_err();
        assert_eq!((refused.reason, refused.submission.token), (Refusal::Closed, 3));
        assert!(inbox.receiver.try_recv().is_err(), "nobody is told that entry 2 is durable");
    });
    assert_eq!(outcome.unwrap_err().kind(), Kind::Unknown);
}

#[test]
fn a_purge_removes_segments_beside_the_writer() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    with_writer(&disk, |handle| {
        for index in 1..=200 {
            handle
                .submit(inbox.submission(index, batch_of(&entries(0, index, index)), true))
                .unwrap();
        }
        let mut batch = Batch::new();
        batch.push_snapshot(ShardId(0), LogIndex(200), b"meta");
        handle.submit(inbox.submission(201, batch, true)).unwrap();
        (1..=201).for_each(|_| drop(inbox.next()));
        handle.purge(BTreeMap::from([(ShardId(0), LogIndex(201))]));
        wait_until("one segment is left", || {
            let segments =
                disk.paths().into_iter().filter(|p| p.extension().is_some_and(|e| e == "seg"));
            segments.count() == 1
        });
        wait_until("the numbers say so", || handle.stats().segments == 1);
    })
    .unwrap();
}

#[test]
fn a_fallen_group_is_read_back_beside_the_writer_after_a_barrier() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    with_writer(&disk, |handle| {
        for index in 1..=100 {
            for group in [0, 1] {
                let batch = batch_of(&entries(group, index, index));
                handle.submit(inbox.submission(index, batch, false)).unwrap();
            }
        }
        handle.submit(inbox.submission(0, Batch::new(), true)).unwrap();
        while inbox.next().token != 0 {}
        let group = keystead_wal::read_group(&disk, Path::new(DIR), ShardId(1)).unwrap().unwrap();
        assert_eq!(group.entries.len(), 100);
        let unknown = keystead_wal::read_group(&disk, Path::new(DIR), ShardId(9)).unwrap();
        assert_eq!(unknown, None);
        assert!(handle.stats().synced.segment > 1);
    })
    .unwrap();
}
