//! The log behind threads: everything that is queued becomes one write and at most one fsync.
//! Owns: [`Writer`] (the only thread that syncs), [`Preparer`] (makes the next segment ready and shelves old ones, so
//! that neither holds up an append), the waiting. Never: starting threads (a supervisor runs the two bodies), retrying
//! a write or an fsync, formats.
//!
//! ```text
//!   workers --Handle::submit--> queue --> Writer: append all, fsync once, complete all, in order
//!      |                                     |  order for the next segment, old segments
//!      |                                     v
//!      |                                  Preparer: zeros, fsync, rename; removals
//!      +--Handle::write_now--> the log, if nobody has it and nothing waits (see `desk`)
//! ```
//! While an fsync runs the queue fills; that is the whole of group commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::{error, info, warn};

use crate::desk::{Desk, DeskState};
use crate::disk::Disk;
use crate::error::WalError;
use crate::inbox::{Completion, Direct, DiskState, Handle, Stall, Submission, Work, Written};
use crate::ledger::Retired;
use crate::log::Log;
use crate::segment::{Preparation, Segment, SpareOrder};
use crate::shelf::Shelf;

/// How long a disk without room (or a file that cannot be removed) is left alone before the next try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a log that is being closed waits for the segment that what it was given needs.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

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
    desk: Arc<Desk<D>>,
    handle: Handle,
    yard: Arc<Yard<D>>,
}

/// When the writer comes back, and for what.
struct Pause {
    until: Option<Instant>,
    stall: Stall,
}

impl<D: Disk> Writer<D> {
    /// The two thread bodies for `log`, and the handle that workers clone.
    #[must_use]
    pub fn new(log: Log<D>, options: WriterOptions) -> (Self, Preparer<D>, Handle) {
        let stats = log.stats();
        let (disk, shelf) = (log.disk().clone(), log.shelf());
        let desk = Arc::new(Desk::new(log, options));
        let handle = Handle::new(Arc::clone(&desk) as Arc<dyn Direct>);
        handle.set_stats(stats);
        let yard = Arc::new(Yard { state: Mutex::default(), wake: Condvar::new() });
        let preparer = Preparer { disk, shelf, handle: handle.clone(), yard: Arc::clone(&yard) };
        (Self { desk, handle: handle.clone(), yard }, preparer, handle)
    }

    /// Runs until [`Handle::shutdown`], then closes the log in order. Needs [`Preparer::run`] beside it.
    ///
    /// # Errors
    /// A write or an fsync failed. `on_fatal` has been told, before anybody could be told anything else; the
    /// process must end. What was submitted and not completed may or may not be in the log.
    pub fn run(self, on_fatal: impl FnOnce(&WalError)) -> Result<(), WalError> {
        // Also on a panic: workers must see that nothing they submit will be written.
        let _closer = Closer {
            handle: self.handle.clone(),
            yard: Arc::clone(&self.yard),
            desk: Arc::clone(&self.desk),
        };
        let outcome = self.serve().and_then(|()| self.close());
        if let Err(failure) = &outcome {
            error!(error = %failure, "the log failed");
            on_fatal(failure);
        }
        outcome
    }

    fn serve(&self) -> Result<(), WalError> {
        let mut pause = {
            let mut desk = self.desk.take_up();
            desk.plan(Instant::now(), 0)?;
            self.pause(&desk)
        };
        let mut patience_ends = None;
        loop {
            let work = self.handle.wait(pause.until, pause.stall);
            let is_closing = work.is_closing;
            let written;
            (written, pause) = self.round(work)?;
            // ORDER: before the completions: who hears one and has more finds the log free. What was taken is
            // written by now, and synced if it was asked for (INV-WAL10).
            self.handle.empty_hands();
            self.tell(written);
            if is_closing {
                let patience_ends =
                    *patience_ends.get_or_insert_with(|| Instant::now() + CLOSE_PATIENCE);
                if Instant::now() >= patience_ends || !self.can_still_write() {
                    return Ok(());
                }
            }
        }
    }

    /// True if something that was taken waits for a segment, and one is being made.
    fn can_still_write(&self) -> bool {
        !self.desk.take_up().held.is_empty() && self.handle.disk_state() == DiskState::Ok
    }

    fn tell(&self, written: Vec<Done>) {
        let mut told: Vec<Arc<dyn Completion>> = Vec::new();
        for (done, written) in written {
            done.written(written);
            if !told.iter().any(|other| Arc::ptr_eq(other, &done)) {
                told.push(done);
            }
        }
        for done in told {
            done.settled(self.handle.is_idle());
        }
    }

    /// One write, at most one fsync; returns all completions.
    fn round(&self, work: Work) -> Result<(Vec<Done>, Pause), WalError> {
        let mut desk = self.desk.take_up();
        if let Some(spare) = self.yard.take_ready() {
            desk.log.install_spare(spare);
        }
        let written = desk.change(|desk| self.write(desk, work))?;
        self.judge_room(&mut desk);
        self.handle.set_stats(desk.log.stats());
        Ok((written, self.pause(&desk)))
    }

    fn write(&self, desk: &mut DeskState<D>, work: Work) -> Result<Vec<Done>, WalError> {
        let Work { submissions, first_needed, is_sync_wanted, .. } = work;
        desk.held.extend(submissions);
        let written = desk.log.append_all(&mut desk.held)?;
        let now = Instant::now();
        let is_due = desk.sync_due.is_some_and(|due| due <= now);
        let must_sync = desk.held[..written].iter().any(|submission| submission.must_sync);
        if must_sync || is_due || is_sync_wanted {
            desk.log.sync()?;
        }
        let is_durable = !desk.log.has_unsynced();
        let completed = desk.held.drain(..written).map(|submission| {
            let Submission { batch, token, done, .. } = submission;
            (done, Written { token, batch, is_durable })
        });
        let completed = completed.collect();
        desk.is_purge_wanted |= !first_needed.is_empty();
        if desk.is_purge_wanted {
            self.yard.remove(desk.log.retire(&first_needed));
            desk.is_purge_wanted = desk.log.has_unsynced();
        }
        desk.plan(now, written)?;
        Ok(completed)
    }

    /// A spare that is there but cannot grow to a block's size is a full disk too, which the preparer cannot see.
    fn judge_room(&self, desk: &mut DeskState<D>) {
        let is_held = !desk.held.is_empty();
        desk.retry_due = is_held.then(|| Instant::now() + RETRY_AFTER);
        if desk.log.has_spare() {
            let state = if is_held { DiskState::Full } else { DiskState::Ok };
            if is_held && self.handle.disk_state() == DiskState::Ok {
                warn!("no room for a block larger than a log segment; new writes are refused");
            }
            self.handle.set_disk_state(state);
        }
    }

    fn pause(&self, desk: &DeskState<D>) -> Pause {
        if let Some(order) = desk.log.spare_order() {
            self.yard.order(order);
        }
        Pause {
            until: [desk.sync_due, desk.mark_due, desk.retry_due].into_iter().flatten().min(),
            stall: if desk.held.is_empty() { Stall::No } else { Stall::Yes },
        }
    }

    fn close(&self) -> Result<(), WalError> {
        let mut desk = self.desk.clear().expect("only the end of the writer clears the desk");
        // A submitter may have met a failure since the last round.
        desk.change(|_| Ok(()))?;
        desk.log.close()
    }
}

/// Who is told what, once the log is out of the writer's hands.
type Done = (Arc<dyn Completion>, Written);

impl<D: Disk> DeskState<D> {
    /// Decides when the writer comes back although nobody asks.
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
}

/// Says that the writer is gone, however it went.
struct Closer<D: Disk> {
    handle: Handle,
    yard: Arc<Yard<D>>,
    desk: Arc<Desk<D>>,
}

impl<D: Disk> Drop for Closer<D> {
    fn drop(&mut self) {
        self.handle.close();
        drop(self.desk.clear());
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

/// Makes segments ready and takes old ones out of the log. May be run again after a panic: what it was to do is kept.
#[derive(Debug)]
pub struct Preparer<D: Disk> {
    disk: D,
    shelf: Shelf,
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
        self.shelf.let_go(&self.disk, std::slice::from_ref(retired))?;
        self.yard.state.lock().removals.pop_front();
        info!(path = %retired.path.display(), bytes = retired.size_bytes, "log segment let go");
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
