//! The signal that asks a child to stop.
//! Owns: [`Shutdown`]: one flag with three ways to notice it (look, await, be called).
//! Never: the decision to stop, nor the grace that follows (see `actor`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

type Wake = Box<dyn Fn() + Send + Sync>;

/// A request to stop, shared by the supervisor and everything one child consists of. Clones are
/// the same signal. Once requested it stays so.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    level: AtomicU8,
    notify: Notify,
    wakes: Mutex<Vec<Wake>>,
}

/// How urgently a child is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Urgency {
    /// Not at all.
    None = 0,
    /// Finish what you do, within the grace.
    Orderly = 1,
    /// A task is aborted, a thread asked once more; a supervisor kills its children.
    Kill = 2,
}

impl Shutdown {
    /// A signal that nobody has given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True once a stop was requested. One atomic load: cheap enough for every turn of a loop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.urgency() > Urgency::None
    }

    /// Returns once a stop was requested. Cancel safe.
    pub async fn requested(&self) {
        self.beyond(Urgency::None).await;
    }

    /// Calls `wake` when a stop is requested, at once if it already was. For threads that wait on
    /// something else: let `wake` send them a message, or unpark them. It must not block.
    pub fn on_request(&self, wake: impl Fn() + Send + Sync + 'static) {
        let mut wakes = self.inner.wakes.lock();
        // ORDER: looked at under the lock that `request` takes after setting the level; either this
        // sees the level, or `request` sees the new entry.
        if self.is_requested() {
            drop(wakes);
            wake();
        } else {
            wakes.push(Box::new(wake));
        }
    }

    /// Asks for a stop.
    pub fn request(&self) {
        self.raise(Urgency::Orderly);
    }

    pub(crate) fn raise(&self, urgency: Urgency) {
        let before = self.inner.level.fetch_max(urgency as u8, Ordering::SeqCst);
        if before >= urgency as u8 {
            return;
        }
        let wakes = std::mem::take(&mut *self.inner.wakes.lock());
        wakes.iter().for_each(|wake| wake());
        self.inner.notify.notify_waiters();
    }

    pub(crate) fn urgency(&self) -> Urgency {
        match self.inner.level.load(Ordering::SeqCst) {
            0 => Urgency::None,
            1 => Urgency::Orderly,
            _ => Urgency::Kill,
        }
    }

    /// Returns once the urgency exceeds `heeded`.
    pub(crate) async fn beyond(&self, heeded: Urgency) -> Urgency {
        loop {
            let notified = self.inner.notify.notified();
            tokio::pin!(notified);
            // ORDER: enlisted before the look at the level, so that no request falls in between.
            notified.as_mut().enable();
            let urgency = self.urgency();
            if urgency > heeded {
                return urgency;
            }
            notified.await;
        }
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("urgency", &self.urgency()).finish()
    }
}
