//! How a worker's records reach the node's log: by the worker's own thread as long as that is quick.
//!
//! Owns: the choice between the two ways, and the order of what could not be handed over yet. Never: syncs, waits.
//!
//! A record that need not be synced is a copy into the page cache, which costs less than waking the log's thread
//! (see `keystead_wal`'s `desk`). But a kernel that has too many dirty pages makes whoever writes wait for the disk,
//! and while a worker waits it sends no heartbeat. So after a slow append the log's thread does the waiting for a while.

use std::collections::VecDeque;
use std::time::Duration;

use keystead_types::{Clock, Monotonic};
use keystead_wal::{Handle, Submission, Written};

/// An append that takes longer waited for something: a copy takes microseconds. Less than a tick.
const SLOW_APPEND: Duration = Duration::from_millis(10);
/// For so long the log's own thread does the waiting.
const HAND_OVER_FOR: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Appender {
    log: Handle,
    /// What the log had no room for, oldest first.
    backlog: VecDeque<Submission>,
    /// Until then everything goes to the log's thread.
    hand_over_until: Monotonic,
}

impl Appender {
    pub(crate) const fn new(log: Handle) -> Self {
        Self { log, backlog: VecDeque::new(), hand_over_until: Monotonic(0) }
    }

    pub(crate) const fn log(&self) -> &Handle {
        &self.log
    }

    /// Takes a submission after all that were taken before. What is returned is written already; of everything else
    /// the log tells when it is (INV-WAL10).
    pub(crate) fn append(
        &mut self,
        submission: Option<Submission>,
        clock: &dyn Clock,
    ) -> Option<Written> {
        self.backlog.extend(submission);
        let mut last = None;
        while let Some(submission) = self.backlog.pop_front() {
            match self.write(submission, clock) {
                Ok(Some(written)) => last = Some(written),
                Ok(None) => {}
                Err(refused) => {
                    self.backlog.push_front(refused.submission);
                    break;
                }
            }
        }
        last
    }

    fn write(
        &mut self,
        submission: Submission,
        clock: &dyn Clock,
    ) -> Result<Option<Written>, Box<keystead_wal::Refused>> {
        if submission.must_sync {
            return self.log.submit(submission).map(|()| None);
        }
        let begun = clock.monotonic_now();
        if begun < self.hand_over_until {
            return self.log.submit(submission).map(|()| None);
        }
        let outcome = self.log.write_now(submission);
        let ended = clock.monotonic_now();
        if ended.since(begun) > SLOW_APPEND {
            self.hand_over_until = ended.after(HAND_OVER_FOR);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use keystead_types::{LogIndex, NodeId, ShardId, UnixMillis};
    use keystead_wal::{Batch, Completion, Log, LogOptions, MemoryDisk, Writer, WriterOptions};

    use super::*;

    /// A clock that goes on by a step whenever it is read.
    struct Stepping {
        now_ms: AtomicU64,
        step_ms: AtomicU64,
    }

    impl Clock for Stepping {
        fn monotonic_now(&self) -> Monotonic {
            let step = self.step_ms.load(Ordering::Relaxed);
            Monotonic(self.now_ms.fetch_add(step, Ordering::Relaxed) * 1_000_000)
        }

        fn unix_now(&self) -> UnixMillis {
            UnixMillis(0)
        }
    }

    struct Nobody;

    impl Completion for Nobody {
        fn written(&self, _written: Written) {}
    }

    fn submission(index: u64) -> Submission {
        let mut batch = Batch::new();
        batch.push_entry(ShardId(1), LogIndex(index), b"entry");
        Submission { batch, must_sync: false, token: index, done: Arc::new(Nobody) }
    }

    #[test]
    fn after_a_slow_append_the_logs_own_thread_waits_for_the_disk() {
        let disk = MemoryDisk::new(1 << 20);
        let options = LogOptions {
            segment_bytes: 64 * 1024,
            reserve_bytes: 0,
            ..LogOptions::new(NodeId(1), 1)
        };
        let (log, _) = Log::open(disk, Path::new("/node"), options).unwrap();
        let (_writer, _preparer, handle) = Writer::new(log, WriterOptions::default());
        let clock = Stepping { now_ms: AtomicU64::new(5_000), step_ms: AtomicU64::new(1) };
        let mut appender = Appender::new(handle);
        assert!(appender.append(Some(submission(1)), &clock).is_some(), "quick: written here");
        clock.step_ms.store(50, Ordering::Relaxed);
        assert!(appender.append(Some(submission(2)), &clock).is_some(), "this one was slow");
        clock.step_ms.store(1, Ordering::Relaxed);
        assert!(appender.append(Some(submission(3)), &clock).is_none(), "handed over");
        clock.now_ms.fetch_add(2_000, Ordering::Relaxed);
        // The log's thread does not run here: what was handed to it comes first.
        assert!(appender.append(Some(submission(4)), &clock).is_none(), "in order (INV-WAL10)");
    }
}
