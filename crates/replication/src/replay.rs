//! Applying what a restart finds committed, before the replica is handed to its worker.
//!
//! Owns: [`Replica::replay`]. Never: decides what is committed: that is what the hard state says.
//! Called by whoever rebuilds a replica, on a thread of its own: the worker drives many replicas with one thread,
//! and a node that returns would apply the logs of all its shards one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use keystead_types::mistakes::{self, Mistake, is_made};
use keystead_types::{ApplyContext, LogIndex, UnixMillis};
use raft::eraftpb::{Entry, EntryType};

use crate::entry::{Header, Kind};
use crate::group::{Digests, is_blank, remember_digest};
use crate::machine::{Machine, Replies};
use crate::recovery::{RecoveryError, Replica};
use crate::worker::panic_text;

/// How far a machine has come, and what was noted on the way.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Index of the last entry applied.
    pub(crate) index: u64,
    /// The time stamped on it.
    pub(crate) now: UnixMillis,
    /// Digests taken, newest last.
    pub(crate) digests: Digests,
    /// What was applied, for a simulator.
    #[cfg(feature = "simulation")]
    pub(crate) applied: Vec<crate::simulation::Applied>,
}

impl<M: Machine> Replica<M> {
    /// Applies what the hard state says is committed, in the order of the log (INV-R5), up to the first change of the
    /// group's replicas: that is raft's to apply. Nobody waits for a reply to anything of it.
    ///
    /// Memory then keeps no entry that was applied, except for `bytes_kept` of them, for followers that lag.
    ///
    /// # Errors
    /// If applying an entry panics. The replica is of no use then.
    pub fn replay(&mut self, bytes_kept: usize) -> Result<(), RecoveryError> {
        let start = &mut self.start;
        let shard = start.id;
        let commit = start.log.hard_state().commit;
        let is_alone =
            start.log.conf().voters == [start.node.0] && start.log.conf().learners.is_empty();
        while let Some(entry) = start.log.entry(start.replayed.index + 1) {
            if entry.index > commit || entry.get_entry_type() != EntryType::EntryNormal {
                break;
            }
            let entry = entry.clone();
            let (machine, replayed) = (&mut start.machine, &mut start.replayed);
            // What a panic leaves half done is dropped with the replica.
            let apply = AssertUnwindSafe(|| apply_one(machine, &entry, replayed));
            catch_unwind(apply).map_err(|panic| RecoveryError::Replay {
                shard,
                index: LogIndex(entry.index),
                reason: panic_text(&*panic),
            })?;
            start.replayed.index = entry.index;
            start.cell.count_applied();
            #[cfg(feature = "simulation")]
            start.replayed.applied.push(crate::simulation::Applied::of(shard, &entry));
            if is_alone {
                // One at a time, so that the buffers which they were read into are let go of on the way.
                start.log.trim(entry.index, 0);
            }
        }
        start.log.detach_newest(bytes_kept);
        start.log.trim(start.replayed.index, bytes_kept);
        Ok(())
    }
}

#[cfg(feature = "simulation")]
impl<M: Machine> Replica<M> {
    /// Tells a simulator what was applied before the worker saw the replica.
    pub(crate) fn hand_out_applied(mut self, out: &mut crate::outputs::Outputs) -> Self {
        out.applied.append(&mut self.start.replayed.applied);
        self
    }
}

fn apply_one<M: Machine>(machine: &mut M, entry: &Entry, replayed: &mut Replayed) {
    if is_blank(entry) {
        return;
    }
    let (header, commands) = Header::split(&entry.data)
        .unwrap_or_else(|error| panic!("INV-R1: the entry cannot be applied: {error}"));
    assert!(
        header.now >= replayed.now,
        "INV-A1: the entry is stamped {}, before {}",
        header.now,
        replayed.now
    );
    replayed.now = header.now;
    let index = LogIndex(entry.index);
    match header.kind {
        Kind::Digest => remember_digest(&mut replayed.digests, index, machine.digest()),
        Kind::Commands => {
            let is_clock = is_made(Mistake::ClockInApply);
            let now = if is_clock { UnixMillis(mistakes::clock_ms()) } else { header.now };
            let context = ApplyContext { index, now, seed: header.seed };
            machine.apply(&context, commands, &[], &mut Replies::default());
        }
    }
}
