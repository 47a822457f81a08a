//! What a replica comes back as, for each way in which snapshot and log may stand to one another.
//! Owns: these cases, in steps too small for chance to find them one by one. Never: a worker.

use std::sync::Arc;

use keystead_types::{LogIndex, NodeId, ShardId, UnixMillis};
use keystead_wal::Batch;
use raft::eraftpb::{ConfState, Entry, HardState};

use super::machine::{History, Ledger};
use crate::entry::{Origin, put_entry_head, write_hard_state};
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
