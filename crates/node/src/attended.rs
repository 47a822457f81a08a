//! A thing that one thread at a time works at, whoever brings the work, and nobody waits for.
//!
//! Owns: [`Attended`]. Never: knows what the work is. Used by `caller` here, and by the embedded API's `exchange`.
//!
//! Whoever brings work announces it and tries the lock. If another thread stands there, that one sees to the work: it
//! looks again after it has let go. So there is no thread in between, and nobody sleeps for the lock.
//!
//! INV-N5: work that was announced is seen to, by whoever has the thing or by whoever announced it. Held by every order
//! in which two threads can meet here, weak memory included (`loom/src/scenarios.rs`).

use crate::primitives::{AtomicU8, Mutex, Ordering, fence};

/// See the module. What work there is stands in the bits of a byte.
#[derive(Debug, Default)]
pub struct Attended<T> {
    thing: Mutex<T>,
    announced: AtomicU8,
}

impl<T> Attended<T> {
    /// The thing, with work that waits for the first who comes by.
    #[must_use]
    pub fn new(thing: T, announced: u8) -> Self {
        Self { thing: Mutex::new(thing), announced: AtomicU8::new(announced) }
    }

    /// Announces `new` work and sees to all there is, unless another thread is at it.
    ///
    /// `work` is given the thing and the bits announced; what it returns is given to `after`, without the lock: there a
    /// woken task may run at once and come back here.
    pub fn attend<A>(
        &self,
        new: u8,
        mut work: impl FnMut(&mut T, u8) -> A,
        mut after: impl FnMut(A),
    ) {
        if new != 0 {
            self.announced.fetch_or(new, Ordering::SeqCst);
        }
        loop {
            // ORDER: INV-N5. Either this thread finds the lock free, or the one who has it finds the work after it let
            // go; without a full fence on both sides both could miss each other.
            fence(Ordering::SeqCst);
            if self.announced.load(Ordering::SeqCst) == 0 {
                return;
            }
            let Some(mut thing) = self.thing.try_lock() else { return };
            let announced = self.announced.swap(0, Ordering::SeqCst);
            let rest = work(&mut thing, announced);
            drop(thing);
            after(rest);
        }
    }

    /// Uses the thing, waiting for whoever has it. Whoever calls this attends afterwards, if only with no new work: what
    /// was announced meanwhile found the lock taken.
    pub fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        look(&mut self.thing.lock())
    }
}
