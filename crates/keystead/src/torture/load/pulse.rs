//! How often the writes of one shard succeed, and the longest time in which none did although they ought to.
//! Owns: the gaps. Never: decides when they ought to; whoever breaks the cluster says so.

use parking_lot::Mutex;

use super::story::Fate;

/// Successes of one shard. Times are microseconds of the run.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beats: Mutex<Beats>,
}

#[derive(Debug, Default)]
struct Beats {
    /// True while a majority of the shard's replicas is down or cut apart: silence is then no fault of the cluster.
    is_excused: bool,
    last: u64,
    longest: Gap,
    /// Writes that began before it do not count as the first success.
    armed_at: u64,
    first_after: Option<u64>,
    counts: Counts,
}

/// A time without a success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// When it began.
    pub from_us: u64,
    /// How long it was.
    pub length_us: u64,
}

/// What became of the operations of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub acked: u64,
    /// Writes that were refused: nothing happened.
    pub refused: u64,
    /// Writes whose connection had ended in order before they were read, where that is expected: nothing happened.
    pub cut_off: u64,
    /// Writes of which nobody knows.
    pub uncertain: u64,
    /// Reads that were answered.
    pub reads: u64,
}

impl Pulse {
    /// Counts a write, and with success a beat.
    pub(super) fn count_write(&self, began: u64, ended: u64, fate: Fate) {
        let mut beats = self.beats.lock();
        match fate {
            Fate::Refused => beats.counts.refused += 1,
            Fate::CutOff => beats.counts.cut_off += 1,
            Fate::Uncertain => beats.counts.uncertain += 1,
            Fate::Acked => {
                beats.counts.acked += 1;
                beats.note_until(ended);
                if began >= beats.armed_at {
                    beats.first_after.get_or_insert(ended);
                }
            }
        }
    }

    pub(super) fn count_read(&self) {
        self.beats.lock().counts.reads += 1;
    }

    /// From now on the first success is looked for again.
    pub(super) fn arm(&self, now: u64) {
        let mut beats = self.beats.lock();
        beats.armed_at = now;
        beats.first_after = None;
    }

    /// When a write had succeeded that began after [`arm`](Self::arm).
    pub(super) fn first_after(&self) -> Option<u64> {
        self.beats.lock().first_after
    }

    /// Says whether silence from now on is the cluster's fault.
    pub(super) fn set_excused(&self, now: u64, is_excused: bool) {
        let mut beats = self.beats.lock();
        if beats.is_excused != is_excused {
            // What went before counts up to now, by the rule that held until now.
            beats.note_until(now);
            beats.is_excused = is_excused;
        }
    }

    /// The longest gap since the last call, the one that is open included.
    pub(super) fn take_longest(&self, now: u64) -> Gap {
        let mut beats = self.beats.lock();
        let open = beats.open_gap(now);
        let longest = std::mem::take(&mut beats.longest);
        // The open one goes on: it is told again, longer, until it ends.
        if open.length_us > longest.length_us { open } else { longest }
    }

    pub(super) fn counts(&self) -> Counts {
        self.beats.lock().counts
    }
}

impl Beats {
    fn note_until(&mut self, now: u64) {
        let gap = self.open_gap(now);
        if gap.length_us > self.longest.length_us {
            self.longest = gap;
        }
        self.last = self.last.max(now);
    }

    /// What has passed without a success, as far as it is the cluster's fault.
    fn open_gap(&self, now: u64) -> Gap {
        let length_us = if self.is_excused { 0 } else { now.saturating_sub(self.last) };
        Gap { from_us: self.last, length_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_while_there_is_a_majority() {
        let pulse = Pulse::default();
        pulse.count_write(0, 100, Fate::Acked);
        pulse.set_excused(150, true);
        pulse.set_excused(9_000, false);
        pulse.count_write(9_100, 9_300, Fate::Acked);
        assert_eq!(pulse.take_longest(9_400), Gap { from_us: 9_000, length_us: 300 });
        // What is still open counts.
        assert_eq!(pulse.take_longest(10_400), Gap { from_us: 9_300, length_us: 1_100 });
    }

    #[test]
    fn the_first_success_is_of_a_write_that_began_after_the_fault() {
        let pulse = Pulse::default();
        pulse.arm(500);
        pulse.count_write(400, 600, Fate::Acked);
        assert_eq!(pulse.first_after(), None);
        pulse.count_write(510, 700, Fate::Refused);
        pulse.count_write(520, 800, Fate::Acked);
        pulse.count_write(530, 900, Fate::Acked);
        assert_eq!(pulse.first_after(), Some(800));
        assert_eq!(pulse.counts(), Counts { acked: 3, refused: 1, ..Counts::default() });
    }
}
