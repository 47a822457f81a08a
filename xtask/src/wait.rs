//! Waiting for a condition, with a deadline.
//! Owns: the one place of xtask that lets time pass. Never: waits for a fixed time.

use std::time::{Duration, Instant};

use crate::project::Outcome;

/// How often a condition is looked at; short against everything that is measured with it.
const PAUSE: Duration = Duration::from_millis(1);

/// Returns once `condition` gives a value; fails, saying `what` was awaited, at the deadline.
pub(crate) fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > deadline {
            return Err(format!("waited {} s in vain for {what}", deadline.as_secs()).into());
        }
        std::thread::park_timeout(PAUSE);
    }
}
