//! Settings of groups and workers, with their defaults and the reason for each.
//! Owns: [`Settings`]. Never: where a setting comes from (see the product's configuration).

use std::time::Duration;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When a majority has it on disk.
    Fsync,
    /// When a majority has handed it to its operating system; disks follow at an interval. Votes and
    /// terms are synced all the same: a forgotten vote would elect two leaders.
    Replicated,
}

/// How groups and workers behave.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Length of one tick of raft's logical clock.
    pub tick: Duration,
    /// Ticks without a leader's heartbeat after which a voter may campaign.
    pub election_ticks: u32,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: u32,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Entries of a group that may be proposed and not yet applied. One: while it is under way, the next
    /// one gathers a bigger batch.
    pub entries_in_flight_max: u64,
    /// Bytes of commands after which an entry is full.
    pub entry_bytes_target: usize,
    /// Bytes of commands that may wait in one group's queue.
    pub queue_bytes_max: usize,
    /// Bytes of log since the last snapshot after which the next one is begun.
    pub snapshot_log_bytes: usize,
    /// Bytes of a group's applied log that stay in memory, for followers that lag a little.
    pub memory_log_bytes: usize,
    /// Bytes of a group's log kept in memory for a follower that lags more and is up, before it must take a
    /// snapshot instead.
    pub lagging_log_bytes_max: usize,
    /// Bytes of a snapshot handed to its writer at a time.
    pub snapshot_chunk_bytes: usize,
    /// Chunks that may wait for the snapshot's writer.
    pub snapshot_chunks_in_flight_max: usize,
    /// How long a follower may take over a snapshot without asking for a piece of it.
    pub snapshot_stall: Duration,
}

impl Settings {
    /// How long a voter waits for a leader before it campaigns.
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.tick * self.election_ticks
    }

    /// How long a voter that heard its leader votes for nobody else, at least: it counts ticks, and the first may
    /// come at once.
    #[must_use]
    pub fn promise(&self) -> Duration {
        self.tick * self.election_ticks.saturating_sub(1)
    }

    /// How long a restarted replica neither votes nor campaigns: an election timeout, in which every
    /// lease that it may have vouched for runs out, and a quarter more for clocks that differ.
    #[must_use]
    pub fn restart_fence(&self) -> Duration {
        self.election_timeout().mul_f64(1.25)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(25),
            election_ticks: 20,
            heartbeat_ticks: 4,
            durability: Durability::Fsync,
            entries_in_flight_max: 1,
            entry_bytes_target: keystead_types::limits::ENTRY_BYTES_TARGET,
            queue_bytes_max: keystead_types::limits::SHARD_QUEUE_BYTES_MAX,
            snapshot_log_bytes: 64 * 1024 * 1024,
            memory_log_bytes: 2 * 1024 * 1024,
            lagging_log_bytes_max: 32 * 1024 * 1024,
            snapshot_chunk_bytes: keystead_types::limits::SNAPSHOT_CHUNK_BYTES,
            snapshot_chunks_in_flight_max: 4,
            snapshot_stall: Duration::from_secs(10),
        }
    }
}
