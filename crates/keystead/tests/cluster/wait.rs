//! Waiting for a condition, with a deadline that says what was waited for.
//! Owns: the only pause in these tests. Never: a pause that is not a look at a condition or a load's pace.

use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
///
/// # Panics
/// After `within`, naming `what`.
pub(crate) fn wait_for<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    try_for(within, look).unwrap_or_else(|| panic!("not within {within:?}: {what}"))
}

/// Waits until `look` finds something, or `within` has passed.
pub(crate) fn try_for<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
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
pub(crate) fn pause(time: Duration) {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}
