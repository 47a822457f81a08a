//! The worker on a thread: feeds it, and does what it asks for.
//!
//! Owns: the worker's inbox, the order in which outputs are carried out, waking.
//! Never: decides anything about a group. Called by the node's supervision tree, one thread each.
//!
//! Everything that came in while a turn ran is taken at once by the next: that is where batches
//! come from, without a timer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use keystead_types::{Clock, ShardId};
use keystead_wal::{Batch, Completion, DiskState, Handle, Written};
use parking_lot::{Condvar, Mutex};
use raft::eraftpb::Message;

use crate::append::Appender;
use crate::machine::Machine;
use crate::outcome::{Rejection, ReplyTo};
use crate::outputs::{Event, Outputs, SnapshotWork};
use crate::snapshot_writer::SnapshotQueue;
use crate::worker::{GroupInput, Input, Worker};

/// How often the log is told what it may drop.
const PURGE_EVERY: Duration = Duration::from_secs(1);
/// Batches kept for reuse.
const SPARE_BATCHES_MAX: usize = 4;

/// Where a worker's messages go.
pub trait Messenger: Send {
    /// Sends what is in `messages` and leaves it empty. Messages may be lost; raft sends again.
    fn send(&mut self, messages: &mut Vec<(ShardId, Message)>);
}

/// Where a worker's snapshot work goes; the work's own bound on chunks under way keeps the queue short.
pub(crate) trait SnapshotSink: Send {
    fn take(&mut self, work: SnapshotWork);
}

/// The way into a worker. Cheap to clone; lives as long as anybody needs it, longer than the worker.
pub struct Inbox<M: Machine> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: Machine> {
    state: Mutex<State<M>>,
    wake: Condvar,
}

struct State<M: Machine> {
    inputs: Vec<Input<M>>,
    persisted: u64,
    spare: Vec<Batch>,
    is_waiting: bool,
    /// Counts the workers that ran here: what the log says to an earlier one is not for this one.
    incarnation: u64,
    /// False before the worker runs and after it ended: then nothing is taken.
    is_open: bool,
    is_closing: bool,
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
            is_waiting: false,
            incarnation: 0,
            is_open: false,
            is_closing: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new() }) }
    }
}

impl<M: Machine> Inbox<M> {
    /// Gives the worker something to do. What comes while no worker runs is dropped, and runs among
    /// it are rejected.
    pub fn push(&self, input: Input<M>) {
        let mut state = self.shared.state.lock();
        if !state.is_open {
            drop(state);
            return refuse(input);
        }
        state.inputs.push(input);
        self.wake(state);
    }

    /// Gives one group something to do.
    pub fn push_for(&self, group: ShardId, input: GroupInput<M>) {
        self.push(Input::Group(group, input));
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
        self.wake(state);
    }

    fn wake(&self, mut state: parking_lot::MutexGuard<'_, State<M>>) {
        let must_wake = std::mem::take(&mut state.is_waiting);
        drop(state);
        if must_wake {
            self.shared.wake.notify_one();
        }
    }

    /// Waits for inputs, the log's word or `until`, and takes what there is. False: the worker must end.
    fn take(&self, inputs: &mut Vec<Input<M>>, seen: &mut u64, timeout: Duration) -> bool {
        let mut state = self.shared.state.lock();
        if state.inputs.is_empty()
            && state.persisted == *seen
            && !state.is_closing
            && !timeout.is_zero()
        {
            state.is_waiting = true;
            self.shared.wake.wait_for(&mut state, timeout);
            state.is_waiting = false;
        }
        std::mem::swap(&mut state.inputs, inputs);
        if state.persisted != *seen {
            *seen = state.persisted;
            inputs.push(Input::Persisted(*seen));
        }
        !state.is_closing
    }

    fn open(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.incarnation += 1;
        state.is_open = true;
        state.is_closing = false;
        state.inputs.clear();
        state.persisted = 0;
        state.incarnation
    }

    fn shut(&self) {
        let left = {
            let mut state = self.shared.state.lock();
            state.is_open = false;
            std::mem::take(&mut state.inputs)
        };
        left.into_iter().for_each(refuse);
    }

    fn spare_batch(&self) -> Batch {
        self.shared.state.lock().spare.pop().unwrap_or_default()
    }
}

/// One incarnation's ear at the log.
struct Listener<M: Machine> {
    inbox: Inbox<M>,
    incarnation: u64,
}

impl<M: Machine> Completion for Listener<M> {
    fn written(&self, written: Written) {
        let mut state = self.inbox.shared.state.lock();
        if state.incarnation != self.incarnation {
            return;
        }
        state.persisted = state.persisted.max(written.token);
        if state.spare.len() < SPARE_BATCHES_MAX {
            state.spare.push(written.batch);
        }
        self.inbox.wake(state);
    }
}

/// Nobody runs the worker: runs go back, the rest is void.
fn refuse<M: Machine>(input: Input<M>) {
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

/// A worker and everything it needs to run on a thread.
pub struct Driver<M: Machine> {
    worker: Worker<M>,
    inbox: Inbox<M>,
    appender: Appender,
    messenger: Box<dyn Messenger>,
    snapshots: SnapshotQueue,
    on_event: Box<dyn Fn(Event) + Send>,
    clock: Arc<dyn Clock>,
    before_turn: Box<dyn Fn() + Send>,
    listener: Arc<dyn Completion>,
    /// What the next turn takes in; here, so that it is answered if the worker falls before it did.
    inputs: Vec<Input<M>>,
    out: Outputs,
    /// The last submission, if this thread wrote it itself: the next turn hears of it, at once.
    written: Option<Written>,
    /// The batch it came back with.
    spare: Option<Batch>,
}

/// What surrounds a worker.
pub struct Surroundings<M: Machine> {
    /// The worker's inbox.
    pub inbox: Inbox<M>,
    /// The node's log.
    pub log: Handle,
    /// Where messages go.
    pub messenger: Box<dyn Messenger>,
    /// Who is told of events; must not block.
    pub on_event: Box<dyn Fn(Event) + Send>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// Called before every turn; a test may make it panic.
    pub before_turn: Box<dyn Fn() + Send>,
}

impl<M: Machine> Driver<M> {
    /// A driver for `worker`.
    #[must_use]
    pub fn new(worker: Worker<M>, around: Surroundings<M>, snapshots: SnapshotQueue) -> Self {
        let Surroundings { inbox, log, messenger, on_event, clock, before_turn } = around;
        let incarnation = inbox.open();
        let listener = Arc::new(Listener { inbox: inbox.clone(), incarnation });
        let out = Outputs::default();
        Self {
            worker,
            inbox,
            appender: Appender::new(log),
            messenger,
            snapshots,
            on_event,
            clock,
            before_turn,
            listener,
            out,
            inputs: Vec::new(),
            written: None,
            spare: None,
        }
    }

    /// Runs until the inbox is closed; then everything that still waits is answered.
    pub fn run(mut self) {
        let mut seen = 0;
        let mut next_purge = self.clock.monotonic_now().after(PURGE_EVERY);
        loop {
            let timeout = match &self.written {
                Some(_) => Duration::ZERO,
                None => self.worker.next_tick().since(self.clock.monotonic_now()),
            };
            let goes_on = self.inbox.take(&mut self.inputs, &mut seen, timeout);
            // Together with what came in meanwhile: one turn applies this entry and packs the next.
            if let Some(Written { token, batch, .. }) = self.written.take() {
                self.inputs.push(Input::Persisted(token));
                self.spare = Some(batch);
            }
            self.worker.set_disk_full(self.appender.log().disk_state() == DiskState::Full);
            (self.before_turn)();
            // ORDER: the clock is read after the inputs were taken; leases count on it.
            let now = self.clock.monotonic_now();
            self.worker.turn(&mut self.inputs, now, self.clock.unix_now(), &mut self.out);
            self.carry_out();
            if now >= next_purge {
                next_purge = now.after(PURGE_EVERY);
                self.appender.log().purge(self.worker.first_needed());
            }
            if !goes_on {
                break;
            }
        }
        self.worker.abandon_all(&mut self.out);
        self.carry_out();
    }

    /// Messages first: a leader's entries travel while its own disk writes them.
    fn carry_out(&mut self) {
        if !self.out.messages.is_empty() {
            self.messenger.send(&mut self.out.messages);
        }
        self.write_log();
        for work in self.out.snapshots.drain(..) {
            self.snapshots.take(work);
        }
        deliver(&mut self.out);
        for event in self.out.events.drain(..) {
            (self.on_event)(event);
        }
    }

    fn write_log(&mut self) {
        let submission = (!self.out.log.is_empty()).then(|| {
            let spare = self.spare.take().unwrap_or_else(|| self.inbox.spare_batch());
            keystead_wal::Submission {
                batch: std::mem::replace(&mut self.out.log, spare),
                must_sync: std::mem::take(&mut self.out.must_sync),
                token: self.worker.token(),
                done: Arc::clone(&self.listener),
            }
        });
        if let Some(written) = self.appender.append(submission, &*self.clock) {
            self.written = Some(written);
        }
    }
}

impl<M: Machine> Drop for Driver<M> {
    /// Also when the worker panicked: whoever waits is told, since nobody else knows of them.
    fn drop(&mut self) {
        self.inbox.shut();
        self.inputs.drain(..).for_each(refuse);
        let (worker, out) = (&mut self.worker, &mut self.out);
        // What fell may have left its bookkeeping in any state; a second panic must not end the process.
        let told = catch_unwind(AssertUnwindSafe(|| {
            worker.abandon_all(out);
            deliver(out);
        }));
        if told.is_err() {
            tracing::error!("what waited for a fallen worker could not be answered");
        }
    }
}

/// Delivers every ending, then wakes each receiver once.
fn deliver(out: &mut Outputs) {
    let mut to_wake: Vec<Arc<dyn ReplyTo>> = Vec::new();
    for (reply_to, completed) in out.completed.drain(..) {
        reply_to.deliver(completed);
        if !to_wake.iter().any(|other| Arc::ptr_eq(other, &reply_to)) {
            to_wake.push(reply_to);
        }
    }
    for reply_to in to_wake {
        reply_to.wake();
    }
}
