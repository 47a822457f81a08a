//! Loom's primitives in the shape of those that the product names in its files `primitives.rs`.
//!
//! Owns: [`Mutex`]. Loom's own does not try the order in which somebody tries the lock just before it is let go of, and
//! that is the order which matters here. So this one takes a flag first, an atomic like any other to loom.

use std::fmt;
use std::ops::{Deref, DerefMut};

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

/// A mutex that is not poisoned, as `parking_lot` has it.
#[derive(Default)]
pub(crate) struct Mutex<T> {
    is_taken: AtomicBool,
    value: loom::sync::Mutex<T>,
}

/// Whoever has it has the value.
pub(crate) struct MutexGuard<'a, T> {
    is_taken: &'a AtomicBool,
    /// Let go of behind the flag; `None` only then.
    value: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { is_taken: AtomicBool::new(false), value: loom::sync::Mutex::new(value) }
    }

    /// Waits for the value itself, because loom cannot try all the turns of a loop that waits for a flag.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let value = self.wait();
        self.is_taken.store(true, Ordering::Relaxed);
        MutexGuard { is_taken: &self.is_taken, value: Some(value) }
    }

    /// Fails while the flag says so. Between somebody's taking the value and saying so it waits instead: the orders in
    /// which it would fail just there are not tried.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // The orders are those of `parking_lot`.
        let taken =
            self.is_taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        Some(MutexGuard { is_taken: &self.is_taken, value: Some(self.wait()) })
    }

    fn wait(&self) -> loom::sync::MutexGuard<'_, T> {
        self.value.lock().expect("a scenario that panicked has ended")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("held until the drop")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("held until the drop")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.is_taken.store(false, Ordering::Release);
        self.value = None;
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}
