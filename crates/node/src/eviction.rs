//! How much memory the keys of a node may take, how much they do, and what a shard is to let go of.
//!
//! Owns: [`Eviction`]: the limit, which holds for the whole cluster, and this node's count. Never: chooses a key (see
//! `store/eviction.rs`), proposes anything. Asked by `shard.rs` for each entry; the pacer counts.
//!
//! What counts is what can be let go of: keys, values, tables and the index of expiry of all replicas here, whoever leads them. Each
//! shard that this node leads lets go of its part of what is too much; the shards led elsewhere are let go of there, by the same count.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use keystead_store::Policy;
use keystead_types::Monotonic;
use parking_lot::{Mutex, RwLock};

/// How often the tables are counted, which takes a walk over all slots.
const TABLES_EVERY: Duration = Duration::from_secs(1);
/// A thousandth more than what is too much is let go of, so that not every entry has to.
const SLACK: u64 = 1000;
/// `maxmemory-samples` unless somebody says otherwise.
pub const SAMPLES_DEFAULT: u8 = 5;

/// What the keys of a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes (`maxmemory`); 0: as much as there is.
    pub bytes: u64,
    /// What happens past it (`maxmemory-policy`).
    pub policy: Policy,
    /// Keys compared for each that goes (`maxmemory-samples`).
    pub samples: u8,
}

impl Default for Limit {
    fn default() -> Self {
        Self { bytes: 0, policy: Policy::NoEviction, samples: SAMPLES_DEFAULT }
    }
}

/// A limit, and when it was set: the latest wins on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamped {
    /// Milliseconds of the node that was asked; 0 if it comes from this node's settings.
    at_ms: u64,
    limit: Limit,
}

impl Stamped {
    /// As nodes tell each other: stamp and bytes (u64 LE), the policy's number, samples.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(&self.limit.bytes.to_le_bytes());
        out.extend_from_slice(&[self.limit.policy.number(), self.limit.samples]);
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (at_ms, rest) = payload.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let [policy, samples] = rest else { return None };
        let (policy, bytes) = (Policy::of_number(*policy)?, u64::from_le_bytes(*bytes));
        let limit = Limit { bytes, policy, samples: (*samples).max(1) };
        Some(Self { at_ms: u64::from_le_bytes(*at_ms), limit })
    }

    pub(crate) const fn is_set(&self) -> bool {
        self.at_ms != 0
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Eviction {
    stamped: RwLock<Stamped>,
    /// The limit's bytes once more; nothing else is looked at while it is 0.
    bytes_max: AtomicU64,
    /// The policy's number once more.
    policy: AtomicU8,
    /// What counts, as of the last look less what was let go of since.
    used: AtomicU64,
    tables: Mutex<(Monotonic, u64)>,
}

impl Eviction {
    /// The limit.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.stamped.read().limit
    }

    /// What happens past the limit; one load.
    #[inline]
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy::of_number(self.policy.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// Bytes that count towards the limit; 0 while there is none.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes past the limit.
    #[inline]
    #[must_use]
    pub fn excess(&self) -> u64 {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        if bytes_max == 0 { 0 } else { self.used().saturating_sub(bytes_max) }
    }

    /// True if commands that need memory are refused on this node, whatever they concern.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.excess() > 0 && self.policy() == Policy::NoEviction
    }

    /// What a shard of that many bytes is to let go of.
    pub(crate) fn share_of(&self, shard_bytes: u64) -> u64 {
        let (excess, used) = (self.excess(), self.used());
        if excess == 0 {
            return 0;
        }
        let wanted = excess + self.bytes_max.load(Ordering::Relaxed) / SLACK;
        let share = u128::from(wanted) * u128::from(shard_bytes) / u128::from(used.max(1));
        u64::try_from(share).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// So many bytes were let go of.
    pub(crate) fn freed(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        // It never says no.
        let _before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Counts what is held, as `held` says of keys and `tables` of the rest.
    pub(crate) fn look(&self, now: Monotonic, held: impl Fn() -> u64, tables: impl Fn() -> u64) {
        if self.bytes_max.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut known = self.tables.lock();
        if known.1 == 0 || now.since(known.0) >= TABLES_EVERY {
            *known = (now, tables());
        }
        self.used.store(held() + known.1, Ordering::Relaxed);
    }

    /// What this node's own settings say, unless the cluster says otherwise.
    pub fn set_default(&self, limit: Limit) {
        let mut stamped = self.stamped.write();
        if !stamped.is_set() {
            *stamped = Stamped { at_ms: 0, limit };
            self.publish(limit);
        }
    }

    /// Changes it, behind every change that this node knows of.
    pub(crate) fn change(&self, limit: Limit, now_ms: u64) {
        let known_ms = self.stamped.read().at_ms;
        self.hear(Stamped { at_ms: now_ms.max(known_ms + 1), limit });
    }

    /// What a peer knows.
    pub(crate) fn hear(&self, heard: Stamped) {
        let mut stamped = self.stamped.write();
        if heard.at_ms > stamped.at_ms {
            *stamped = heard;
            self.publish(heard.limit);
        }
    }

    fn publish(&self, limit: Limit) {
        self.bytes_max.store(limit.bytes, Ordering::Relaxed);
        self.policy.store(limit.policy.number(), Ordering::Relaxed);
    }

    pub(crate) fn stamped(&self) -> Stamped {
        *self.stamped.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: u64) -> Limit {
        Limit { bytes, policy: Policy::AllKeysLru, samples: 7 }
    }

    #[test]
    fn the_latest_limit_wins_and_any_bytes_are_one_or_none() {
        let (one, two) = (Eviction::default(), Eviction::default());
        two.set_default(limit(5));
        one.change(limit(10), 100);
        let mut bytes = Vec::new();
        one.stamped().write(&mut bytes);
        two.hear(Stamped::read(&bytes).expect("it was just written"));
        two.change(limit(20), 3);
        one.hear(two.stamped());
        one.set_default(limit(5));
        assert_eq!((one.limit(), two.limit()), (limit(20), limit(20)));
        assert!((0..bytes.len()).all(|end| Stamped::read(&bytes[..end]).is_none()));
        bytes[16] = 99;
        assert!(Stamped::read(&bytes).is_none());
    }

    #[test]
    fn each_shard_lets_go_of_its_part_of_what_is_too_much() {
        let eviction = Eviction::default();
        eviction.look(Monotonic(0), || 1_000_000, || 0);
        assert_eq!(eviction.excess(), 0, "there is no limit");
        eviction.change(limit(1_000_000), 1);
        eviction.look(Monotonic(0), || 1_400_000, || 100_000);
        assert_eq!(eviction.excess(), 500_000);
        assert_eq!(eviction.share_of(300_000), 501_000 / 5 + 1);
        eviction.freed(500_000);
        assert_eq!((eviction.excess(), eviction.share_of(300_000)), (0, 0));
        assert!(!eviction.is_full());
        eviction.change(Limit { policy: Policy::NoEviction, ..limit(10) }, 2);
        assert!(eviction.is_full());
    }
}
