//! The log behind threads: everything that is queued becomes one write and at most one fsync.
//! Owns: [`Writer`] (the only thread that appends and syncs), [`Preparer`] (makes the next segment ready and removes
//! old ones, so that neither holds up an append), the waiting. Never: starting threads (a supervisor runs the two
//! bodies), retrying a write or an fsync, formats.
//!
//! ```text
//!   workers --Handle::submit--> queue --> Writer: append all, fsync once, complete all, in order
//!                                            |  order for the next segment, old segments
//!                                            v
//!                                         Preparer: zeros, fsync, rename; removals
//! ```
//! While an fsync runs the queue fills; that is the whole of group commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{error, info, warn};

use crate::directory::remove_retired;
use crate::disk::Disk;
use crate::error::WalError;
use crate::inbox::{DiskState, Handle, Stall, Submission, Work, Written};
use crate::ledger::Retired;
use crate::log::Log;
use crate::segment::{Preparation, Segment, SpareOrder};

/// How long a disk without room (or a file that cannot be removed) is left alone before the next try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Settings of the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// What was submitted without `must_sync` is synced at latest after this time.
    pub background_sync: Duration,
    /// Idle time after which an empty block vouches for the last sync (see `recovery`).
    pub mark_after: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { background_sync: Duration::from_millis(200), mark_after: Duration::from_millis(20) }
    }
}

/// The log's thread.
#[derive(Debug)]
pub struct Writer<D: Disk> {
    log: Log<D>,
    options: WriterOptions,
    handle: Handle,
    yard: Arc<Yard<D>>,
    /// Taken from the queue and not written: they wait for a segment.
    held: Vec<Submission>,
    /// When what is written must be synced although nobody asked.
    sync_due: Option<Instant>,
    mark_due: Option<Instant>,
    /// When to try again what is held.
    retry_due: Option<Instant>,
    /// Segments can only be let go when nothing waits for a sync.
    is_purge_wanted: bool,
}

impl<D: Disk> Writer<D> {
    /// The two thread bodies for `log`, and the handle that workers clone.
    #[must_use]
    pub fn new(log: Log<D>, options: WriterOptions) -> (Self, Preparer<D>, Handle) {
        let handle = Handle::new();
        handle.set_stats(log.stats());
        let yard = Arc::new(Yard { state: Mutex::default(), wake: Condvar::new() });
        let preparer = Preparer {
            disk: log.disk().clone(),
            log_dir: log.log_dir().to_owned(),
            handle: handle.clone(),
            yard: Arc::clone(&yard),
        };
        let writer = Self {
            log,
            options,
            handle: handle.clone(),
            yard,
            held: Vec::new(),
            sync_due: None,
            mark_due: None,
            retry_due: None,
            is_purge_wanted: false,
        };
        (writer, preparer, handle)
    }

    /// Runs until [`Handle::shutdown`], then closes the log in order. Needs [`Preparer::run`] beside it.
    ///
    /// # Errors
    /// A write or an fsync failed. `on_fatal` has been told, before anybody could be told anything else; the
    /// process must end. What was submitted and not completed may or may not be in the log.
    pub fn run(mut self, on_fatal: impl FnOnce(&WalError)) -> Result<(), WalError> {
        // Also on a panic: workers must see that nothing they submit will be written.
        let _closer = Closer { handle: self.handle.clone(), yard: Arc::clone(&self.yard) };
        let outcome = self.serve();
        let outcome = outcome.and_then(|()| self.log.close());
        if let Err(failure) = &outcome {
            error!(error = %failure, "the log failed");
            on_fatal(failure);
        }
        outcome
    }

    fn serve(&mut self) -> Result<(), WalError> {
        self.plan(Instant::now(), 0)?;
        loop {
            self.order_spare();
            let stall = if self.held.is_empty() { Stall::No } else { Stall::Yes };
            let due = [self.sync_due, self.mark_due, self.retry_due].into_iter().flatten().min();
            let work = self.handle.wait(due, stall);
            if let Some(spare) = self.yard.take_ready() {
                self.log.install_spare(spare);
            }
            let is_closing = work.is_closing;
            self.round(work)?;
            if is_closing {
                return Ok(());
            }
        }
    }

    /// One write, at most one fsync, all completions.
    fn round(&mut self, work: Work) -> Result<(), WalError> {
        let Work { submissions, first_needed, is_sync_wanted, .. } = work;
        self.held.extend(submissions);
        let written = self.log.append_all(&mut self.held)?;
        let now = Instant::now();
        let is_due = self.sync_due.is_some_and(|due| due <= now);
        let must_sync = self.held[..written].iter().any(|submission| submission.must_sync);
        if must_sync || is_due || is_sync_wanted {
            self.log.sync()?;
        }
        let is_durable = !self.log.has_unsynced();
        for submission in self.held.drain(..written) {
            let Submission { batch, token, done, .. } = submission;
            done.written(Written { token, batch, is_durable });
        }
        self.is_purge_wanted |= !first_needed.is_empty();
        if self.is_purge_wanted {
            self.yard.remove(self.log.retire(&first_needed));
            self.is_purge_wanted = self.log.has_unsynced();
        }
        self.plan(now, written)?;
        self.judge_room(now);
        self.handle.set_stats(self.log.stats());
        Ok(())
    }

    /// Decides when to come back although nobody asks.
    fn plan(&mut self, now: Instant, written: usize) -> Result<(), WalError> {
        self.sync_due = match self.sync_due {
            _ if !self.log.has_unsynced() => None,
            None => Some(now + self.options.background_sync),
            due => due,
        };
        if !self.log.wants_mark() {
            self.mark_due = None;
        } else if written == 0 && self.mark_due.is_some_and(|due| due <= now) {
            self.log.mark()?;
            self.mark_due = None;
        } else if written > 0 || self.mark_due.is_none() {
            self.mark_due = Some(now + self.options.mark_after);
        }
        Ok(())
    }

    /// A spare that is there but cannot grow to a block's size is a full disk too, which the preparer cannot see.
    fn judge_room(&mut self, now: Instant) {
        let is_held = !self.held.is_empty();
        self.retry_due = is_held.then(|| now + RETRY_AFTER);
        if self.log.has_spare() {
            let state = if is_held { DiskState::Full } else { DiskState::Ok };
            if is_held && self.handle.disk_state() == DiskState::Ok {
                warn!("no room for a block larger than a log segment; new writes are refused");
            }
            self.handle.set_disk_state(state);
        }
    }

    fn order_spare(&self) {
        if let Some(order) = self.log.spare_order() {
            self.yard.order(order);
        }
    }
}

/// Says that the writer is gone, however it went.
struct Closer<D: Disk> {
    handle: Handle,
    yard: Arc<Yard<D>>,
}

impl<D: Disk> Drop for Closer<D> {
    fn drop(&mut self) {
        self.handle.close();
        self.yard.close();
    }
}

/// What passes between the writer and the preparer.
#[derive(Debug)]
struct Yard<D: Disk> {
    state: Mutex<YardState<D>>,
    wake: Condvar,
}

#[derive(Debug)]
struct YardState<D: Disk> {
    /// Stays until the segment is ready.
    order: Option<SpareOrder>,
    ready: Option<Segment<D::File>>,
    /// Oldest first. Bounded by the segments there are.
    removals: VecDeque<Retired>,
    is_closed: bool,
}

impl<D: Disk> Default for YardState<D> {
    fn default() -> Self {
        Self { order: None, ready: None, removals: VecDeque::new(), is_closed: false }
    }
}

impl<D: Disk> Yard<D> {
    fn order(&self, order: SpareOrder) {
        let mut state = self.state.lock();
        if state.ready.is_none() && state.order.is_none() {
            state.order = Some(order);
            self.wake.notify_one();
        }
    }

    fn take_ready(&self) -> Option<Segment<D::File>> {
        self.state.lock().ready.take()
    }

    fn remove(&self, retired: Vec<Retired>) {
        if !retired.is_empty() {
            self.state.lock().removals.extend(retired);
            self.wake.notify_one();
        }
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
    }
}

/// Makes segments ready and removes old ones. May be run again after a panic: what it was to do is kept.
#[derive(Debug)]
pub struct Preparer<D: Disk> {
    disk: D,
    log_dir: std::path::PathBuf,
    handle: Handle,
    yard: Arc<Yard<D>>,
}

/// What the preparer does next.
enum Task {
    Remove(Retired),
    Prepare(SpareOrder),
    End,
}

/// Until when something that failed is left alone.
#[derive(Clone, Copy, Debug, Default)]
struct Pauses {
    removal: Option<Instant>,
    preparation: Option<Instant>,
}

impl<D: Disk> Preparer<D> {
    /// Runs until the writer ends.
    pub fn run(&self) {
        let mut pauses = Pauses::default();
        loop {
            match self.next_task(pauses) {
                Task::End => return,
                Task::Remove(retired) => match self.remove(&retired) {
                    // There is room now: no reason to wait any longer for the next segment.
                    Ok(()) => pauses = Pauses::default(),
                    Err(failure) => {
                        warn!(error = %failure, "an old log segment stays for now");
                        pauses.removal = Some(Instant::now() + RETRY_AFTER);
                    }
                },
                Task::Prepare(order) => match self.prepare(order) {
                    Ok(()) => pauses.preparation = None,
                    Err(failure) => {
                        self.report_no_room(&failure);
                        pauses.preparation = Some(Instant::now() + RETRY_AFTER);
                    }
                },
            }
        }
    }

    fn next_task(&self, pauses: Pauses) -> Task {
        let mut state = self.yard.state.lock();
        loop {
            if state.is_closed {
                return Task::End;
            }
            let now = Instant::now();
            let is_over = |pause: Option<Instant>| pause.is_none_or(|until| until <= now);
            if let Some(retired) = state.removals.front().filter(|_| is_over(pauses.removal)) {
                return Task::Remove(retired.clone());
            }
            if let Some(order) = state.order.as_ref().filter(|_| is_over(pauses.preparation)) {
                return Task::Prepare(order.clone());
            }
            let pending = [pauses.removal, pauses.preparation].into_iter().flatten();
            match pending.filter(|until| *until > now).min() {
                Some(until) => {
                    // Timed out or woken: the state is looked at again either way.
                    let _result = self.yard.wake.wait_until(&mut state, until);
                }
                None => self.yard.wake.wait(&mut state),
            }
        }
    }

    fn remove(&self, retired: &Retired) -> Result<(), WalError> {
        remove_retired(&self.disk, &self.log_dir, std::slice::from_ref(retired))?;
        self.yard.state.lock().removals.pop_front();
        info!(path = %retired.path.display(), bytes = retired.size_bytes, "log segment removed");
        Ok(())
    }

    fn prepare(&self, order: SpareOrder) -> Result<(), WalError> {
        let segment = Preparation::begin(&self.disk, order)?.finish(&self.disk)?;
        let mut state = self.yard.state.lock();
        state.order = None;
        state.ready = Some(segment);
        drop(state);
        if self.handle.disk_state() == DiskState::Full {
            info!("the disk under the log has room again");
            self.handle.set_disk_state(DiskState::Ok);
        }
        self.handle.poke();
        Ok(())
    }

    fn report_no_room(&self, failure: &WalError) {
        if self.handle.disk_state() == DiskState::Ok {
            self.handle.set_disk_state(DiskState::Full);
            warn!(error = %failure, "no room for the next log segment; new writes are refused");
        }
    }
}
