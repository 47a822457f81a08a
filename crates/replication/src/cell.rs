//! What a group lets other threads see without asking its worker.
//!
//! Owns: [`GroupCell`]. Written by the group's worker alone, read by anyone.
//! Never: a lock on the way of a read; the lease is one atomic.

use keystead_types::{LogIndex, Monotonic, NodeId, Term, UnixMillis};

use crate::primitives::{AtomicU8, AtomicU64, Mutex, Ordering};

/// What a replica is in its group at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Not running.
    #[default]
    Down = 0,
    /// Follows a leader, or waits for one.
    Follower = 1,
    /// Campaigns.
    Candidate = 2,
    /// Leads.
    Leader = 3,
    /// Receives the log but does not vote.
    Learner = 4,
}

impl Role {
    /// The role's name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Learner => "learner",
        }
    }

    const fn from_u8(code: u8) -> Self {
        match code {
            1 => Self::Follower,
            2 => Self::Candidate,
            3 => Self::Leader,
            4 => Self::Learner,
            _ => Self::Down,
        }
    }
}

/// How far one replica of a group has come, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The replica's node.
    pub node: NodeId,
    /// Highest index known to be in its log.
    pub matched: LogIndex,
    /// True if it does not vote.
    pub is_learner: bool,
    /// True if it answered within the last election timeout.
    pub is_active: bool,
}

/// Who is in a group, as applied by one of its replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The log index as of which this holds.
    pub index: LogIndex,
    /// Nodes whose replicas vote.
    pub voters: Vec<NodeId>,
    /// Nodes whose replicas do not vote yet.
    pub learners: Vec<NodeId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct GroupCell {
    lease_until: AtomicU64,
    /// The time stamped on the last entry applied: no read is answered as of an earlier one.
    applied_now: AtomicU64,
    role: AtomicU8,
    leader: AtomicU64,
    term: AtomicU64,
    commit: AtomicU64,
    applied: AtomicU64,
    log_first: AtomicU64,
    log_last: AtomicU64,
    snapshot: AtomicU64,
    log_bytes: AtomicU64,
    elections_won: AtomicU64,
    entries_applied: AtomicU64,
    members: Mutex<Members>,
    progress: Mutex<Vec<Progress>>,
}

/// The numbers that a group publishes at the end of each turn it had a part in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Published {
    pub(crate) role: Role,
    pub(crate) leader: u64,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) applied: u64,
    pub(crate) applied_now: UnixMillis,
    pub(crate) log_first: u64,
    pub(crate) log_last: u64,
    pub(crate) snapshot: u64,
    /// Bytes of log in memory.
    pub(crate) log_bytes: u64,
}

impl GroupCell {
    /// Takes back everything that a replica has shown which is gone: its lease first of all.
    ///
    /// For whoever is about to build the replica anew. A replica that falls alone takes its lease back
    /// itself; one whose worker fell could not, and its lease would run on while an older state takes the place
    /// of the one it stood for.
    pub fn close(&self) {
        self.set_lease(None);
        self.set_progress(Vec::new());
        self.publish(Published::default());
    }

    /// True if the replica leads and may answer reads from memory at `now`, which must have been read
    /// from the clock after the command had come.
    #[must_use]
    pub fn may_read(&self, now: Monotonic) -> bool {
        // ORDER: acquire pairs with the release in `set_lease`: whoever sees the lease sees the state
        // that was applied before it was published.
        now.0 < self.lease_until.load(Ordering::Acquire)
    }

    /// The time as of which a read is answered when the clock says `unix`: not before that of the last
    /// entry applied.
    #[must_use]
    pub fn read_time(&self, unix: UnixMillis) -> UnixMillis {
        unix.max(UnixMillis(self.applied_now.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_lease(&self, until: Option<Monotonic>) {
        self.lease_until.store(until.map_or(0, |until| until.0), Ordering::Release);
    }

    pub(crate) fn publish(&self, now: Published) {
        self.applied_now.store(now.applied_now.0, Ordering::Relaxed);
        self.role.store(now.role as u8, Ordering::Relaxed);
        self.leader.store(now.leader, Ordering::Relaxed);
        self.term.store(now.term, Ordering::Relaxed);
        self.commit.store(now.commit, Ordering::Relaxed);
        self.log_first.store(now.log_first, Ordering::Relaxed);
        self.log_last.store(now.log_last, Ordering::Relaxed);
        self.snapshot.store(now.snapshot, Ordering::Relaxed);
        self.log_bytes.store(now.log_bytes, Ordering::Relaxed);
        // ORDER: `applied` last and with release, so that a reader who waits for an index sees the rest.
        self.applied.store(now.applied, Ordering::Release);
    }

    pub(crate) fn set_progress(&self, progress: Vec<Progress>) {
        *self.progress.lock() = progress;
    }

    pub(crate) fn count_election(&self) {
        self.elections_won.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_applied(&self) {
        self.entries_applied.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_members(&self, members: Members) {
        *self.members.lock() = members;
    }

    /// The replica's role.
    #[must_use]
    pub fn role(&self) -> Role {
        Role::from_u8(self.role.load(Ordering::Relaxed))
    }

    /// The leader as this replica knows it.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.leader.load(Ordering::Relaxed))).filter(|leader| *leader != NodeId::NONE)
    }

    /// The replica's term.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Relaxed))
    }

    /// Highest index known to be committed.
    #[must_use]
    pub fn commit(&self) -> LogIndex {
        LogIndex(self.commit.load(Ordering::Relaxed))
    }

    /// Highest index applied.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    /// Bytes of the log that are in memory.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    /// First and last index in the log.
    #[must_use]
    pub fn log_bounds(&self) -> (LogIndex, LogIndex) {
        (
            LogIndex(self.log_first.load(Ordering::Relaxed)),
            LogIndex(self.log_last.load(Ordering::Relaxed)),
        )
    }

    /// Index of the newest snapshot, 0 if there is none.
    #[must_use]
    pub fn snapshot(&self) -> LogIndex {
        LogIndex(self.snapshot.load(Ordering::Relaxed))
    }

    /// Elections won since the process began.
    #[must_use]
    pub fn elections_won(&self) -> u64 {
        self.elections_won.load(Ordering::Relaxed)
    }

    /// Entries with commands applied since the process began.
    #[must_use]
    pub fn entries_applied(&self) -> u64 {
        self.entries_applied.load(Ordering::Relaxed)
    }

    /// Who is in the group. Without voters the replica knows nothing yet: it waits for a snapshot.
    #[must_use]
    pub fn members(&self) -> Members {
        self.members.lock().clone()
    }

    /// How far every replica has come; empty unless this one leads.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        self.progress.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_cell_answers_no_reads_and_shows_nothing() {
        let cell = GroupCell::default();
        cell.publish(Published {
            role: Role::Leader,
            leader: 3,
            applied: 9,
            ..Published::default()
        });
        cell.set_lease(Some(Monotonic(1_000)));
        assert!(cell.may_read(Monotonic(999)) && !cell.may_read(Monotonic(1_000)));
        cell.close();
        assert!(!cell.may_read(Monotonic(0)));
        assert_eq!((cell.role(), cell.leader(), cell.applied()), (Role::Down, None, LogIndex(0)));
    }
}
