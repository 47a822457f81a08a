//! A clock that moves when it is told to.
//! Owns: [`HandClock`]. Never: reads the machine's time, so that two runs see the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead_types::{Clock, Monotonic, UnixMillis};

/// The time of day when the clock is made, milliseconds.
const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub struct HandClock {
    passed_us: AtomicU64,
}

impl HandClock {
    /// A clock at its beginning.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets so many microseconds pass.
    pub fn pass(&self, us: u64) {
        self.passed_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn unix_now(&self) -> UnixMillis {
        UnixMillis(BEGIN_UNIX_MS + self.passed_us.load(Ordering::Relaxed) / 1000)
    }

    fn monotonic_now(&self) -> Monotonic {
        Monotonic(self.passed_us.load(Ordering::Relaxed) * 1000)
    }
}
