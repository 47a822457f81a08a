//! What surrounds a worker: feeds it, and does what it asks for.
//!
//! Owns: one turn, and the order in which its outputs are carried out. Never: decides anything about a group, or on
//! which thread it runs (see `inbox`). Started by the node's supervision tree, one thread each.
//!
//! Everything that came in while a turn ran is taken at once by the next: that is where batches
//! come from, without a timer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use keystead_types::{Clock, Monotonic, ShardId};
use keystead_wal::{Batch, Completion, DiskState, Handle, Written};
use raft::eraftpb::Message;

use crate::append::Appender;
use crate::inbox::{Inbox, Listener, refuse};
use crate::machine::Machine;
use crate::outcome::ReplyTo;
use crate::outputs::{Event, Outputs, SnapshotWork};
use crate::snapshot_writer::SnapshotQueue;
use crate::worker::{Input, Worker};

/// How often the log is told what it may drop.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// Where a worker's messages go.
pub trait Messenger: Send {
    /// Sends what is in `messages` and leaves it empty. Messages may be lost; raft sends again.
    fn send(&mut self, messages: &mut Vec<(ShardId, Message)>);
}

/// Where a worker's snapshot work goes; the work's own bound on chunks under way keeps the queue short.
pub(crate) trait SnapshotSink: Send {
    fn take(&mut self, work: SnapshotWork);
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
    /// The last token that the log reported.
    seen: u64,
    next_purge: Monotonic,
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
        let listener = Arc::new(Listener::new(inbox.clone(), incarnation));
        let next_purge = clock.monotonic_now().after(PURGE_EVERY);
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
            seen: 0,
            next_purge,
            written: None,
            spare: None,
        }
    }

    /// Runs until the inbox is closed; then everything that still waits is answered.
    pub fn run(self) {
        let inbox = self.inbox.clone();
        let mut driver = inbox.run(self);
        driver.worker.abandon_all(&mut driver.out);
        driver.carry_out();
    }

    /// When the next tick is due, from now.
    pub(crate) fn until_tick(&self) -> Duration {
        self.worker.next_tick().since(self.clock.monotonic_now())
    }

    /// Takes in everything that waits and does what follows. True if there is more to do at once.
    pub(crate) fn turn(&mut self) -> bool {
        let mut has_come = self.inbox.take(&mut self.inputs, &mut self.seen);
        // Together with what came in meanwhile: one turn applies this entry and packs the next.
        if let Some(Written { token, batch, .. }) = self.written.take() {
            self.inputs.push(Input::Persisted(token));
            self.spare = Some(batch);
            has_come = true;
        }
        // ORDER: the clock is read after the inputs were taken; leases count on it.
        let now = self.clock.monotonic_now();
        if !has_come && now < self.worker.next_tick() {
            return false;
        }
        self.worker.set_disk_full(self.appender.log().disk_state() == DiskState::Full);
        (self.before_turn)();
        self.worker.turn(&mut self.inputs, now, self.clock.unix_now(), &mut self.out);
        if now >= self.next_purge {
            self.next_purge = now.after(PURGE_EVERY);
            self.appender.log().purge(self.worker.first_needed());
            self.worker.relieve_log(&self.appender.log().stats(), &mut self.out);
        }
        self.carry_out();
        self.written.is_some()
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
pub(crate) fn deliver(out: &mut Outputs) {
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
