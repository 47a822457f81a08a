//! What a replica comes back as, for each way in which snapshot and log may stand to one another.
//! Owns: these cases, in steps too small for chance to find them one by one. Never: a worker.

use std::sync::Arc;

use keystead_types::{LogIndex, NodeId, ShardId, UnixMillis};
use keystead_wal::Batch;
use parking_lot::Mutex;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use super::machine::{History, Ledger, Window, write};
use crate::entry::{Header, Kind, Origin, put_entry_head, write_hard_state};
use crate::group::Start;
use crate::recovery::{Found, Identity, RecoveryError, Replica, SnapshotPlace};

fn origin(index: u64, term: u64) -> Origin {
    let conf = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    Origin { index, term, conf, now: UnixMillis(0) }
}

/// A log that begins after `base` and has entries of the given terms.
fn log(base: (u64, u64), terms: &[u64], state: HardState) -> Found {
    let entries = terms.iter().zip(base.0 + 1..).map(|(&term, index)| {
        let mut bytes = Vec::new();
        put_entry_head(&Entry { index, term, ..Entry::default() }, &mut bytes);
        (LogIndex(index), bytes.into())
    });
    Found {
        state: Some(write_hard_state(&state)),
        origin: Some((LogIndex(base.0), origin(base.0, base.1).write())),
        entries: entries.collect(),
    }
}

fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit, ..HardState::default() }
}

fn recover(
    found: Found,
    snapshot: Option<(u64, u64)>,
) -> Result<(Start<Ledger>, Batch), RecoveryError> {
    let identity = Identity {
        id: ShardId(1),
        node: NodeId(1),
        cell: Arc::default(),
        seed: 1,
        snapshot: snapshot.map(|(index, term)| SnapshotPlace(origin(index, term))),
    };
    let machine = Ledger::new(History::default(), Arc::default());
    let mut records = Batch::new();
    let replica = Replica::recover(identity, machine, found, &mut records)?;
    Ok((replica.into_start(), records))
}

#[test]
fn a_log_goes_on_behind_its_snapshot() {
    let (start, records) =
        recover(log((5, 5), &[6, 6, 6], state(6, 2, 7)), Some((7, 6))).expect("it fits");
    assert_eq!((start.origin.index, start.log.first(), start.log.last()), (7, 8, 8));
    assert!(records.is_empty(), "the log on disk says the same already");
}

#[test]
fn a_snapshot_newer_than_the_log_replaces_it() {
    let (start, records) =
        recover(log((5, 5), &[6, 6], state(6, 2, 6)), Some((20, 8))).expect("it fits");
    assert_eq!((start.log.first(), start.log.last()), (21, 20));
    assert!(!records.is_empty(), "the log on disk must learn that it begins anew");
    let state = start.log.hard_state();
    assert_eq!((state.term, state.vote, state.commit), (8, 0, 20), "no vote was given in term 8");
}

#[test]
fn a_log_that_went_another_way_than_the_snapshot_is_dropped() {
    let (start, records) =
        recover(log((5, 5), &[6, 6, 6, 6], state(7, 3, 6)), Some((8, 7))).expect("it fits");
    assert_eq!((start.log.first(), start.log.last()), (9, 8));
    assert!(!records.is_empty());
    assert_eq!(start.log.hard_state().vote, 3, "the vote of the term still counts");
}

#[test]
fn a_log_that_begins_behind_the_snapshot_is_refused() {
    let refused = recover(log((10, 6), &[6, 6], state(6, 2, 11)), Some((7, 6)));
    assert!(matches!(
        refused,
        Err(RecoveryError::Gap { log_first: LogIndex(11), snapshot: LogIndex(7), .. })
    ));
}

#[test]
fn a_commit_beyond_the_log_is_not_believed() {
    let (start, _) = recover(log((5, 5), &[6, 6], state(6, 2, 99)), None).expect("it fits");
    assert_eq!(start.log.hard_state().commit, 7, "what is not there cannot be applied");
}

/// A log after index 5 whose entries hold a write each, but for those that change the replicas; all that is known is
/// that the first three are committed.
fn writes(voters: &[u64], kinds: &[EntryType]) -> (Replica<Ledger>, Arc<Mutex<Window>>) {
    let conf = ConfState { voters: voters.to_vec(), ..ConfState::default() };
    let base = Origin { index: 5, term: 5, conf, now: UnixMillis(0) };
    let entries = kinds.iter().zip(6..).map(|(&kind, index)| {
        let mut entry = Entry { index, term: 6, ..Entry::default() };
        entry.set_entry_type(kind);
        let mut bytes = Vec::new();
        put_entry_head(&entry, &mut bytes);
        Header { kind: Kind::Commands, now: UnixMillis(index * 10), seed: 0 }.put(&mut bytes);
        bytes.extend_from_slice(&write(index));
        (LogIndex(index), bytes.into())
    });
    let found = Found {
        state: Some(write_hard_state(&state(6, 1, 8))),
        origin: Some((LogIndex(5), base.write())),
        entries: entries.collect(),
    };
    let window = Arc::<Mutex<Window>>::default();
    let machine = Ledger::new(History::default(), Arc::clone(&window));
    let identity =
        Identity { id: ShardId(1), node: NodeId(1), cell: Arc::default(), seed: 1, snapshot: None };
    let replica = Replica::recover(identity, machine, found, &mut Batch::new());
    (replica.expect("it fits"), window)
}

/// INV-R5.
#[test]
fn what_is_known_to_be_committed_is_applied_before_a_worker_has_the_replica() {
    let (mut replica, window) = writes(&[1, 2, 3], &[EntryType::EntryNormal; 5]);
    replica.replay(usize::MAX).expect("the machine applies it");
    assert_eq!(window.lock().ids, [6, 7, 8], "what may still be overwritten is not applied");
    let start = replica.into_start();
    assert_eq!((start.replayed.index, start.replayed.now), (8, UnixMillis(80)));
    assert_eq!((start.log.first(), start.log.last()), (6, 10), "followers may lag");
}

#[test]
fn a_replica_that_is_alone_keeps_no_applied_log_in_memory() {
    let (mut replica, window) = writes(&[1], &[EntryType::EntryNormal; 5]);
    replica.replay(0).expect("the machine applies it");
    assert_eq!(window.lock().ids, [6, 7, 8]);
    let start = replica.into_start();
    assert_eq!((start.log.first(), start.log.last(), start.log.first_needed()), (9, 10, 6));
}

#[test]
fn a_change_of_the_replicas_and_what_follows_is_left_to_raft() {
    use EntryType::{EntryConfChange, EntryNormal};
    let (mut replica, window) = writes(&[1], &[EntryNormal, EntryConfChange, EntryNormal]);
    replica.replay(0).expect("the machine applies it");
    assert_eq!(window.lock().ids, [6]);
    let start = replica.into_start();
    assert_eq!((start.replayed.index, start.log.first()), (6, 7));
}

#[test]
fn an_entry_that_cannot_be_applied_is_named() {
    let (mut replica, window) = writes(&[1], &[EntryType::EntryNormal; 3]);
    window.lock().is_doomed = true;
    let failed = replica.replay(0).expect_err("the machine is doomed");
    assert!(matches!(failed, RecoveryError::Replay { index: LogIndex(6), .. }), "{failed}");
}
