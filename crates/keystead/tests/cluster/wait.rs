//! Waiting for a condition, with a deadline that says what was waited for.
//! Owns: that a test which waited in vain fails. Never: a pause that is not a look at a condition or a load's pace.

use std::time::Duration;

pub(crate) use keystead::torture::{pause, try_for};

/// Waits until `look` finds something.
///
/// # Panics
/// After `within`, naming `what`.
pub(crate) fn wait_for<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    try_for(within, look).unwrap_or_else(|| panic!("not within {within:?}: {what}"))
}
