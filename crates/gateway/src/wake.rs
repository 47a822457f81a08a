//! How an io thread is woken: from the thread itself, or from the node's threads.
//!
//! Owns: [`Wake`], what the node is given, and [`PumpSignal`] behind it. Never: knows what there is to look at.
//!
//! A signal that is set already wakes nobody: the look that clears it has not begun. What is to be found must lie where it
//! is looked for, behind a lock, before the signal is set (`loom/src/scenarios.rs` tries every order).

use std::sync::Arc;
use std::task::Waker;

use crate::primitives::{AtomicBool, Mutex, Ordering};

/// What the node uses to say that it has outcomes. Clones wake the same thread.
#[derive(Clone, Debug)]
pub struct Wake {
    pub(crate) signal: Arc<PumpSignal>,
}

/// Set when there is something to look at.
#[derive(Debug, Default)]
pub(crate) struct PumpSignal {
    is_set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Wake {
    /// Has the thread collect its door's completions. Cheap if it is already about to; never blocks.
    pub fn wake(&self) {
        self.signal.set();
    }

    pub(crate) fn new() -> Self {
        Self { signal: Arc::default() }
    }
}

impl PumpSignal {
    pub(crate) fn set(&self) {
        if !self.is_set.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
    }

    /// The one who looks is about to: from now on he is woken again.
    pub(crate) fn begin_look(&self, waker: &Waker) {
        {
            let mut known = self.waker.lock();
            if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
        // ORDER: cleared before the look, so that what comes during it wakes again.
        self.is_set.store(false, Ordering::Release);
    }
}
