//! Known mistakes that a simulator may switch on, to prove that it would find them.
//!
//! Owns: the list, and which one is made on this thread. Never: part of the product: without the feature `mistakes`
//! nothing is ever made, and the compiler takes the question out.
//!
//! A place that could go wrong asks [`is_made`] and does the wrong thing if told so. `sim/src/meta.rs` has the table:
//! each mistake, and within how many seeds it must be found.

/// Something that somebody once did wrong, here or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mistake {
    /// A vote or an acknowledgement leaves before the log has it on disk.
    AckBeforeFsync,
    /// A leader gives itself a lease without asking a majority.
    LeaseWithoutReadIndex,
    /// A lease lives on when leadership is handed over.
    LeaseKeptOnTransfer,
    /// A lease lasts longer than its voters keep their promise.
    LeaseTooLong,
    /// A restarted replica votes at once, though it may have promised a lease.
    NoRestartFence,
    /// A restarted replica has forgotten whom it voted for, and is not fenced: behind the fence it would hardly show.
    VoteForgotten,
    /// A forwarded write whose fate is not known is sent again.
    DoubleApplyOnRetry,
    /// A leader that is deposed tells those who wait that nothing happened.
    RejectedWhenDeposed,
    /// Reads are forwarded to anybody, and a replica that does not lead answers them.
    StaleForward,
    /// A snapshot lacks its last slot.
    SnapshotWithoutLastSlot,
    /// The log is let go of before the snapshot that covers it is durable.
    LogDroppedBeforeSnapshot,
    /// The log lets go of what a lagging restart still needs.
    PurgePastSnapshot,
    /// Apply looks at the clock of its node instead of the entry's.
    ClockInApply,
    /// Damage in the middle of the log is taken for a torn tail.
    TornMiddleAccepted,
    /// Raft adds entries to an append that stands at another index (its `batch_append`), and nobody looks.
    BatchAppend,
    /// A dirty watch does not stop its transaction.
    WatchIgnored,
    /// A failed fsync is taken for a good one.
    FsyncErrorIgnored,
    /// The time stamped on entries may run backwards.
    TimeRunsBackwards,
    /// A read overtakes the writes that were acknowledged before a new leader knew of them.
    ReadBeforeFirstCommit,
}

impl Mistake {
    /// Every one.
    pub const ALL: [Self; 19] = [
        Self::AckBeforeFsync,
        Self::LeaseWithoutReadIndex,
        Self::LeaseKeptOnTransfer,
        Self::LeaseTooLong,
        Self::NoRestartFence,
        Self::VoteForgotten,
        Self::DoubleApplyOnRetry,
        Self::RejectedWhenDeposed,
        Self::StaleForward,
        Self::SnapshotWithoutLastSlot,
        Self::LogDroppedBeforeSnapshot,
        Self::PurgePastSnapshot,
        Self::ClockInApply,
        Self::TornMiddleAccepted,
        Self::BatchAppend,
        Self::WatchIgnored,
        Self::FsyncErrorIgnored,
        Self::TimeRunsBackwards,
        Self::ReadBeforeFirstCommit,
    ];
}

#[cfg(feature = "mistakes")]
mod made {
    use std::cell::Cell;

    use super::Mistake;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
        static CLOCK_MS: Cell<u64> = const { Cell::new(0) };
    }

    /// True if this thread makes the mistake.
    #[must_use]
    pub fn is_made(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }

    /// Has this thread make a mistake, or none.
    pub fn make(mistake: Option<Mistake>) {
        MADE.set(mistake);
    }

    /// What [`Mistake::ClockInApply`] reads.
    #[must_use]
    pub fn clock_ms() -> u64 {
        CLOCK_MS.get()
    }

    /// Sets what [`Mistake::ClockInApply`] reads.
    pub fn set_clock_ms(now: u64) {
        CLOCK_MS.set(now);
    }
}

#[cfg(not(feature = "mistakes"))]
mod made {
    use super::Mistake;

    /// False: this build makes no mistakes on purpose.
    #[must_use]
    #[inline(always)]
    pub const fn is_made(_: Mistake) -> bool {
        false
    }

    /// Zero: see [`is_made`].
    #[must_use]
    #[inline(always)]
    pub const fn clock_ms() -> u64 {
        0
    }
}

pub use made::*;
