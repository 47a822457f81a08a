//! What makes commands take a detour: somebody watches them (MONITOR), or holds them back (CLIENT PAUSE).
//!
//! Owns: [`Attention`], the one number that a command looks at, the pause, the list of monitors. Never: decides which commands
//! are meant (see `dispatch.rs`). Both concern the clients of this node alone: what comes from other nodes was looked
//! at there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use keystead_types::Monotonic;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::wake::Wake;

/// Bytes of commands that wait for one monitor; past it the monitor is disconnected, like a client that does not read.
const FEED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Somebody watches.
const WATCHED: u8 = 1;
/// Commands are held back.
const PAUSED: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Attention {
    bits: AtomicU8,
    pause: watch::Sender<Option<Pause>>,
    /// By the number of the client that watches.
    feeds: Mutex<BTreeMap<u64, Arc<Feed>>>,
}

/// Until when which commands are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) until: Monotonic,
    /// True if reads go on.
    pub(crate) is_for_writes: bool,
}

/// Commands on their way to one monitor.
pub(crate) struct Feed {
    lines: Mutex<Vec<u8>>,
    is_overrun: AtomicBool,
    wake: Wake,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("is_overrun", &self.is_overrun).finish_non_exhaustive()
    }
}

impl Default for Attention {
    fn default() -> Self {
        let pause = watch::Sender::new(None);
        Self { bits: AtomicU8::new(0), pause, feeds: Mutex::default() }
    }
}

impl Attention {
    /// True if commands have to take the detour.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.bits.load(Ordering::Relaxed) != 0
    }

    /// True if somebody watches.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.bits.load(Ordering::Relaxed) & WATCHED != 0
    }

    /// The pause, if there is one that is not over.
    pub(crate) fn pause(&self, now: Monotonic) -> Option<Pause> {
        if self.bits.load(Ordering::Relaxed) & PAUSED == 0 {
            return None;
        }
        (*self.pause.borrow()).filter(|pause| now < pause.until)
    }

    /// Begins a pause, or makes one longer and stricter, as in Redis.
    pub(crate) fn begin_pause(&self, asked: Pause, now: Monotonic) {
        self.pause.send_modify(|known| {
            *known = Some(match known.filter(|pause| now < pause.until) {
                Some(pause) => Pause {
                    until: pause.until.max(asked.until),
                    is_for_writes: pause.is_for_writes && asked.is_for_writes,
                },
                None => asked,
            });
            self.bits.fetch_or(PAUSED, Ordering::Relaxed);
        });
    }

    /// Ends the pause.
    pub(crate) fn end_pause(&self) {
        self.pause.send_modify(|pause| {
            *pause = None;
            self.bits.fetch_and(!PAUSED, Ordering::Relaxed);
        });
    }

    /// Ends the pause if it is over.
    pub(crate) fn end_old_pause(&self, now: Monotonic) {
        self.pause.send_if_modified(|pause| {
            if pause.is_some_and(|pause| pause.until <= now) {
                *pause = None;
                self.bits.fetch_and(!PAUSED, Ordering::Relaxed);
            }
            // Every thread looks at the clock itself.
            false
        });
    }

    /// Tells of every change of the pause.
    pub(crate) fn pauses(&self) -> watch::Receiver<Option<Pause>> {
        self.pause.subscribe()
    }

    /// Has a client watch; `wake` wakes its thread.
    pub(crate) fn watch(&self, client: u64, wake: Wake) -> Arc<Feed> {
        let (lines, is_overrun) = (Mutex::default(), AtomicBool::new(false));
        let feed = Arc::new(Feed { lines, is_overrun, wake });
        let mut feeds = self.feeds.lock();
        feeds.insert(client, Arc::clone(&feed));
        self.bits.fetch_or(WATCHED, Ordering::Relaxed);
        feed
    }

    /// A client watches no longer.
    pub(crate) fn unwatch(&self, client: u64) {
        let mut feeds = self.feeds.lock();
        feeds.remove(&client);
        if feeds.is_empty() {
            self.bits.fetch_and(!WATCHED, Ordering::Relaxed);
        }
    }

    /// Shows a line to everybody who watches.
    pub(crate) fn show(&self, line: &[u8]) {
        self.feeds.lock().values().for_each(|feed| feed.put(line));
    }
}

impl Feed {
    fn put(&self, line: &[u8]) {
        let mut lines = self.lines.lock();
        if lines.len() + line.len() > FEED_BYTES_MAX {
            self.is_overrun.store(true, Ordering::Relaxed);
        } else {
            lines.extend_from_slice(line);
        }
        drop(lines);
        self.wake.wake();
    }

    /// Moves what waits to the end of `output`; false if something found no room, so that the monitor misses commands.
    pub(crate) fn take(&self, output: &mut Vec<u8>) -> bool {
        output.append(&mut self.lines.lock());
        !self.is_overrun.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn pause(until: u64, is_for_writes: bool) -> Pause {
        Pause { until: Monotonic(until), is_for_writes }
    }

    #[test]
    fn pauses_become_longer_and_stricter_until_they_end() {
        let (attention, now) = (Attention::default(), Monotonic(5));
        assert!(!attention.is_wanted());
        attention.begin_pause(pause(10, true), now);
        attention.begin_pause(pause(8, false), now);
        assert_eq!(attention.pause(now), Some(pause(10, false)));
        attention.begin_pause(pause(12, true), now);
        assert_eq!(attention.pause(now), Some(pause(12, false)));
        assert_eq!(attention.pause(Monotonic(12)), None);
        attention.end_old_pause(Monotonic(11));
        assert!(attention.is_wanted());
        attention.end_old_pause(Monotonic(12));
        assert!(!attention.is_wanted());
        attention.begin_pause(pause(30, true), Monotonic(20));
        assert_eq!(attention.pause(Monotonic(20)), Some(pause(30, true)), "the old one is over");
        attention.end_pause();
        assert_eq!(attention.pause(Monotonic(20)), None);
    }

    #[test]
    fn a_monitor_that_does_not_read_is_told_of_and_takes_bounded_memory() {
        let attention = Attention::default();
        let (one, two) = (attention.watch(1, Wake::new()), attention.watch(2, Wake::new()));
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            attention.show(&line);
            let mut output = Vec::new();
            assert!(two.take(&mut output) && output.len() == line.len());
        }
        let mut output = Vec::new();
        assert!(!one.take(&mut output) && output.len() <= FEED_BYTES_MAX);
        attention.unwatch(1);
        assert!(attention.is_watched());
        attention.unwatch(2);
        assert!(!attention.is_wanted());
    }
}
