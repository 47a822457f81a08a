//! The node's clock: the machine's, but never behind what other nodes have shown, and never running back.
//!
//! Owns: [`NodeClock`]. Never: adjusts the machine's clock; believes a peer that is far ahead.
//!
//! Why: a key that has expired by one leader's clock must not come back under the next one's. Nodes tell
//! each other their time many times within an election timeout. A new leader serves its first read at least
//! a fifth of an election timeout after its predecessor's lease ran out (see `replication::lease`), so what it
//! heard last, plus the time that has gone by since, is past every time its predecessor answered by, as
//! long as one of those messages took less than that fifth to arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use keystead_types::{Clock, Monotonic, UnixMillis};

/// A peer further ahead than this is not followed, milliseconds: its clock is wrong, or ours is, and a
/// wrong one must not drag every expiry of the cluster along.
pub(crate) const AHEAD_MS_MAX: i64 = 10_000;

/// See the module.
pub struct NodeClock {
    machine: Arc<dyn Clock>,
    /// The highest difference seen between a time of day and our monotonic time, milliseconds.
    offset_ms: AtomicI64,
}

impl NodeClock {
    /// A clock over the machine's.
    #[must_use]
    pub fn new(machine: Arc<dyn Clock>) -> Self {
        let clock = Self { machine, offset_ms: AtomicI64::new(i64::MIN) };
        clock.follow_machine();
        clock
    }

    /// A peer said what time it has. False if it is too far ahead to be followed.
    pub(crate) fn hear(&self, peer: UnixMillis) -> bool {
        let ours = self.unix_now();
        let (Ok(theirs), Ok(ours)) = (i64::try_from(peer.0), i64::try_from(ours.0)) else {
            return false;
        };
        if theirs - ours > AHEAD_MS_MAX {
            return false;
        }
        self.offset_ms.fetch_max(theirs - self.monotonic_ms(), Ordering::AcqRel);
        true
    }

    /// Looks at the machine's time of day and follows it, if it has run ahead. Called every few
    /// milliseconds: in between, time passes by the monotonic clock, and reading it costs one look, not two.
    pub(crate) fn follow_machine(&self) {
        let machine = i64::try_from(self.machine.unix_now().0).unwrap_or(i64::MAX);
        let own = machine.saturating_sub(self.monotonic_ms());
        self.offset_ms.fetch_max(own, Ordering::AcqRel);
    }

    /// Both times at once.
    pub(crate) fn now(&self) -> (Monotonic, UnixMillis) {
        let monotonic = self.machine.monotonic_now();
        let offset = self.offset_ms.load(Ordering::Acquire);
        let passed = i64::try_from(monotonic.0 / 1_000_000).unwrap_or(i64::MAX);
        (monotonic, UnixMillis(u64::try_from(offset.saturating_add(passed)).unwrap_or(0)))
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.machine.monotonic_now().0 / 1_000_000).unwrap_or(i64::MAX)
    }
}

impl Clock for NodeClock {
    fn unix_now(&self) -> UnixMillis {
        self.now().1
    }

    fn monotonic_now(&self) -> Monotonic {
        self.machine.monotonic_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[derive(Default)]
    struct Fake {
        unix: AtomicU64,
        monotonic_ms: AtomicU64,
    }

    impl Clock for Fake {
        fn unix_now(&self) -> UnixMillis {
            UnixMillis(self.unix.load(Ordering::Relaxed))
        }
        fn monotonic_now(&self) -> Monotonic {
            Monotonic(self.monotonic_ms.load(Ordering::Relaxed) * 1_000_000)
        }
    }

    #[test]
    fn time_follows_peers_that_are_ahead_and_never_runs_back() {
        let fake = Arc::new(Fake::default());
        fake.unix.store(1_000_000, Ordering::Relaxed);
        let clock = NodeClock::new(Arc::clone(&fake) as Arc<dyn Clock>);
        assert_eq!(clock.unix_now(), UnixMillis(1_000_000));
        assert!(clock.hear(UnixMillis(1_000_300)));
        assert_eq!(clock.unix_now(), UnixMillis(1_000_300), "as far as the peer");
        fake.monotonic_ms.store(50, Ordering::Relaxed);
        fake.unix.store(900_000, Ordering::Relaxed);
        clock.follow_machine();
        assert_eq!(
            clock.unix_now(),
            UnixMillis(1_000_350),
            "set back, it goes on by its monotonic time"
        );
        assert!(!clock.hear(UnixMillis(2_000_000)), "too far ahead to be right");
        assert!(clock.hear(UnixMillis(5)), "behind: nothing to follow");
        assert_eq!(clock.unix_now(), UnixMillis(1_000_350));
        fake.unix.store(1_000_900, Ordering::Relaxed);
        clock.follow_machine();
        assert_eq!(clock.unix_now(), UnixMillis(1_000_900), "set forward, it follows");
    }
}
