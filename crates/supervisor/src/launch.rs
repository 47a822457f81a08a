//! Starting one incarnation of a child, and holding on to it until it has really ended.
//! Owns: [`Live`], and how a task's, a thread's and a supervisor's end become one kind of value.
//! Never: the decision to start (see `actor`).

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::actor::{Actor, Environment};
use crate::context::Ready;
use crate::shutdown::{Shutdown, Urgency};
use crate::spec::{Child, ChildSpec};
use crate::tree::Cell;
use crate::{ChildContext, ChildError, Failure};

/// How an incarnation ended.
pub(crate) type Ended = Result<(), Failure>;

/// A running incarnation. Dropping it asks the child to stop, so that nothing runs on unasked when
/// the supervisor itself is lost with its runtime.
pub(crate) struct Live {
    id: Id,
    shutdown: Shutdown,
    ready: Ready,
    /// Only a task can be aborted.
    abort: Option<AbortHandle>,
}

impl Live {
    /// Starts the child; its end will come out of `running` under [`Live::id`].
    pub(crate) fn launch(
        spec: &ChildSpec,
        cell: &Arc<Cell>,
        surroundings: &Environment,
        bell: &Arc<Notify>,
        running: &mut JoinSet<Ended>,
    ) -> io::Result<Self> {
        let shutdown = Shutdown::new();
        let ready = Ready::new(bell.clone());
        let runtime = &surroundings.runtime;
        let context = ChildContext::new(
            cell.path.clone(),
            shutdown.clone(),
            ready.clone(),
            surroundings.supervisor.clone(),
        );
        let (abort, is_task) = match &spec.start {
            Child::Task(factory) => {
                let factory = factory.clone();
                // The factory runs inside the task, so that its panic is caught at the join too.
                let body = async move { factory(context).await.map_err(Failure::returned) };
                (running.spawn_on(body, runtime), true)
            }
            Child::Thread(body) => {
                let body = body.clone();
                (launch_thread(&spec.name, move || body(context), runtime, running)?, false)
            }
            Child::Supervisor(below) => {
                let actor =
                    Actor::new(below, cell, shutdown.clone(), ready.clone(), surroundings.clone());
                (running.spawn_on(actor.run(), runtime), false)
            }
        };
        Ok(Self { id: abort.id(), shutdown, ready, abort: is_task.then_some(abort) })
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.is_set()
    }

    /// Asks it to end; a task is aborted if it is to be killed.
    pub(crate) fn stop(&self, urgency: Urgency) {
        self.shutdown.raise(urgency);
        if let (Urgency::Kill, Some(abort)) = (urgency, &self.abort) {
            abort.abort();
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shutdown.raise(Urgency::Orderly);
    }
}

/// Whose end a join tells of, and how it ended.
pub(crate) fn exit_of(joined: Result<(Id, Ended), JoinError>) -> (Id, Ended) {
    joined.unwrap_or_else(|error| {
        let id = error.id();
        let failure = match error.try_into_panic() {
            Ok(payload) => Failure::panicked(payload.as_ref()),
            Err(_) => Failure::Killed,
        };
        (id, Err(failure))
    })
}

/// Starts the thread and a task that waits for it, so that threads end like tasks.
fn launch_thread(
    name: &str,
    body: impl FnOnce() -> Result<(), ChildError> + Send + 'static,
    runtime: &Handle,
    running: &mut JoinSet<Ended>,
) -> io::Result<AbortHandle> {
    let (is_leaving, left) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Dropped last, also when the body panics: this tells the waiting task to join.
        let _is_leaving = is_leaving;
        body()
    })?;
    let wait = async move {
        // Always an error: nothing is ever sent, the sender is dropped.
        let _always_dropped = left.await;
        // Blocks only while the thread runs its last destructors: its body is over.
        match thread.join() {
            Ok(returned) => returned.map_err(Failure::returned),
            Err(payload) => Err(Failure::panicked(payload.as_ref())),
        }
    };
    Ok(running.spawn_on(wait, runtime))
}
