//! Time as values, and the one door through which it enters.
//! Owns: [`UnixMillis`], [`Monotonic`], the [`Clock`] trait and the real clock.
//! Never: sleeping, timers. The simulator implements [`Clock`] itself.

use std::fmt;
use std::time::{Duration, Instant};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The latest time there is; stands for "never" where a time to expire is meant.
    pub const MAX: Self = Self(u64::MAX);
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Debug for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Nanoseconds since the clock's start; never runs backwards, means nothing to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The later moment that lies `duration` after this one; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The one door through which time enters a node.
pub trait Clock: Send + Sync + 'static {
    /// The time of day. May jump; whoever needs order uses [`ApplyContext`](crate::ApplyContext).
    fn unix_now(&self) -> UnixMillis;
    /// The time of day in microseconds since 1970, as fine as the clock has it: for showing only.
    fn unix_now_us(&self) -> u64 {
        self.unix_now().0.saturating_mul(1000)
    }
    /// Time that only runs forward.
    fn monotonic_now(&self) -> Monotonic;
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the time of day"
    )]
    fn unix_now_us(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
    }

    fn unix_now(&self) -> UnixMillis {
        UnixMillis(self.unix_now_us() / 1000)
    }

    fn monotonic_now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
