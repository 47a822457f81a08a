//! How often something took how long, in buckets that grow with the time.
//!
//! Owns: the buckets ([`Times`]) and what is read from them ([`Spread`]). Never: a clock.
//!
//! Eight buckets for every doubling from 1024 ns to 34 s: what is read from them is at most an eighth too large. Bounds are
//! powers of two times eighths, so that every doubling ends with a bucket.

use std::array;

use crate::stats::Counter;

/// Times below this share the first bucket, nanoseconds.
const FLOOR_NS: u64 = 1 << FLOOR_BITS;
const FLOOR_BITS: u32 = 10;
/// Doublings that are told apart; what takes longer falls into the last bucket.
const DOUBLINGS: usize = 25;
/// Buckets of a doubling, as bits.
const PART_BITS: u32 = 3;
const PARTS: usize = 1 << PART_BITS;
const BUCKETS: usize = 1 + DOUBLINGS * PARTS;

/// Counts of one thread.
#[derive(Debug)]
pub(crate) struct Times([Counter; BUCKETS]);

impl Default for Times {
    fn default() -> Self {
        Self(array::from_fn(|_| Counter::default()))
    }
}

impl Times {
    /// Notes that something took `ns`, `count` times.
    #[inline]
    pub(crate) fn note(&self, ns: u64, count: u64) {
        self.0[bucket_of(ns)].add(count);
    }
}

/// Counts of all threads together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    /// By bucket; empty if nothing was noted.
    counts: Vec<u64>,
}

impl Spread {
    /// Adds what one thread counted.
    pub(crate) fn add(&mut self, times: &Times) {
        self.counts.resize(BUCKETS, 0);
        for (sum, count) in self.counts.iter_mut().zip(&times.0) {
            *sum += count.get();
        }
    }

    /// Takes off what stood there at an earlier time.
    pub(crate) fn subtract(&mut self, base: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&base.counts) {
            *sum -= count;
        }
    }

    /// How often anything was noted.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that `percent` of all did not exceed, nanoseconds, rounded up to the end of its bucket; 0 of none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank between one and the count"
    )]
    pub(crate) fn percentile_ns(&self, percent: f64) -> u64 {
        let count = self.count();
        let rank = ((count as f64 * percent / 100.0).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        for (bucket, within) in self.counts.iter().enumerate() {
            below += within;
            if below >= rank {
                return end_ns(bucket);
            }
        }
        0
    }

    /// For every doubling that adds something: its end in nanoseconds, and how many took less.
    pub(crate) fn doublings(&self) -> Vec<(u64, u64)> {
        let (mut below, mut told) = (0, Vec::new());
        for (bucket, within) in self.counts.iter().enumerate() {
            below += within;
            let is_end = bucket.is_multiple_of(PARTS);
            if is_end && told.last().map_or(0, |(_, count)| *count) < below {
                told.push((end_ns(bucket), below));
            }
        }
        told
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the last bits are wanted")]
fn bucket_of(ns: u64) -> usize {
    // What is below the floor counts as just below it: the last part of the doubling before.
    let ns = ns.max(FLOOR_NS - 1);
    let doubling = 63 - ns.leading_zeros();
    let part = (ns >> (doubling - PART_BITS)) as usize & (PARTS - 1);
    let first = (FLOOR_BITS as usize) * PARTS - 1;
    (doubling as usize * PARTS + part - first).min(BUCKETS - 1)
}

/// The least time that is too long for the bucket.
fn end_ns(bucket: usize) -> u64 {
    let at = bucket + (FLOOR_BITS as usize) * PARTS;
    ((at % PARTS + PARTS) as u64) << (at / PARTS - PART_BITS as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_one_bucket_that_ends_at_most_an_eighth_above_it() {
        for ns in (0..200_000).chain((18..34).flat_map(|bit| [(1 << bit) - 1, 1 << bit])) {
            let bucket = bucket_of(ns);
            assert!(ns < end_ns(bucket), "{ns} in bucket {bucket}");
            assert!(bucket == 0 || end_ns(bucket - 1) <= ns, "{ns} in bucket {bucket}");
            assert!(ns < FLOOR_NS || end_ns(bucket) - ns <= ns / 8 + 1, "{ns}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_ns(0), FLOOR_NS);
    }

    #[test]
    fn percentiles_and_doublings_count_what_was_noted() {
        let times = Times::default();
        times.note(500, 90);
        times.note(3_000, 9);
        times.note(1_000_000, 1);
        let mut spread = Spread::default();
        spread.add(&times);
        assert_eq!(spread.count(), 100);
        assert_eq!(spread.percentile_ns(50.0), 1024);
        assert_eq!(spread.percentile_ns(99.0), 3072);
        assert_eq!(spread.percentile_ns(99.9), 1 << 20);
        assert_eq!(spread.doublings(), [(1024, 90), (4096, 99), (1 << 20, 100)]);
        assert_eq!(Spread::default().percentile_ns(50.0), 0);
    }

    #[test]
    fn what_was_there_before_is_taken_off() {
        let (times, mut before, mut after) =
            (Times::default(), Spread::default(), Spread::default());
        times.note(2_000, 3);
        before.add(&times);
        times.note(2_000, 4);
        after.add(&times);
        after.subtract(&before);
        assert_eq!(after.count(), 4);
    }
}
