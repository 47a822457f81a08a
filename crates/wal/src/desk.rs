//! Where the log lies: whoever has the lock may append.
//!
//! Owns: [`Desk`] (the log and what the writer remembers from round to round) and the two ways to it, the writer's
//! [`Desk::take_up`] and a submitter's [`Direct::append`]. Never: waits for the lock in a submitter's thread, syncs
//! there, or opens the next segment there: all three can take as long as a disk likes.
//!
//! A submission that need not be durable costs a copy into the page cache. To hand it to another thread and to be
//! woken when it is done costs several times that, so a submitter who finds the log free writes for himself.
//!
//! INV-WAL10: the records of one submitter are written in the order of submission, whoever writes them: a submitter
//! writes only while nothing is queued, in the writer's hands or held. What is reported as written therefore has
//! everything before it written too, and synced where that was asked for.
//! INV-WAL11: a change of the log that did not come to its end, by an error or a panic, is the last one, and ends the
//! writer.

use std::time::Instant;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::disk::Disk;
use crate::error::WalError;
use crate::inbox::{Attempt, Direct, Submission, WriterNeed, Written};
use crate::log::Log;
use crate::writer::WriterOptions;

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk<D: Disk> {
    /// `None` once the writer has ended: handles live longer, and the directory's lock goes with the log.
    state: Mutex<Option<DeskState<D>>>,
}

/// The log and what is remembered about it between two writes.
#[derive(Debug)]
pub(crate) struct DeskState<D: Disk> {
    pub(crate) log: Log<D>,
    pub(crate) options: WriterOptions,
    /// Taken from the queue and not written: they wait for a segment.
    pub(crate) held: Vec<Submission>,
    /// When what is written must be synced although nobody asked.
    pub(crate) sync_due: Option<Instant>,
    pub(crate) mark_due: Option<Instant>,
    /// When to try again what is held.
    pub(crate) retry_due: Option<Instant>,
    /// Segments can only be let go when nothing waits for a sync.
    pub(crate) is_purge_wanted: bool,
    /// INV-WAL11: true while the log is being changed, and for ever if that did not come to its end.
    is_in_change: bool,
    /// What a submitter met; the writer ends with it.
    failure: Option<WalError>,
}

impl<D: Disk> Desk<D> {
    pub(crate) fn new(log: Log<D>, options: WriterOptions) -> Self {
        let state = DeskState {
            log,
            options,
            held: Vec::new(),
            sync_due: None,
            mark_due: None,
            retry_due: None,
            is_purge_wanted: false,
            is_in_change: false,
            failure: None,
        };
        Self { state: Mutex::new(Some(state)) }
    }

    /// The writer's way: waits for a submitter who is writing.
    pub(crate) fn take_up(&self) -> MappedMutexGuard<'_, DeskState<D>> {
        MutexGuard::map(self.state.lock(), |state| {
            state.as_mut().expect("only the end of the writer clears the desk")
        })
    }

    /// Takes the log away: nobody appends any more.
    pub(crate) fn clear(&self) -> Option<DeskState<D>> {
        self.state.lock().take()
    }
}

impl<D: Disk> DeskState<D> {
    /// Changes the log.
    ///
    /// # Errors
    /// That of `work`, or of an earlier change (INV-WAL11).
    pub(crate) fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, WalError>,
    ) -> Result<T, WalError> {
        if self.is_in_change {
            return Err(self.failure.take().unwrap_or(WalError::Poisoned));
        }
        self.is_in_change = true;
        let outcome = work(self)?;
        self.is_in_change = false;
        Ok(outcome)
    }

    /// The next segment is the writer's business: to rename and to sync a directory can take long.
    fn has_room_for(&self, submission: &Submission) -> bool {
        !self.is_in_change && self.held.is_empty() && self.log.fits(&submission.batch)
    }

    /// Appends what has room. The caller's thread never syncs.
    fn append(&mut self, mut submission: Submission) -> Attempt {
        if let Err(failure) = self.change(|state| {
            state.log.append_all(std::slice::from_mut(&mut submission)).map(|_written| ())
        }) {
            self.failure = Some(failure);
            return Attempt::Failed;
        }
        let need = if self.sync_due.is_none() {
            self.sync_due = Some(Instant::now() + self.options.background_sync);
            WriterNeed::NewDeadline
        } else {
            WriterNeed::Nothing
        };
        let Submission { batch, token, .. } = submission;
        Attempt::Written(Written { token, batch, is_durable: false }, need)
    }
}

impl<D: Disk> Direct for Desk<D> {
    fn append(&self, submission: Submission, is_next: &dyn Fn() -> bool) -> Attempt {
        let Some(mut guard) = self.state.try_lock() else {
            return Attempt::NotNow(submission);
        };
        match guard.as_mut() {
            // ORDER: INV-WAL10, the queue is looked at under the log's lock: what the writer takes from it after
            // that is written after this.
            Some(state) if state.has_room_for(&submission) && is_next() => state.append(submission),
            _ => Attempt::NotNow(submission),
        }
    }
}
