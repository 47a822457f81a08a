//! INV-WAL10, INV-WAL11: a submitter who writes for himself keeps the order, and a failure he meets is the last thing.
//! A writer that does not run yet makes the decisions certain; threads side by side look for the rest.

use keystead_types::{LogIndex, ShardId};
use keystead_wal::{
    DiskState, Handle, Kind, MemoryDisk, Refusal, Submission, Writer, WriterOptions,
};

use crate::model::{Op, batch_of, entries, open, replay};
use crate::writer::{Inbox, SEGMENT_BYTES, wait_until, with_writer};

/// One entry of a group, durable only if that is asked for.
fn entry(inbox: &Inbox, group: u32, index: u64, must_sync: bool) -> Submission {
    inbox.submission(index, batch_of(&entries(group, index, index)), must_sync)
}

/// Writes entries of group 0 until one is written at once; returns its index.
fn write_until_direct(handle: &Handle, inbox: &Inbox, first: u64) -> u64 {
    let mut index = first;
    wait_until("written at once", || {
        index += 1;
        handle.write_now(entry(inbox, 0, index - 1, false)).unwrap().is_some()
    });
    index - 1
}

#[test]
fn a_free_log_is_written_at_once_and_anything_before_it_makes_it_wait() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let (writer, preparer, handle) = Writer::new(log, WriterOptions::default());

    let written = handle.write_now(entry(&inbox, 0, 1, false)).unwrap().unwrap();
    assert_eq!((written.token, written.is_durable), (1, false));
    assert!(written.batch.is_empty());
    assert!(handle.write_now(entry(&inbox, 0, 2, true)).unwrap().is_none(), "needs an fsync");
    assert!(handle.write_now(entry(&inbox, 0, 3, false)).unwrap().is_none(), "behind the second");
    assert!(inbox.receiver.try_recv().is_err());

    std::thread::scope(|scope| {
        scope.spawn(move || preparer.run());
        let writer = scope.spawn(move || writer.run(|_| {}));
        assert_eq!([inbox.next().token, inbox.next().token], [2, 3]);
        assert!(inbox.receiver.try_recv().is_err(), "the first is not completed twice");
        handle.shutdown();
        writer.join().unwrap().unwrap();
    });
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, replay(&[entries(0, 1, 3)]));
}

#[test]
fn the_next_segment_is_left_to_the_writer() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let (writer, preparer, handle) = Writer::new(log, WriterOptions::default());
    let large = [Op::Entry(ShardId(0), LogIndex(1), vec![1; 5000])];
    assert!(handle.write_now(inbox.submission(1, batch_of(&large), false)).unwrap().is_none());
    std::thread::scope(|scope| {
        scope.spawn(move || preparer.run());
        let writer = scope.spawn(move || writer.run(|_| {}));
        assert_eq!(inbox.next().token, 1);
        handle.shutdown();
        writer.join().unwrap().unwrap();
    });
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, replay(&[large.to_vec()]));
}

#[test]
fn two_submitters_keep_their_orders_however_each_record_is_written() {
    const EACH: u64 = 2000;
    let disk = MemoryDisk::new(1 << 24);
    with_writer(&disk, |handle| {
        std::thread::scope(|scope| {
            for group in [0, 1] {
                scope.spawn(move || {
                    let inbox = Inbox::new();
                    let mut persisted = 0;
                    for index in 1..=EACH {
                        // At most a few under way, as a worker has.
                        while persisted + 3 < index {
                            persisted = persisted.max(inbox.next().token);
                        }
                        let submission = entry(&inbox, group, index, index % 7 == 0);
                        if let Some(written) = handle.write_now(submission).unwrap() {
                            persisted = written.token;
                        }
                    }
                    while persisted < EACH {
                        persisted = persisted.max(inbox.next().token);
                    }
                });
            }
        });
    })
    .unwrap();
    disk.power_loss(3);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    // Of one group no entry may be missing or stand before an earlier one: INV-WAL3 would have failed the writer.
    assert_eq!(recovered.groups, replay(&[entries(0, 1, EACH), entries(1, 1, EACH)]));
}

#[test]
fn a_completion_says_durable_only_of_what_is_synced() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let mut durable = 0;
    let outcome = with_writer(&disk, |handle| {
        for index in 1..=300 {
            let must_sync = index % 5 == 0;
            if handle.write_now(entry(&inbox, 0, index, must_sync)).unwrap().is_some() {
                assert!(!must_sync);
            } else {
                let written = inbox.next();
                assert_eq!(written.token, index);
                assert!(written.is_durable || !must_sync);
                durable = if written.is_durable { index } else { durable };
            }
        }
        disk.cut_power_after(0);
    });
    assert!(outcome.is_err(), "the log cannot be closed without power");
    disk.power_loss(9);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert!(recovered.groups[&ShardId(0)].entries.len() as u64 >= durable);
    assert_eq!(durable, 300);
}

#[test]
fn what_a_submitter_wrote_is_synced_in_the_background() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    with_writer(&disk, |handle| {
        let mut next = 1;
        // Several times: each sync must be asked for anew.
        for _ in 0..5 {
            let syncs = handle.stats().syncs_total;
            next = write_until_direct(handle, &inbox, next) + 1;
            wait_until("synced", || handle.stats().syncs_total > syncs);
        }
        wait_until("all of it, and vouched for", || handle.stats().end > handle.stats().synced);
    })
    .unwrap();
}

#[test]
fn a_write_that_fails_in_a_submitters_thread_ends_the_writer_and_completes_nothing() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let (writer, _preparer, handle) = Writer::new(log, WriterOptions::default());
    assert!(handle.write_now(entry(&inbox, 0, 1, false)).unwrap().is_some());
    disk.fail_write_after(0);
    assert!(handle.write_now(entry(&inbox, 0, 2, false)).unwrap().is_none());
    // Nobody writes after that (INV-WAL6), whoever asks.
    assert!(handle.write_now(entry(&inbox, 0, 3, false)).unwrap().is_none());
    handle.submit(entry(&inbox, 0, 4, true)).unwrap();
    let mut told = None;
    let failure = writer.run(|failure| told = Some(failure.to_string())).unwrap_err();
    assert_eq!(failure.kind(), Kind::Unknown);
    assert!(failure.to_string().starts_with("cannot append to the log"), "{failure}");
    assert_eq!(told, Some(failure.to_string()));
    assert!(inbox.receiver.try_recv().is_err());
    let refused = handle.write_now(entry(&inbox, 0, 5, false)).unwrap_err();
    assert_eq!((refused.reason, refused.submission.token), (Refusal::Closed, 5));
    // The directory's lock went with the writer, though the handle is still here.
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert_eq!(recovered.groups, replay(&[entries(0, 1, 1)]));
}

#[test]
fn a_panic_in_a_submitters_thread_ends_the_writer() {
    let disk = MemoryDisk::new(1 << 24);
    let inbox = Inbox::new();
    let (log, _) = open(&disk, SEGMENT_BYTES).unwrap();
    let (writer, _preparer, handle) = Writer::new(log, WriterOptions::default());
    let gap = entry(&inbox, 0, 5, false);
    let write = std::panic::AssertUnwindSafe(|| drop(handle.write_now(gap)));
    assert!(std::panic::catch_unwind(write).is_err(), "INV-WAL3");
    handle.submit(entry(&inbox, 0, 1, false)).unwrap();
    assert_eq!(writer.run(|_| {}).unwrap_err().kind(), Kind::Closed);
    assert!(inbox.receiver.try_recv().is_err());
}

#[test]
fn a_full_disk_sends_submitters_to_the_queue_until_there_is_room() {
    let disk = MemoryDisk::new(9_000);
    let inbox = Inbox::new();
    with_writer(&disk, |handle| {
        let mut persisted = 0;
        for index in 1..=200 {
            if let Some(written) = handle.write_now(entry(&inbox, 0, index, false)).unwrap() {
                persisted = written.token;
            }
        }
        wait_until("full", || {
            persisted = inbox.receiver.try_iter().map(|w| w.token).fold(persisted, u64::max);
            handle.disk_state() == DiskState::Full
        });
        assert!(persisted < 200);
        disk.set_capacity_bytes(1 << 20);
        while persisted < 200 {
            persisted = persisted.max(inbox.next().token);
        }
        wait_until("healed", || handle.disk_state() == DiskState::Ok);
        write_until_direct(handle, &inbox, 201);
    })
    .unwrap();
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert!(recovered.groups[&ShardId(0)].entries.len() > 200);
}

#[test]
fn what_was_taken_before_a_shutdown_is_in_the_log() {
    let disk = MemoryDisk::new(1 << 24);
    let mut taken = 0;
    with_writer(&disk, |handle| {
        std::thread::scope(|scope| {
            let submitter = scope.spawn(|| {
                let inbox = Inbox::new();
                for index in 1.. {
                    match handle.write_now(entry(&inbox, 0, index, false)) {
                        Ok(None) => drop(inbox.next()),
                        Ok(Some(_)) => {}
                        Err(refused) => {
                            assert_eq!(refused.reason, Refusal::Closed);
                            return index - 1;
                        }
                    }
                }
                unreachable!("the numbers do not end")
            });
            wait_until("some are written", || handle.stats().blocks_total > 100);
            handle.shutdown();
            taken = submitter.join().unwrap();
        });
    })
    .unwrap();
    disk.power_loss(2);
    let (_, recovered) = open(&disk, SEGMENT_BYTES).unwrap();
    assert!(recovered.was_closed);
    assert_eq!(recovered.groups, replay(&[entries(0, 1, taken)]));
}
