//! Proof of the proof: known mistakes, each of which must be found.
//! Owns: the table, and looking for each. Never: what a mistake does (see `types::mistakes` and the places that ask it).

use std::time::{Duration, Instant};

use keystead_types::mistakes::Mistake;

use crate::runner::{Failure, run};
use crate::scenario::{Fault, Manner, Scenario};

/// A mistake, and what must go wrong for it to show.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The mistake.
    pub mistake: Mistake,
    /// What goes wrong while it is looked for, so that CI has time for all mistakes; none: whatever the seed draws.
    pub faults: &'static [Fault],
    /// Within how many seeds, from 0 on, it is found.
    pub seeds_max: u64,
}

/// Every mistake.
pub const TABLE: &[Row] = &[
    Row {
        mistake: Mistake::LogDroppedBeforeSnapshot,
        faults: &[
            Fault::SnapshotNow,
            Fault::PowerLoss,
            Fault::Blackout,
            Fault::SnapshotWriterFalls,
        ],
        seeds_max: 100,
    },
    Row {
        mistake: Mistake::AckBeforeFsync,
        faults: &[Fault::PowerLoss, Fault::Blackout, Fault::DiskSlow, Fault::Isolation],
        seeds_max: 60,
    },
    Row {
        mistake: Mistake::LeaseWithoutReadIndex,
        faults: &[Fault::Isolation, Fault::OneWay],
        seeds_max: 30,
    },
    Row {
        mistake: Mistake::LeaseKeptOnTransfer,
        faults: &[Fault::Transfer, Fault::Weather, Fault::DiskSlow],
        seeds_max: 100,
    },
    Row {
        mistake: Mistake::LeaseTooLong,
        faults: &[Fault::Isolation, Fault::Pause],
        seeds_max: 10,
    },
    Row {
        mistake: Mistake::DoubleApplyOnRetry,
        faults: &[Fault::Isolation, Fault::Bridge, Fault::Pause, Fault::Crash],
        seeds_max: 40,
    },
    Row { mistake: Mistake::RejectedWhenDeposed, faults: &[], seeds_max: 60 },
    Row {
        mistake: Mistake::StaleForward,
        faults: &[Fault::Isolation, Fault::Transfer],
        seeds_max: 60,
    },
    Row {
        mistake: Mistake::SnapshotWithoutLastSlot,
        faults: &[Fault::SnapshotNow, Fault::Crash, Fault::PowerLoss],
        seeds_max: 5,
    },
    Row {
        mistake: Mistake::PurgePastSnapshot,
        faults: &[Fault::Crash, Fault::PowerLoss],
        seeds_max: 5,
    },
    Row { mistake: Mistake::ClockInApply, faults: &[Fault::ClockJump, Fault::Crash], seeds_max: 5 },
    Row {
        mistake: Mistake::TornMiddleAccepted,
        faults: &[Fault::BitRot, Fault::Crash],
        seeds_max: 60,
    },
    Row {
        mistake: Mistake::BatchAppend,
        // A leader that stood still hears a heartbeat's answer and a rejection in one turn.
        faults: &[Fault::Weather, Fault::Pause],
        seeds_max: 40,
    },
    Row { mistake: Mistake::WatchIgnored, faults: &[Fault::Transfer], seeds_max: 5 },
    Row {
        mistake: Mistake::FsyncErrorIgnored,
        faults: &[Fault::FsyncError, Fault::PowerLoss, Fault::Blackout],
        seeds_max: 10,
    },
    Row {
        mistake: Mistake::TimeRunsBackwards,
        faults: &[Fault::ClockJump, Fault::Transfer, Fault::Crash, Fault::Isolation],
        seeds_max: 40,
    },
    Row {
        mistake: Mistake::NoRestartFence,
        faults: &[Fault::Ambush, Fault::Transfer],
        seeds_max: 10,
    },
    Row {
        mistake: Mistake::VoteForgotten,
        // Two that cannot hear each other campaign before one voter, which restarts between them.
        faults: &[Fault::Flapping, Fault::Bridge],
        seeds_max: 200,
    },
    Row { mistake: Mistake::ReadBeforeFirstCommit, faults: &[], seeds_max: 60 },
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
pub fn find(row: &Row) -> Finding {
    let Row { mistake, faults, seeds_max } = *row;
    let begun = Instant::now();
    let failure = (0..seeds_max).find_map(|seed| {
        let drawn = Scenario::draw(seed, Manner::Dense);
        let scenario = if faults.is_empty() { drawn } else { drawn.focused(faults) };
        run(scenario, Some(mistake), false).err()
    });
    Finding { mistake, seeds_max, failure: failure.map(|failure| *failure), took: begun.elapsed() }
}
