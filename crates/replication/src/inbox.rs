//! The way into a worker, and the seat from which it is driven.
//!
//! Owns: what waits for the worker, who drives it, waking. Never: what a turn does (see `driver`).
//!
//! To hand work to another thread and to be woken when it is done costs more than most of the work itself. So the
//! worker is not bound to its thread: its driver sits behind a lock, and whoever brings something drives, if nobody
//! else does: the transport's thread with a peer's messages, a gateway's thread with its clients' commands, the log's
//! with the news that records are durable. The worker's own thread drives when nobody else comes by: for ticks, for
//! what those push who must not drive, and for what others leave.
//!
//! ```text
//!   leave(input), drive():   seat free  -> a turn, stand up, look again
//!                            seat taken -> go away: whoever sits there looks again after standing up
//!   push(input):             wakes the worker's own thread
//! ```
//! INV-WK2: what was left before somebody stood up is seen by somebody: he looks again after it, and whoever finds
//! the seat taken has left his input before he tried.
//!
//! Whoever drives must hold no lock that a turn may want: those of the doors he delivers to are only tried, never
//! waited for. A panic of a turn ends the worker's own thread, whoever drove.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use keystead_types::ShardId;
use keystead_wal::{Batch, Completion, Written};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::driver::Driver;
use crate::machine::Machine;
use crate::outcome::Rejection;
use crate::worker::{GroupInput, Input};

/// Batches kept for reuse.
const SPARE_BATCHES_MAX: usize = 4;
/// Turns that a thread with work of its own drives at a time; the worker's own thread goes on with the rest.
const TURNS_MAX: usize = 8;

/// The way into a worker. Cheap to clone; lives as long as anybody needs it, longer than the worker.
pub struct Inbox<M: Machine> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: Machine> {
    state: Mutex<State<M>>,
    wake: Condvar,
    /// Empty while no worker runs.
    seat: Mutex<Option<Box<Driver<M>>>>,
}

struct State<M: Machine> {
    inputs: Vec<Input<M>>,
    persisted: u64,
    spare: Vec<Batch>,
    /// True if something came that no turn has taken.
    is_fresh: bool,
    /// True while the worker's own thread sleeps.
    is_asleep: bool,
    /// Counts the workers that ran here: what the log says to an earlier one is not for this one.
    incarnation: u64,
    /// False before the worker runs and after it ended: then nothing is taken.
    is_open: bool,
    is_closing: bool,
    /// The panic of a turn that another thread drove.
    panic: Option<Box<dyn Any + Send>>,
}

impl<M: Machine> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M: Machine> Default for Inbox<M> {
    fn default() -> Self {
        let state = State {
            inputs: Vec::new(),
            persisted: 0,
            spare: Vec::new(),
            is_fresh: false,
            is_asleep: false,
            incarnation: 0,
            is_open: false,
            is_closing: false,
            panic: None,
        };
        let (state, seat) = (Mutex::new(state), Mutex::new(None));
        Self { shared: Arc::new(Shared { state, wake: Condvar::new(), seat }) }
    }
}

impl<M: Machine> Inbox<M> {
    /// Gives the worker something to do. What comes while no worker runs is dropped, and runs among
    /// it are rejected.
    pub fn push(&self, input: Input<M>) {
        if let Some(state) = self.put(input) {
            self.call(state);
        }
    }

    /// Gives one group something to do.
    pub fn push_for(&self, group: ShardId, input: GroupInput<M>) {
        self.push(Input::Group(group, input));
    }

    /// As [`push`](Self::push), but wakes nobody: the caller [`drive`](Self::drive)s when it has left everything.
    pub fn leave(&self, input: Input<M>) {
        drop(self.put(input));
    }

    /// Has what was left taken in, by this thread if nobody else is at it. Never waits for another thread. The caller
    /// must hold no lock that is waited for by those to whom endings, messages and events go.
    pub fn drive(&self) {
        let mut has_more = false;
        for _ in 0..TURNS_MAX {
            // ORDER: INV-WK2, the look comes after the seat is free.
            if !has_more && !self.shared.state.lock().is_fresh {
                return;
            }
            let Some(mut seat) = self.shared.seat.try_lock() else { return };
            let Some(driver) = seat.as_mut() else { return };
            match catch_unwind(AssertUnwindSafe(|| driver.turn())) {
                Ok(is_more_left) => has_more = is_more_left,
                Err(panic) => {
                    // ORDER: the driver's end shuts the inbox. It comes to its end in the seat, so that the worker's
                    // own thread falls, and another worker opens the inbox, only after it.
                    *seat = None;
                    let mut state = self.shared.state.lock();
                    state.panic = Some(panic);
                    drop(seat);
                    return self.call(state);
                }
            }
        }
        if has_more || self.shared.state.lock().is_fresh {
            self.call(self.shared.state.lock());
        }
    }

    /// True while a worker takes what is pushed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.state.lock().is_open
    }

    /// Asks the worker's thread to end.
    pub fn close(&self) {
        let mut state = self.shared.state.lock();
        state.is_closing = true;
        self.call(state);
    }

    /// The state with the input in it; `None` if nobody takes it.
    fn put(&self, input: Input<M>) -> Option<MutexGuard<'_, State<M>>> {
        let mut state = self.shared.state.lock();
        if !state.is_open {
            drop(state);
            refuse(input);
            return None;
        }
        state.inputs.push(input);
        state.is_fresh = true;
        Some(state)
    }

    /// Has the worker's own thread drive.
    fn call(&self, mut state: MutexGuard<'_, State<M>>) {
        state.is_fresh = true;
        let must_wake = std::mem::take(&mut state.is_asleep);
        drop(state);
        if must_wake {
            self.shared.wake.notify_one();
        }
    }

    /// Puts a driver into the seat and drives it from this thread too, until the inbox is closed; then hands it back.
    ///
    /// # Panics
    /// If a turn panicked, here or on another thread.
    pub(crate) fn run(&self, driver: Driver<M>) -> Driver<M> {
        /// Empties the seat, also if a turn panics.
        struct Seated<'a, M: Machine>(&'a Inbox<M>);
        impl<M: Machine> Drop for Seated<'_, M> {
            fn drop(&mut self) {
                let driver = self.0.shared.seat.lock().take();
                // What waits is answered by the driver's own end, not under the lock.
                drop(driver);
            }
        }
        *self.shared.seat.lock() = Some(Box::new(driver));
        let seated = Seated(self);
        loop {
            // The last turn takes what came before the request to end.
            let is_last = self.shared.state.lock().is_closing;
            let timeout = {
                let mut seat = self.shared.seat.lock();
                let Some(driver) = seat.as_mut() else { break };
                if driver.turn() { Duration::ZERO } else { driver.until_tick() }
            };
            if is_last {
                break;
            }
            self.sleep(timeout);
        }
        let driver = self.shared.seat.lock().take();
        drop(seated);
        match driver {
            Some(driver) => *driver,
            None => self.fall(),
        }
    }

    /// Goes on with the panic that emptied the seat.
    fn fall(&self) -> ! {
        let panic = self.shared.state.lock().panic.take();
        resume_unwind(panic.expect("only a panic empties the seat"))
    }

    /// Waits until something is there for this thread, or for so long.
    fn sleep(&self, timeout: Duration) {
        let mut state = self.shared.state.lock();
        if !state.is_fresh && !state.is_closing && !timeout.is_zero() {
            state.is_asleep = true;
            self.shared.wake.wait_for(&mut state, timeout);
            state.is_asleep = false;
        }
    }

    /// Takes all that is there into `inputs`, which must be empty; false if there was nothing.
    pub(crate) fn take(&self, inputs: &mut Vec<Input<M>>, seen: &mut u64) -> bool {
        let mut state = self.shared.state.lock();
        if !std::mem::take(&mut state.is_fresh) {
            return false;
        }
        std::mem::swap(&mut state.inputs, inputs);
        if state.persisted != *seen {
            *seen = state.persisted;
            inputs.push(Input::Persisted(*seen));
        }
        true
    }

    /// True if something waits to be taken.
    #[cfg(feature = "simulation")]
    pub(crate) fn has_inputs(&self) -> bool {
        self.shared.state.lock().is_fresh
    }

    /// Takes inputs from now on; the number of this incarnation.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.incarnation += 1;
        state.is_open = true;
        state.is_closing = false;
        state.inputs.clear();
        state.persisted = 0;
        state.panic = None;
        state.incarnation
    }

    /// Takes nothing any more, and refuses what was not taken.
    pub(crate) fn shut(&self) {
        let left = {
            let mut state = self.shared.state.lock();
            state.is_open = false;
            std::mem::take(&mut state.inputs)
        };
        left.into_iter().for_each(refuse);
    }

    pub(crate) fn spare_batch(&self) -> Batch {
        self.shared.state.lock().spare.pop().unwrap_or_default()
    }
}

/// One incarnation's ear at the log.
pub(crate) struct Listener<M: Machine> {
    inbox: Inbox<M>,
    incarnation: u64,
}

impl<M: Machine> Listener<M> {
    pub(crate) fn new(inbox: Inbox<M>, incarnation: u64) -> Self {
        Self { inbox, incarnation }
    }
}

impl<M: Machine> Completion for Listener<M> {
    fn written(&self, written: Written) {
        let mut state = self.inbox.shared.state.lock();
        if state.incarnation != self.incarnation {
            return;
        }
        state.persisted = state.persisted.max(written.token);
        state.is_fresh = true;
        if state.spare.len() < SPARE_BATCHES_MAX {
            state.spare.push(written.batch);
        }
    }

    /// While the log has more to write, its thread is needed there.
    fn settled(&self, is_log_idle: bool) {
        if is_log_idle {
            self.inbox.drive();
        } else {
            self.inbox.call(self.inbox.shared.state.lock());
        }
    }
}

/// Nobody runs the worker: runs go back, the rest is void.
pub(crate) fn refuse<M: Machine>(input: Input<M>) {
    match input {
        Input::Submit(runs) => {
            for run in runs {
                let (reply_to, completed) = run.reject(Rejection::NoReplica);
                reply_to.deliver(completed);
                reply_to.wake();
            }
        }
        Input::Stop(_, done) => done(),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
