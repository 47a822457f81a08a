//! What one seed plays: how large the cluster is, how it is set, what goes wrong and how often.
//! Owns: [`Scenario`], drawn from the seed. Never: changes while it is played.
//!
//! Each seed switches on some faults and not others (Groce and others 2012, "Swarm testing"): what all faults at once
//! would hide behind each other shows when some are absent.

use std::time::Duration;

use keystead_node::{CoreSettings, Routing};
use keystead_replication::{Durability, Settings};

use crate::rng::Rng;

/// A microsecond's thousand.
pub const MS: u64 = 1_000;
/// A second in microseconds.
pub const SECOND: u64 = 1_000 * MS;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Messages are lost, doubled, late.
    Weather,
    /// A node is cut off from all others, in both directions.
    Isolation,
    /// Two nodes cannot hear each other, and both hear a third.
    Bridge,
    /// One direction between two nodes.
    OneWay,
    /// A process stands still.
    Pause,
    /// A process ends and comes back.
    Crash,
    /// A host loses its power: what was not synced is lost or torn.
    PowerLoss,
    /// All hosts lose their power at once.
    Blackout,
    /// An fsync fails.
    FsyncError,
    /// A write fails halfway.
    WriteError,
    /// The disk under the log is full.
    DiskFull,
    /// The disk is slow.
    DiskSlow,
    /// A bit of a synced segment or a snapshot flips.
    BitRot,
    /// A host loses its disk, and comes back as a new node.
    DiskLost,
    /// The time of day jumps.
    ClockJump,
    /// A replica panics.
    ReplicaPanic,
    /// The snapshot writer falls.
    SnapshotWriterFalls,
    /// An io thread of the gateway falls.
    GatewayFalls,
    /// Leadership is handed over.
    Transfer,
    /// A snapshot is taken.
    SnapshotNow,
    /// All replicas take a digest.
    TakeDigest,
    /// A node joins.
    Join,
    /// A process ends and comes back, again and again, before anybody misses it; messages to it are late.
    Flapping,
    /// A follower that its leader cannot reach campaigns in vain, until the voter that the leader's lease stands on restarts
    /// out of its leader's sight. Nothing is written meanwhile, so that the follower stays electable.
    Ambush,
}

impl Fault {
    /// Every one, with how often it comes when it is on.
    pub const ALL: [(Self, u64); 24] = [
        (Self::Weather, 3),
        (Self::Isolation, 5),
        (Self::Bridge, 3),
        (Self::OneWay, 3),
        (Self::Pause, 3),
        (Self::Crash, 4),
        (Self::PowerLoss, 4),
        (Self::Blackout, 1),
        (Self::FsyncError, 1),
        (Self::WriteError, 1),
        (Self::DiskFull, 2),
        (Self::DiskSlow, 2),
        (Self::BitRot, 1),
        (Self::DiskLost, 1),
        (Self::ClockJump, 2),
        (Self::ReplicaPanic, 2),
        (Self::SnapshotWriterFalls, 1),
        (Self::GatewayFalls, 1),
        (Self::Transfer, 4),
        (Self::SnapshotNow, 2),
        (Self::TakeDigest, 2),
        (Self::Join, 1),
        (Self::Flapping, 1),
        (Self::Ambush, 1),
    ];
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// Hosts at the beginning.
    pub hosts: usize,
    /// Hosts at most.
    pub hosts_max: usize,
    /// Shards that hold keys.
    pub shards: u32,
    /// Clients at a time.
    pub clients: usize,
    /// How groups behave.
    pub replication: Settings,
    /// How nodes treat commands.
    pub core: CoreSettings,
    /// How many times slower than the product's default the cluster's own clockwork runs; faults and clients
    /// with it.
    pub scale: u64,
    /// Size of a log segment.
    pub segment_bytes: u64,
    /// What goes wrong, with its weight.
    pub faults: Vec<(Fault, u64)>,
    /// Mean time between two faults of a storm.
    pub fault_every_us: u64,
    /// Longest pause of a client between two operations.
    pub think_us_max: u64,
    /// How long a storm lasts.
    pub storm_us: u64,
    /// How long all is well between storms.
    pub quiet_us: u64,
    /// Storms to be played.
    pub storms: u64,
}

/// How long and how fast a seed is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Much in little time, as CI plays it.
    Dense,
    /// With hours of quiet, as a long run plays it.
    Long,
}

impl Scenario {
    /// What `seed` plays.
    #[must_use]
    pub fn draw(seed: u64, manner: Manner) -> Self {
        let mut rng = Rng::new(seed ^ 0x5ce_0a10);
        let scale = match manner {
            Manner::Dense => [1, 1, 1, 2][rng.index(4)],
            Manner::Long => [1, 5, 10, 20][rng.index(4)],
        };
        let faults: Vec<(Fault, u64)> =
            Fault::ALL.into_iter().filter(|_| rng.below(5) < 3).collect();
        let mut scenario = Self {
            seed,
            hosts: [3, 3, 3, 4, 5][rng.index(5)],
            hosts_max: 6,
            shards: [1, 2, 2, 4][rng.index(4)],
            clients: usize::try_from(rng.between(1, 6)).expect("few"),
            replication: settings(&mut rng, scale),
            core: CoreSettings {
                patience: Duration::from_millis(rng.between(300, 3_000) * scale),
                routing: if rng.below(5) == 0 { Routing::Redirect } else { Routing::Forward },
            },
            scale,
            segment_bytes: [8, 16, 32][rng.index(3)] * 1024,
            faults,
            fault_every_us: rng.between(40, 400) * MS * scale,
            // Where little is written, replicas that were cut off are not behind, and may be elected.
            think_us_max: [rng.between(5, 80), rng.between(5, 80), rng.between(200, 1_500)]
                [rng.index(3)]
                * MS
                * scale,
            storm_us: rng.between(3, 8) * SECOND * scale,
            quiet_us: 0,
            storms: rng.between(1, 2),
        };
        if manner == Manner::Long {
            scenario.quiet_us = rng.between(100, 1_000) * SECOND * scale;
            scenario.storms = 4;
        }
        if scenario.replication.durability == Durability::Replicated {
            // What only memories of a majority hold may be lost with the power: that is its promise.
            let is_promised = |fault: &(Fault, u64)| {
                !matches!(
                    fault.0,
                    // Bit rot in what no later block vouches for yet looks like a tear; here that is all since the sync
                    // before the last.
                    Fault::PowerLoss
                        | Fault::Blackout
                        | Fault::FsyncError
                        | Fault::WriteError
                        | Fault::BitRot
                )
            };
            scenario.faults.retain(is_promised);
        }
        scenario
    }

    /// The same with these faults and no others, and with the durability that survives them.
    #[must_use]
    pub fn focused(mut self, faults: &[Fault]) -> Self {
        self.faults = faults.iter().map(|fault| (*fault, 1)).collect();
        self.replication.durability = Durability::Fsync;
        self
    }

    /// True if the fault may come.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(other, _)| *other == fault)
    }

    /// An election timeout.
    #[must_use]
    pub fn election_us(&self) -> u64 {
        u64::try_from(self.replication.election_timeout().as_micros()).expect("seconds")
    }
}

/// Settings under which much happens in little time.
fn settings(rng: &mut Rng, scale: u64) -> Settings {
    let default = Settings::default();
    let scale32 = u32::try_from(scale).expect("small");
    Settings {
        tick: default.tick * scale32,
        durability: if rng.below(5) == 0 { Durability::Replicated } else { Durability::Fsync },
        entries_in_flight_max: rng.between(1, 3),
        entry_bytes_target: 512,
        queue_bytes_max: 64 * 1024,
        snapshot_log_bytes: 12 * 1024,
        memory_log_bytes: 6 * 1024,
        lagging_log_bytes_max: 24 * 1024,
        snapshot_chunk_bytes: 1024,
        snapshot_chunks_in_flight_max: 2,
        snapshot_stall: Duration::from_millis(1_500) * scale32,
        ..default
    }
}
