//! The latency monitor: the slowest moment of every second in which something was too slow, by kind of event.
//!
//! Owns: [`LatencyMonitor`], the events there are, the history of each. Never: measures (see `meter.rs`), decides what is too
//! slow (see `alarm.rs`).

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Samples that are kept of an event, as in Redis.
const SAMPLES_MAX: usize = 160;

/// What can be too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A command whose cost depends on what it works on.
    Command,
    /// A command of constant or logarithmic cost.
    FastCommand,
}

impl Event {
    const ALL: [Self; 2] = [Self::Command, Self::FastCommand];

    /// The name that Redis has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
        }
    }

    /// The event of a name, in any case.
    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| name.eq_ignore_ascii_case(event.name().as_bytes()))
    }
}

/// The slowest moment of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) unix_s: u64,
    pub(crate) ms: u64,
}

/// What is known of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// The oldest first.
    pub(crate) samples: VecDeque<Sample>,
    /// The slowest there ever was since the last reset.
    pub(crate) ms_max: u64,
}

/// The histories of all events of the node.
#[derive(Debug, Default)]
pub(crate) struct LatencyMonitor {
    events: Mutex<BTreeMap<Event, History>>,
}

impl LatencyMonitor {
    /// Notes that `event` took `ms`.
    pub(crate) fn note(&self, event: Event, sample: Sample) {
        let mut events = self.events.lock();
        let history = events.entry(event).or_default();
        history.ms_max = history.ms_max.max(sample.ms);
        match history.samples.back_mut() {
            Some(last) if last.unix_s == sample.unix_s => last.ms = last.ms.max(sample.ms),
            _ => history.samples.push_back(sample),
        }
        if history.samples.len() > SAMPLES_MAX {
            history.samples.pop_front();
        }
    }

    /// Every event that was ever too slow, with its history.
    pub(crate) fn all(&self) -> BTreeMap<Event, History> {
        self.events.lock().clone()
    }

    /// What is known of one event.
    pub(crate) fn of(&self, event: Event) -> Option<History> {
        self.events.lock().get(&event).cloned()
    }

    /// Forgets one event; true if there was something to forget.
    pub(crate) fn forget(&self, event: Event) -> bool {
        self.events.lock().remove(&event).is_some()
    }

    /// Forgets all; how many there were.
    pub(crate) fn forget_all(&self) -> usize {
        std::mem::take(&mut *self.events.lock()).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_remembered_by_its_slowest_moment_and_history_is_bounded() {
        let monitor = LatencyMonitor::default();
        for (unix_s, ms) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            monitor.note(Event::Command, Sample { unix_s, ms });
        }
        let history = monitor.of(Event::Command).unwrap();
        let expected = [Sample { unix_s: 1, ms: 9 }, Sample { unix_s: 2, ms: 3 }];
        assert_eq!(history.samples, expected);
        assert_eq!(history.ms_max, 9);
        for unix_s in 3..1000 {
            monitor.note(Event::Command, Sample { unix_s, ms: 1 });
        }
        assert_eq!(monitor.of(Event::Command).unwrap().samples.len(), SAMPLES_MAX);
        assert_eq!(monitor.of(Event::FastCommand).map(|_| ()), None);
        assert!(monitor.forget(Event::Command) && !monitor.forget(Event::Command));
        assert_eq!(monitor.forget_all(), 0);
    }
}
