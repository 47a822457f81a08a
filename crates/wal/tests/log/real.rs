//! The same log on the machine's own file system.

use keystead_types::{LogIndex, NodeId, ShardId};
use keystead_wal::{Disk, Kind, Log, LogOptions, RealDisk, write_durably};
use std::io::Write;

use crate::model::{batch_of, entries, replay};

fn options() -> LogOptions {
    LogOptions { segment_bytes: 64 * 1024, ..LogOptions::new(NodeId(1), 2) }
}

#[test]
fn what_was_written_is_read_back_through_many_openings_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = Vec::new();
    for round in 0..5 {
        let (mut log, recovered) = Log::open(RealDisk, dir.path(), options()).unwrap();
        assert_eq!(recovered.is_new, round == 0);
        assert_eq!(recovered.groups, replay(&history));
        for index in 1..=300 {
            history.push(entries(round, index, index));
            log.append(&mut batch_of(history.last().unwrap())).unwrap();
        }
        if round % 2 == 0 {
            log.close().unwrap();
        } else {
            log.sync().unwrap();
        }
    }
}

#[test]
fn the_lock_names_the_process_that_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(RealDisk, dir.path(), options()).unwrap();
    let failure = Log::open(RealDisk, dir.path(), options()).unwrap_err();
    assert_eq!(failure.kind(), Kind::Conflict);
    let holder = format!("is in use by process {};", std::process::id());
    assert!(failure.to_string().contains(&holder), "{failure}");
    drop(log);
    Log::open(RealDisk, dir.path(), options()).unwrap();
}

#[test]
fn neighbouring_entries_of_a_group_share_a_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(RealDisk, dir.path(), options()).unwrap();
    log.append(&mut batch_of(&entries(0, 1, 1))).unwrap();
    log.append(&mut batch_of(&entries(1, 1, 1))).unwrap();
    log.append(&mut batch_of(&entries(0, 2, 2))).unwrap();
    log.close().unwrap();
    let (_, recovered) = Log::open(RealDisk, dir.path(), options()).unwrap();
    let [(LogIndex(1), first), (LogIndex(2), second)] = &recovered.groups[&ShardId(0)].entries[..]
    else {
        panic!("{recovered:?}");
    };
    assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, first.len());
}

#[test]
fn a_durable_file_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let whole = vec![3; 1_000_000];
    let path = write_durably(&RealDisk, dir.path(), "a", |file| {
        file.write_all(&whole)?;
        assert_eq!(file.bytes(), 1_000_000);
        Ok(())
    })
    .unwrap();
    assert_eq!(std::fs::read(path).unwrap(), whole);
    let failed = write_durably(&RealDisk, dir.path(), "b", |file| {
        file.write_all(&whole)?;
        Err(std::io::Error::other("changed my mind"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "changed my mind");
    assert_eq!(RealDisk.list(dir.path()).unwrap(), ["a"]);
}
