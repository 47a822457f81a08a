//! The clock of one simulated host.
//! Owns: [`SimClock`]. Never: moves by itself: the world's time stands in a cell that the world sets.
//!
//! Monotonic clocks of different hosts have nothing to do with each other and run at rates that differ by up to
//! ten percent, far more than real ones. The time of day may jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use keystead_types::{Clock, Monotonic, UnixMillis};

/// The time of day when the world begins.
const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;
/// Monotonic clocks of two hosts stand so far apart, nanoseconds: a thousand years.
const APART_NS: u64 = 1 << 55;

/// See the module.
#[derive(Debug)]
pub struct SimClock {
    world_us: Arc<AtomicU64>,
    begin_ns: u64,
    /// Nanoseconds of this clock for a microsecond of the world.
    rate: u64,
    wall_offset_ms: AtomicI64,
}

impl SimClock {
    /// The clock of the host at `place`, over the world's time.
    #[must_use]
    pub fn new(world_us: Arc<AtomicU64>, place: u64, rate: u64) -> Arc<Self> {
        let begin_ns = (place % 8 + 1) * APART_NS;
        Arc::new(Self { world_us, begin_ns, rate, wall_offset_ms: AtomicI64::new(0) })
    }

    /// Sets how far the time of day is from the world's.
    pub fn set_wall_offset_ms(&self, offset: i64) {
        self.wall_offset_ms.store(offset, Ordering::Relaxed);
    }

    /// The moment of the world at which this clock shows `at`.
    #[must_use]
    pub fn world_us_of(&self, at: Monotonic) -> u64 {
        at.0.saturating_sub(self.begin_ns).div_ceil(self.rate)
    }
}

impl Clock for SimClock {
    fn unix_now(&self) -> UnixMillis {
        let passed = self.world_us.load(Ordering::Relaxed) / 1_000;
        let offset = self.wall_offset_ms.load(Ordering::Relaxed);
        UnixMillis((BEGIN_UNIX_MS + passed).saturating_add_signed(offset))
    }

    fn monotonic_now(&self) -> Monotonic {
        Monotonic(self.begin_ns + self.world_us.load(Ordering::Relaxed) * self.rate)
    }
}
