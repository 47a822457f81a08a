//! When a command counts as slow, and who is told of it: the slow log and the latency monitor.
//!
//! Owns: [`Alarms`], the two thresholds and the one number that both come down to. Never: measures (see `meter.rs`).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use keystead_store::command::{Command, flags};

use crate::latency::{Event, LatencyMonitor, Sample};
use crate::slow_log::SlowLog;

/// The threshold of the slow log, microseconds, as in Redis.
const SLOW_LOG_US_DEFAULT: i64 = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Alarms {
    pub(crate) slow_log: SlowLog,
    pub(crate) latency: LatencyMonitor,
    /// `slowlog-log-slower-than`: microseconds, negative for never.
    slow_log_us: AtomicI64,
    /// `latency-monitor-threshold`: milliseconds, 0 for never.
    latency_ms: AtomicU64,
    /// The smaller of both, so that a command costs one comparison.
    due_ns: AtomicU64,
}

impl Default for Alarms {
    fn default() -> Self {
        let alarms = Self {
            slow_log: SlowLog::default(),
            latency: LatencyMonitor::default(),
            slow_log_us: AtomicI64::new(SLOW_LOG_US_DEFAULT),
            latency_ms: AtomicU64::new(0),
            due_ns: AtomicU64::new(0),
        };
        alarms.renew();
        alarms
    }
}

impl Alarms {
    /// Nanoseconds from which on somebody is to be told.
    #[inline]
    pub(crate) fn due_ns(&self) -> u64 {
        self.due_ns.load(Ordering::Relaxed)
    }

    /// True if commands may come into the slow log.
    pub(crate) fn keeps_slow_log(&self) -> bool {
        self.slow_log_us() >= 0
    }

    /// Microseconds from which on a command comes into the slow log; negative for never.
    pub(crate) fn slow_log_us(&self) -> i64 {
        self.slow_log_us.load(Ordering::Relaxed)
    }

    /// Changes that.
    pub(crate) fn set_slow_log_us(&self, us: i64) {
        self.slow_log_us.store(us, Ordering::Relaxed);
        self.renew();
    }

    /// Milliseconds from which on the latency monitor takes note; 0 for never.
    pub(crate) fn latency_ms(&self) -> u64 {
        self.latency_ms.load(Ordering::Relaxed)
    }

    /// Changes that.
    pub(crate) fn set_latency_ms(&self, ms: u64) {
        self.latency_ms.store(ms, Ordering::Relaxed);
        self.renew();
    }

    fn renew(&self) {
        let slow_log = u64::try_from(self.slow_log_us()).ok().map(|us| us.saturating_mul(1000));
        let latency = Some(self.latency_ms().saturating_mul(1_000_000)).filter(|ns| *ns > 0);
        let due = slow_log.into_iter().chain(latency).min();
        self.due_ns.store(due.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// True if a command that took so long belongs into the slow log.
    pub(crate) fn is_slow(&self, row: &Command, took_ns: u64) -> bool {
        let threshold_ns = u64::try_from(self.slow_log_us()).map(|us| us.saturating_mul(1000));
        row.flags & flags::SKIP_SLOWLOG == 0 && threshold_ns.is_ok_and(|least| took_ns >= least)
    }

    /// Tells the latency monitor, if it wants to know.
    pub(crate) fn note_latency(&self, row: &Command, took_ns: u64, unix_s: u64) {
        let (ms, threshold_ms) = (took_ns / 1_000_000, self.latency_ms());
        if threshold_ms > 0 && ms >= threshold_ms {
            let is_fast = row.flags & flags::FAST != 0;
            let event = if is_fast { Event::FastCommand } else { Event::Command };
            self.latency.note(event, Sample { unix_s, ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Alarms;

    #[test]
    fn one_comparison_stands_for_both_thresholds() {
        let alarms = Alarms::default();
        assert_eq!(alarms.due_ns(), 10_000_000);
        alarms.set_latency_ms(3);
        assert_eq!(alarms.due_ns(), 3_000_000);
        alarms.set_slow_log_us(0);
        assert_eq!(alarms.due_ns(), 0);
        alarms.set_slow_log_us(-1);
        assert_eq!(alarms.due_ns(), 3_000_000);
        alarms.set_latency_ms(0);
        assert_eq!(alarms.due_ns(), u64::MAX);
    }
}
