//! How often a child may fall in how long, and how long to wait before it is started again.
//! Owns: [`Intensity`] and the memory of recent failures. Never: a clock; moments come in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Bounds of restarting.
///
/// Under [`OnExhausted::Escalate`](crate::OnExhausted::Escalate) the failures of all children of the
/// supervisor count together, as in Erlang/OTP; under
/// [`OnExhausted::StayDown`](crate::OnExhausted::StayDown) each child's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts allowed within `window`; one failure more and the supervisor gives up.
    pub restarts_max: u32,
    /// How long a failure is remembered.
    pub window: Duration,
    /// Wait before the first restart; doubles with each further failure within `window`.
    pub backoff_first: Duration,
    /// Longest wait before a restart.
    pub backoff_max: Duration,
}

impl Default for Intensity {
    /// Three restarts in 60 s, after 100 ms, 200 ms and 400 ms.
    fn default() -> Self {
        Self {
            restarts_max: 3,
            window: Duration::from_secs(60),
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl Intensity {
    /// The wait before the restart that follows the `failures`th failure within the window.
    pub(crate) fn backoff(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff_first.saturating_mul(factor).min(self.backoff_max)
    }
}

/// The failures of the last `window`. Holds at most `restarts_max + 1` moments.
#[derive(Debug, Default)]
pub(crate) struct History {
    failures: VecDeque<Instant>,
}

impl History {
    /// Remembers a failure and returns how many lie within the window, this one included.
    pub(crate) fn record(&mut self, now: Instant, intensity: &Intensity) -> u32 {
        while let Some(&oldest) = self.failures.front() {
            let is_forgotten = now.duration_since(oldest) > intensity.window;
            let is_full = self.failures.len() > intensity.restarts_max as usize;
            if !is_forgotten && !is_full {
                break;
            }
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// Forgets everything: an operator asked for a fresh start.
    pub(crate) fn clear(&mut self) {
        self.failures.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let intensity =
            Intensity { backoff_max: Duration::from_millis(500), ..Intensity::default() };
        let waits: Vec<u128> =
            [1, 2, 3, 4, 5, 40].map(|failures| intensity.backoff(failures).as_millis()).to_vec();
        assert_eq!(waits, [100, 200, 400, 500, 500, 500]);
    }

    #[test]
    fn failures_outside_the_window_are_forgotten() {
        let intensity = Intensity { window: Duration::from_secs(10), ..Intensity::default() };
        let mut history = History::default();
        let start = Instant::now();
        assert_eq!(history.record(start, &intensity), 1);
        assert_eq!(history.record(start + Duration::from_secs(9), &intensity), 2);
        assert_eq!(history.record(start + Duration::from_secs(11), &intensity), 2);
        assert_eq!(history.record(start + Duration::from_secs(60), &intensity), 1);
    }
}
