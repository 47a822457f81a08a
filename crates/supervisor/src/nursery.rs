//! Many short-lived tasks on one thread, such as client connections: cheap, counted, never alone.
//! Owns: [`Nursery`]. Never: restarts; what fails here is reported and gone.
//! A nursery belongs to the child that made it and ends with it: dropped, it aborts what is left.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::failure::panic_message;

/// Tasks on the current thread. Not shared between threads; lives inside a
/// [`LocalSet`](tokio::task::LocalSet).
pub struct Nursery {
    name: Arc<str>,
    tasks_max: usize,
    tasks: RefCell<JoinSet<()>>,
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Counts {
    running: Cell<usize>,
    panicked: Cell<u64>,
    is_closed: Cell<bool>,
}

/// What became of the tasks of a drained nursery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// They ended before the deadline.
    pub ended: usize,
    /// They did not, and were aborted.
    pub aborted: usize,
}

/// Why a task was not started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NurseryError {
    /// As many run as may.
    #[error("{name} already runs {max} tasks, its bound; close some or raise it")]
    Full {
        /// The nursery.
        name: Arc<str>,
        /// The bound.
        max: usize,
    },
    /// It is being drained.
    #[error("{name} is closing and takes no more tasks")]
    Closed {
        /// The nursery.
        name: Arc<str>,
    },
}

impl Nursery {
    /// An empty nursery for at most `tasks_max` tasks at a time. The name stands in reports.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, tasks_max: usize) -> Self {
        Self {
            name: name.into(),
            tasks_max,
            tasks: RefCell::new(JoinSet::new()),
            counts: Rc::default(),
        }
    }

    /// Starts the task. If it panics, that is logged and counted, and nothing else happens.
    ///
    /// # Errors
    /// [`NurseryError::Full`] at the bound, [`NurseryError::Closed`] once draining has begun; the
    /// task was dropped without having run.
    ///
    /// # Panics
    /// If called outside a [`LocalSet`](tokio::task::LocalSet).
    pub fn spawn_local(
        &self,
        task: impl Future<Output = ()> + 'static,
    ) -> Result<(), NurseryError> {
        let (name, counts) = (self.name.clone(), self.counts.clone());
        if counts.is_closed.get() {
            return Err(NurseryError::Closed { name });
        }
        if counts.running.get() >= self.tasks_max {
            return Err(NurseryError::Full { name, max: self.tasks_max });
        }
        let counted = Counted::new(counts);
        let mut tasks = self.tasks.borrow_mut();
        tasks.spawn_local(async move {
            // Moved in here, so that the count falls when the task ends, panics or is aborted.
            let counted = counted;
            if let Err(message) = caught(task).await {
                counted.0.panicked.set(counted.0.panicked.get() + 1);
                tracing::error!(nursery = %name, panic = %message, "task panicked");
            }
        });
        // An ended task keeps its memory until it is reaped; each arrival clears away the dead.
        while tasks.try_join_next().is_some() {}
        Ok(())
    }

    /// Tasks running now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.counts.running.get()
    }

    /// Tasks that panicked since the nursery was made.
    #[must_use]
    pub fn panicked(&self) -> u64 {
        self.counts.panicked.get()
    }

    /// Takes no more tasks, waits for those that run, and aborts what is left at `deadline`. Does
    /// not ask them to end: they watch the [`Shutdown`](crate::Shutdown) of the child they belong
    /// to. If the future is dropped, what is left is aborted.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        self.counts.is_closed.set(true);
        let begun_with = self.count();
        let mut tasks = self.tasks.take();
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, all).await.is_err() {
            let aborted = self.count();
            tasks.shutdown().await;
            return Drained { ended: begun_with.saturating_sub(aborted), aborted };
        }
        Drained { ended: begun_with, aborted: 0 }
    }
}

impl fmt::Debug for Nursery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nursery").field("name", &self.name).field("count", &self.count()).finish()
    }
}

/// Counts one task for as long as it exists.
struct Counted(Rc<Counts>);

impl Counted {
    fn new(counts: Rc<Counts>) -> Self {
        counts.running.set(counts.running.get() + 1);
        Self(counts)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

/// Runs the future; a panic becomes its message. Caught here rather than at the join, because joins
/// of a nursery may come much later.
async fn caught(task: impl Future<Output = ()>) -> Result<(), String> {
    let mut task = pin!(task);
    poll_fn(|context| {
        // A future that panicked is never polled again, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Err(payload) => Poll::Ready(Err(panic_message(payload.as_ref()).to_owned())),
        }
    })
    .await
}
