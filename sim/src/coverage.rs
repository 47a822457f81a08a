//! What was put to the test: a run in which nothing happened proves nothing.
//! Owns: the counts, and which of them a run must have. Never: judges the product.

/// Declares the events, and the list of them.
macro_rules! events {
    ($(#[doc = $doc:literal] $name:ident,)*) => {
        /// Something worth counting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Event {
            $(#[doc = $doc] $name,)*
        }

        const EVENTS: &[Event] = &[$(Event::$name,)*];
    };
}

events! {
    /// A leader came into office.
    Election,
    /// A leader was cut off while it led.
    LeaderCutOff,
    /// A snapshot came from another node and took the place of a state.
    SnapshotInstalled,
    /// A snapshot file became durable.
    SnapshotTaken,
    /// A replica was brought back from its snapshot and log.
    ReplicaRecovered,
    /// A process ended between the log's write and the reply.
    CrashBeforeReply,
    /// A process ended.
    Crash,
    /// A host lost its power.
    PowerLoss,
    /// A log had a torn tail.
    TornTail,
    /// Damage was found, and the log or the snapshot refused.
    DamageRefused,
    /// A failed write or fsync ended a process.
    FatalDisk,
    /// A disk was replaced by an empty one.
    DiskReplaced,
    /// A write found the disk full.
    DiskWasFull,
    /// A node joined.
    Joined,
    /// A group's members changed.
    MembersChanged,
    /// A replica fell and was rebuilt.
    ReplicaRebuilt,
    /// A replica was let go of after it had moved away.
    LetGo,
    /// A command was forwarded to another node.
    Forwarded,
    /// A client was sent to another node.
    Moved,
    /// An operation was answered.
    Answered,
    /// A client that waited, or might have, was given something.
    Served,
    /// A transaction was executed.
    Transaction,
    /// A script was executed.
    Script,
    /// Databases were exchanged.
    Swapped,
    /// A transaction was stopped by its watch.
    Aborted,
    /// A client was told that nothing happened.
    Refused,
    /// A client was told that nobody knows.
    Uncertain,
    /// A client never heard.
    Unheard,
    /// A connection between nodes broke.
    LinkBroke,
    /// Replicas compared digests.
    DigestCompared,
    /// A history of an object was judged.
    HistoryJudged,
    /// A history was too tangled to be judged.
    HistoryUndecided,
    /// A clock jumped.
    ClockJumped,
    /// Something went wrong, as the scenario says.
    Fault,
}

const COUNT: usize = EVENTS.len();

/// Counts of all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; COUNT]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

/// What a run must have seen, and how it is named when it has not.
pub const NECESSARY: &[Event] = &[
    Event::Election,
    Event::LeaderCutOff,
    Event::SnapshotInstalled,
    Event::SnapshotTaken,
    Event::ReplicaRecovered,
    Event::CrashBeforeReply,
    Event::PowerLoss,
    Event::TornTail,
    Event::Joined,
    Event::MembersChanged,
    Event::ReplicaRebuilt,
    Event::Forwarded,
    Event::Answered,
    Event::Served,
    Event::Transaction,
    Event::Script,
    Event::Swapped,
    Event::Aborted,
    Event::Refused,
    Event::Uncertain,
    Event::Unheard,
    Event::LinkBroke,
    Event::DigestCompared,
    Event::HistoryJudged,
];

impl Coverage {
    /// Counts one.
    pub const fn count(&mut self, event: Event) {
        self.0[event as usize] += 1;
    }

    /// How many there were.
    #[must_use]
    pub const fn of(&self, event: Event) -> u64 {
        self.0[event as usize]
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }

    /// The necessary events that never came.
    #[must_use]
    pub fn missing(&self) -> Vec<Event> {
        NECESSARY.iter().copied().filter(|event| self.of(*event) == 0).collect()
    }

    /// All counts, with their names, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> {
        EVENTS.iter().map(|event| (format!("{event:?}"), self.of(*event)))
    }
}
