//! Waiting for a future on a thread without a runtime.
//!
//! Owns: [`block_on`]. Never: drives I/O or timers; the futures of this crate need neither, since the
//! node's own threads complete them. Called by: `blocking`.
//!
//! Staying awake for some microseconds before the thread sleeps was measured: it won nothing, since the
//! node's worker has to be woken as well.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

thread_local! {
    /// The bell of the last call, for the next one; a call within a call makes its own.
    static BELL: Cell<Option<Arc<Bell>>> = const { Cell::new(None) };
}

/// Wakes one call.
struct Bell {
    thread: Thread,
    /// Of this call alone: a call within it may use up the thread's own token.
    has_rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDER: release pairs with the acquire in `wait`: whoever is awake sees what was done.
        self.has_rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Bell {
    /// Returns once the bell has rung.
    fn wait(&self) {
        while !self.has_rung.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

/// Runs `future` to its end on this thread, which sleeps while it waits.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::slot::promise;

    #[test]
    fn a_call_within_a_call_does_not_use_up_the_wake_of_the_outer_one() {
        let mut polls = 0;
        block_on(std::future::poll_fn(|context| {
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            // The outer call is woken first, then the inner one waits for a wake of its own.
            context.waker().wake_by_ref();
            let (promise, pending) = promise();
            let filler = std::thread::Builder::new().spawn(move || {
                promise.fill(()).into_iter().for_each(Waker::wake);
            });
            block_on(pending);
            filler.unwrap().join().unwrap();
            Poll::Pending
        }));
        assert_eq!(polls, 2);
    }
}
