//! The place where one result waits for the one who asked for it.
//! Owns: [`Pending`] (the future) and [`Promise`] (who fills it). Never: a runtime, a timer, a thread.
//! Called by: `exchange` for every run of commands, `offload` for calls that block.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Where the result is put.
#[derive(Debug)]
pub(crate) struct Promise<T>(Arc<Mutex<State<T>>>);

/// Waits for the result. Dropping it changes nothing for whoever produces the result.
#[derive(Debug)]
pub(crate) struct Pending<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Filled(T),
    Taken,
}

/// A promise and the future of its result.
pub(crate) fn promise<T>() -> (Promise<T>, Pending<T>) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Promise(Arc::clone(&state)), Pending(state))
}

impl<T> Promise<T> {
    /// Puts the result down and returns whom to wake, for the caller to do so without its locks.
    #[must_use]
    pub(crate) fn fill(self, result: T) -> Option<Waker> {
        match std::mem::replace(&mut *self.0.lock(), State::Filled(result)) {
            State::Waiting(waker) => waker,
            State::Filled(_) | State::Taken => {
                unreachable!("INV-EMB2: a promise is filled once, because filling consumes it")
            }
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Filled(result) => Poll::Ready(result),
            State::Waiting(known) => {
                let waker = match known {
                    Some(waker) if waker.will_wake(context.waker()) => waker,
                    _ => context.waker().clone(),
                };
                *state = State::Waiting(Some(waker));
                Poll::Pending
            }
            State::Taken => panic!("a future was polled after it had ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::park::block_on;

    #[test]
    fn a_result_is_found_whether_it_comes_before_or_after_the_question() {
        let (promise_early, pending) = promise();
        assert!(promise_early.fill(1).is_none());
        assert_eq!(block_on(pending), 1);

        let (promise_late, pending) = promise();
        let filler = std::thread::Builder::new().spawn(move || {
            if let Some(waker) = promise_late.fill(2) {
                waker.wake();
            }
        });
        assert_eq!(block_on(pending), 2);
        filler.unwrap().join().unwrap();
    }
}
