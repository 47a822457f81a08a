//! Waiting for a condition with a deadline, and the word to stop.
//! Owns: the only pauses of the torture. Never: a pause that is not a look at a condition, a load's pace, or how long a
//! fault lasts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest time in which a word to stop goes unseen.
const HEED_WITHIN: Duration = Duration::from_millis(50);

/// The word to stop, given once and for all. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Gives the word.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// True once it was given.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Lets time pass; less of it if the word is given.
    pub fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_requested() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left.min(HEED_WITHIN));
        }
    }
}

/// Waits until `look` finds something, or `within` has passed.
pub fn try_for<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        pause(LOOK_EVERY);
    }
}

/// Lets time pass, as a load does between two commands and as a fault that lasts.
pub fn pause(time: Duration) {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}
