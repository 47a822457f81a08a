//! What passes between the workers and the log's thread.
//! Owns: [`Handle`], [`Submission`], the bounded queue between them, the disk's state as workers see it.
//! Never: I/O of its own (see `desk`), or waiting in a worker: a submission that finds no room is handed back.
//!
//! The queue holds at most [`QUEUE_SUBMISSIONS_MAX`] submissions and [`QUEUE_BYTES_MAX`] bytes; past that it refuses.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use keystead_types::{LogIndex, ShardId, limits};
use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::log::LogStats;

/// Submissions that may wait. A worker has one or two on their way, so this is never the bound that counts
/// unless somebody does not wait for completions.
const QUEUE_SUBMISSIONS_MAX: usize = 4096;
/// Bytes that may wait; one submission is always taken. Twice the largest entry, so that two shards can have one.
const QUEUE_BYTES_MAX: usize = 2 * limits::ENTRY_BYTES_MAX;

/// A batch on its way to the log.
pub struct Submission {
    /// What to append.
    pub batch: Batch,
    /// True if the completion must wait until it is durable.
    pub must_sync: bool,
    /// Given back with the completion.
    pub token: u64,
    /// Who is told.
    pub done: Arc<dyn Completion>,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("bytes", &self.batch.bytes())
            .field("must_sync", &self.must_sync)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl AsMut<Batch> for Submission {
    fn as_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }
}

/// Whoever wants to hear that a submission was written.
pub trait Completion: Send + Sync {
    /// Called on the log's thread, in the order of submission; must not block. Not called for what
    /// [`Handle::write_now`] wrote itself. A submission that is never completed (the log failed, or was closed) may
    /// or may not be in the log.
    fn written(&self, written: Written);

    /// Called on the log's thread when it has told all that it had to tell, once for whoever was told something.
    /// `is_log_idle` says that nothing waits for the log: then whoever hears it may use its thread for a moment.
    fn settled(&self, _is_log_idle: bool) {}
}

impl<F: Fn(Written) + Send + Sync> Completion for F {
    fn written(&self, written: Written) {
        self(written);
    }
}

/// A submission that was appended.
#[derive(Debug)]
pub struct Written {
    /// As submitted.
    pub token: u64,
    /// Empty, for the next submission.
    pub batch: Batch,
    /// True if it is durable; always, if it was submitted with `must_sync`.
    pub is_durable: bool,
}

/// A submission that was not taken, whole.
#[derive(Debug)]
pub struct Refused {
    /// As submitted.
    pub submission: Submission,
    /// Why.
    pub reason: Refusal,
}

/// Why a submission was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too much is waiting already: try again after a completion.
    QueueFull,
    /// The log failed or was closed.
    Closed,
}

/// Whether the log will have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskState {
    /// The next segment is ready or will be.
    Ok,
    /// There is no room for another segment, or none can be made for another reason (the log says which):
    /// refuse new writes. What is on its way still has the rest of the current segment; after that it waits,
    /// unacknowledged. Making a segment is tried again each second, so this ends by itself.
    Full,
}

/// The workers' end of the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// The log, for a submitter who writes for himself.
pub(crate) trait Direct: fmt::Debug + Send + Sync {
    /// Appends the submission if nobody has the log, it has room, and `is_next`, asked while the log is taken, says
    /// that nothing is before it. Never waits and never syncs.
    fn append(&self, submission: Submission, is_next: &dyn Fn() -> bool) -> Attempt;
}

/// What became of an attempt to append.
pub(crate) enum Attempt {
    Written(Written, WriterNeed),
    /// The write failed: the writer must be told, and ends.
    Failed,
    /// It must go through the queue.
    NotNow(Submission),
}

/// Whether the writer must look up after somebody else wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriterNeed {
    Nothing,
    /// It must sync earlier than it knows of.
    NewDeadline,
}

#[derive(Debug)]
struct Shared {
    log: Arc<dyn Direct>,
    queue: Mutex<Queue>,
    wake: Condvar,
    is_full: AtomicBool,
    stats: Mutex<LogStats>,
}

#[derive(Debug, Default)]
struct Queue {
    submissions: VecDeque<Submission>,
    bytes: usize,
    first_needed: BTreeMap<ShardId, LogIndex>,
    is_sync_wanted: bool,
    is_poked: bool,
    /// The writer took submissions and has not written them yet.
    is_in_hand: bool,
    is_closing: bool,
    is_closed: bool,
}

/// What the writer takes out of the queue at once.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) submissions: VecDeque<Submission>,
    pub(crate) first_needed: BTreeMap<ShardId, LogIndex>,
    pub(crate) is_sync_wanted: bool,
    pub(crate) is_closing: bool,
}

impl Handle {
    pub(crate) fn new(log: Arc<dyn Direct>) -> Self {
        let shared = Shared {
            log,
            queue: Mutex::default(),
            wake: Condvar::new(),
            is_full: AtomicBool::new(false),
            stats: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Queues a batch. Never blocks.
    ///
    /// # Errors
    /// [`Refused`] with the submission in it; nothing of it was or will be written.
    pub fn submit(&self, submission: Submission) -> Result<(), Box<Refused>> {
        let mut queue = self.shared.queue.lock();
        let bytes = submission.batch.bytes();
        let reason = if queue.is_closing || queue.is_closed {
            Refusal::Closed
        } else if queue.submissions.len() >= QUEUE_SUBMISSIONS_MAX
            || (queue.bytes > 0 && queue.bytes + bytes > QUEUE_BYTES_MAX)
        {
            Refusal::QueueFull
        } else {
            queue.bytes += bytes;
            queue.submissions.push_back(submission);
            drop(queue);
            self.shared.wake.notify_one();
            return Ok(());
        };
        Err(Box::new(Refused { submission, reason }))
    }

    /// Appends a batch that need not be durable on the caller's thread, if nothing is before it and the log is free
    /// and has room; otherwise queues it, as [`Handle::submit`]. A copy into the page cache at most: never waits for
    /// another thread, never syncs.
    ///
    /// `Some` if it is written, with everything submitted before it: its completion is then not called. `None` if
    /// it was queued, or if the write failed, which ends the writer and is never completed.
    ///
    /// # Errors
    /// [`Refused`] with the submission in it; nothing of it was or will be written.
    pub fn write_now(&self, submission: Submission) -> Result<Option<Written>, Box<Refused>> {
        if submission.must_sync {
            return self.submit(submission).map(|()| None);
        }
        match self.shared.log.append(submission, &|| self.is_idle()) {
            Attempt::NotNow(submission) => self.submit(submission).map(|()| None),
            Attempt::Failed => {
                self.poke();
                Ok(None)
            }
            Attempt::Written(written, need) => {
                if need == WriterNeed::NewDeadline {
                    self.poke();
                }
                Ok(Some(written))
            }
        }
    }

    /// True if all that was submitted so far is written, and more may be.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.shared.queue.lock();
        queue.submissions.is_empty() && !queue.is_in_hand && !queue.is_closing && !queue.is_closed
    }

    /// Says which entries are still needed; see [`Log::purge`](crate::Log::purge). Later calls win, per group.
    pub fn purge(&self, first_needed: BTreeMap<ShardId, LogIndex>) {
        self.shared.queue.lock().first_needed.extend(first_needed);
        self.shared.wake.notify_one();
    }

    /// Asks that everything submitted so far is made durable soon, without telling anybody.
    pub fn sync_soon(&self) {
        self.shared.queue.lock().is_sync_wanted = true;
        self.shared.wake.notify_one();
    }

    /// Whether the log will have room: one atomic load.
    #[must_use]
    pub fn disk_state(&self) -> DiskState {
        // ORDER: a hint; nothing else is published with it.
        if self.shared.is_full.load(Ordering::Relaxed) { DiskState::Full } else { DiskState::Ok }
    }

    /// The log in numbers, as of the writer's last round; what [`Handle::write_now`] wrote itself shows with the
    /// next sync.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        *self.shared.stats.lock()
    }

    /// Takes no more submissions; the writer finishes those it has, closes the log in order and ends.
    pub fn shutdown(&self) {
        self.shared.queue.lock().is_closing = true;
        self.shared.wake.notify_all();
    }

    /// True once the writer has ended, in order or not.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.queue.lock().is_closed
    }

    /// Waits until there is something to do, `until` has come or the log is to be closed, and takes it all. While the
    /// writer is stalled submissions are left where they are, and neither they nor the close count as something to do:
    /// the segment that it waits for does.
    pub(crate) fn wait(&self, until: Option<Instant>, stall: Stall) -> Work {
        let mut queue = self.shared.queue.lock();
        let has_work = |queue: &Queue| {
            (queue.is_closing && stall == Stall::No)
                || queue.is_poked
                || queue.is_sync_wanted
                || !queue.first_needed.is_empty()
                || (stall == Stall::No && !queue.submissions.is_empty())
        };
        while !has_work(&queue) {
            match until {
                Some(until) => {
                    if self.shared.wake.wait_until(&mut queue, until).timed_out() {
                        break;
                    }
                }
                None => self.shared.wake.wait(&mut queue),
            }
        }
        queue.is_poked = false;
        let mut work = Work {
            submissions: VecDeque::new(),
            first_needed: std::mem::take(&mut queue.first_needed),
            is_sync_wanted: std::mem::take(&mut queue.is_sync_wanted),
            is_closing: queue.is_closing,
        };
        if stall == Stall::No {
            work.submissions = std::mem::take(&mut queue.submissions);
            queue.bytes = 0;
            queue.is_in_hand = !work.submissions.is_empty();
        }
        work
    }

    /// What the writer took is written (or held, which it says itself).
    pub(crate) fn empty_hands(&self) {
        self.shared.queue.lock().is_in_hand = false;
    }

    /// Wakes the writer without anything to append.
    pub(crate) fn poke(&self) {
        self.shared.queue.lock().is_poked = true;
        self.shared.wake.notify_one();
    }

    pub(crate) fn set_disk_state(&self, state: DiskState) {
        self.shared.is_full.store(state == DiskState::Full, Ordering::Relaxed);
    }

    pub(crate) fn set_stats(&self, stats: LogStats) {
        *self.shared.stats.lock() = stats;
    }

    /// The writer is gone: what still waits is never written.
    pub(crate) fn close(&self) {
        let mut queue = self.shared.queue.lock();
        queue.is_closed = true;
        let dropped = std::mem::take(&mut queue.submissions);
        drop(queue);
        drop(dropped);
    }
}

/// Whether the writer can take submissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    No,
    /// It waits for a segment and still holds what it took before.
    Yes,
}
