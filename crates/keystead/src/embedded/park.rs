//! Waiting for a future on a thread without a runtime.
//!
//! Owns: [`block_on`]. Never: drives I/O or timers; the futures of this crate need neither, since the
//! node's own threads complete them. Called by: `blocking`.
//!
//! A write that waits for no disk is decided in less time than a thread takes to fall asleep and be
//! woken. So a wait begins by giving the core to others and looking again, for as long as that has
//! been worth it lately on this thread.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Longest time that a wait stays awake.
const AWAKE_MAX: Duration = Duration::from_micros(20);
/// After a wait that outlasted it, this many waits fall asleep at once: with a disk in the way staying
/// awake costs a tenth of the time and wins nothing.
const WAITS_ASLEEP: u32 = 64;

thread_local! {
    /// The bell of the last call, for the next one; a call within a call makes its own.
    static BELL: Cell<Option<Arc<Bell>>> = const { Cell::new(None) };
    /// Waits that are still to fall asleep at once.
    static ASLEEP: Cell<u32> = const { Cell::new(0) };
}

/// Wakes one call.
struct Bell {
    thread: Thread,
    /// Of this call alone: another one on the same thread may use up the thread's own token.
    has_rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDER: release pairs with the acquire in `was_rung`: whoever is awake sees what was done.
        self.has_rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Bell {
    fn was_rung(&self) -> bool {
        self.has_rung.swap(false, Ordering::Acquire)
    }

    /// Returns once the bell has rung.
    fn wait(&self) {
        let asleep = ASLEEP.get();
        if asleep == 0 {
            if self.stays_awake() {
                return;
            }
            ASLEEP.set(WAITS_ASLEEP);
        } else {
            ASLEEP.set(asleep - 1);
        }
        while !self.was_rung() {
            std::thread::park();
        }
    }

    /// True if the bell rang while this stayed awake.
    fn stays_awake(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < AWAKE_MAX {
            if self.was_rung() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }
}

/// Runs `future` to its end on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = BELL.take().unwrap_or_else(|| {
        Arc::new(Bell { thread: std::thread::current(), has_rung: AtomicBool::new(false) })
    });
    let waker = Waker::from(Arc::clone(&bell));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            BELL.set(Some(bell));
            return output;
        }
        bell.wait();
    }
}
