//! Proof of the proof: known mistakes, each of which must be found.
//! Owns: the table, and looking for each. Never: what a mistake does (see `types::mistakes` and the places that ask it).

use std::time::{Duration, Instant};

use keystead_types::mistakes::Mistake;

use crate::runner::{Failure, run};
use crate::scenario::Manner;

/// Within how many seeds, from 0 on, each mistake is found.
pub const TABLE: &[(Mistake, u64)] = &[
    (Mistake::AckBeforeFsync, 100),
    (Mistake::LeaseWithoutReadIndex, 100),
    (Mistake::LeaseKeptOnTransfer, 100),
    (Mistake::LeaseBeforeApplied, 100),
    (Mistake::LeaseTooLong, 100),
    (Mistake::NoRestartFence, 100),
    (Mistake::VoteForgotten, 100),
    (Mistake::DoubleApplyOnRetry, 100),
    (Mistake::RejectedWhenDeposed, 100),
    (Mistake::StaleForward, 100),
    (Mistake::SnapshotWithoutLastSlot, 100),
    (Mistake::LogDroppedBeforeSnapshot, 100),
    (Mistake::PurgePastSnapshot, 100),
    (Mistake::ClockInApply, 100),
    (Mistake::TornMiddleAccepted, 100),
    (Mistake::BatchAppend, 100),
    (Mistake::WatchIgnored, 100),
    (Mistake::FsyncErrorIgnored, 100),
    (Mistake::TimeRunsBackwards, 100),
    (Mistake::ReadBeforeFirstCommit, 100),
];

/// How a mistake was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The mistake.
    pub mistake: Mistake,
    /// By which seed it had to be found.
    pub seeds_max: u64,
    /// The failure that it led to, if it was found.
    pub failure: Option<Failure>,
    /// How long the search took.
    pub took: Duration,
}

/// Looks for a mistake.
#[must_use]
pub fn find(mistake: Mistake, seeds_max: u64) -> Finding {
    let begun = Instant::now();
    let failure =
        (0..seeds_max).find_map(|seed| run(seed, Manner::Dense, Some(mistake), false).err());
    Finding { mistake, seeds_max, failure: failure.map(|failure| *failure), took: begun.elapsed() }
}
