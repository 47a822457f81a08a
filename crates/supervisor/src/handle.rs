//! The outside of a tree: starting it, looking at it, giving orders to it, stopping it.
//! Owns: [`Supervisor`], [`SupervisorHandle`], how an order finds the supervisor it is for.
//! Never: carrying an order out (see `actor`).

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::actor::{Actor, Environment};
use crate::context::Ready;
use crate::shutdown::Urgency;
use crate::spec::{ChildSpec, SpecError, SupervisorSpec};
use crate::tree::{Branch, Cell, ChildKind, ChildPath, ChildState, Tree};
use crate::{ExitReason, Failure, Faults, Shutdown};

/// Starts trees.
#[derive(Debug)]
pub struct Supervisor;

impl Supervisor {
    /// Starts the tree on `runtime` and returns at once; children start one after the other.
    /// Faults are disabled.
    ///
    /// ```
    /// use keystead_supervisor::{ChildSpec, ExitReason, Strategy, Supervisor, SupervisorSpec};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let spec = SupervisorSpec::new("root", Strategy::RestForOne)
    ///     .child(ChildSpec::task("greeter", |context| async move {
    ///         context.shutdown().await;
    ///         Ok(())
    ///     }));
    /// let handle = Supervisor::start(spec, &tokio::runtime::Handle::current())?;
    /// assert!(handle.tree().to_string().contains("greeter"));
    /// assert!(matches!(handle.stop().await, ExitReason::Stopped));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SpecError`] if a name cannot be part of a path or is used twice; nothing was started.
    pub fn start(spec: SupervisorSpec, runtime: &Handle) -> Result<SupervisorHandle, SpecError> {
        Self::start_with_faults(spec, runtime, Faults::disabled())
    }

    /// As [`start`](Self::start), with faults that a test may arm.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_faults(
        spec: SupervisorSpec,
        runtime: &Handle,
        faults: Faults,
    ) -> Result<SupervisorHandle, SpecError> {
        spec.check()?;
        let path = ChildPath::new(spec.name.clone());
        let cell = Cell::new(path, ChildKind::Supervisor);
        let (exit_sender, exit) = watch::channel(None);
        let shutdown = Shutdown::new();
        let handle =
            SupervisorHandle { root: cell.clone(), shutdown: shutdown.clone(), exit, faults };
        let environment = Environment { runtime: runtime.clone(), supervisor: handle.clone() };
        let ready = Ready::new(Arc::new(Notify::new()));
        let actor = Actor::new(&spec, &cell, shutdown, ready, environment);
        cell.change(|shown| {
            shown.state = ChildState::Running;
            shown.started_at = Some(tokio::time::Instant::now());
        });
        runtime.spawn(async move {
            let outcome = actor.run().await;
            let (state, reason) = match outcome {
                Ok(()) => (ChildState::Stopped, ExitReason::Stopped),
                Err(failure) => {
                    tracing::error!(tree = %cell.path, error = %failure, "supervision tree failed");
                    (ChildState::Down { reason: failure.clone() }, ExitReason::Failed(failure))
                }
            };
            cell.change(|shown| shown.state = state);
            exit_sender.send_replace(Some(reason));
        });
        Ok(handle)
    }
}

/// A running tree. Clones are the same tree; dropping them all leaves it running, until its
/// runtime ends.
#[derive(Clone)]
pub struct SupervisorHandle {
    root: Arc<Cell>,
    shutdown: Shutdown,
    exit: watch::Receiver<Option<ExitReason>>,
    faults: Faults,
}

impl SupervisorHandle {
    /// Asks the tree to stop: children end in reverse start order, each within its grace.
    pub fn request_stop(&self) {
        self.shutdown.request();
    }

    /// Asks the tree to stop and waits until everything has ended. Takes at most the sum of the
    /// children's graces. Cancel safe: the tree stops all the same.
    pub async fn stop(&self) -> ExitReason {
        self.request_stop();
        self.wait().await
    }

    /// Stops the tree the hard way: tasks are aborted. Threads still have their grace.
    pub async fn stop_now(&self) -> ExitReason {
        self.shutdown.raise(Urgency::Kill);
        self.wait().await
    }

    /// Waits for the tree's end. Cancel safe.
    pub async fn wait(&self) -> ExitReason {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // The runtime was shut down under the tree, or the root's own task panicked.
            Ok(None) | Err(_) => ExitReason::Failed(Failure::Killed),
        }
    }

    /// The live picture.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree { root: self.root.clone() }
    }

    /// The faults of this tree.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Appends a child to the supervisor at `parent` and returns once the child is ready.
    ///
    /// # Errors
    /// [`OrderError::Spec`] if its name is invalid or taken, [`OrderError::Down`] if it failed too
    /// often to get ready, [`OrderError::NotFound`], [`OrderError::Gone`].
    pub async fn add_child(&self, parent: &str, child: ChildSpec) -> Result<(), OrderError> {
        child.check()?;
        let branch = self.branch(parent)?;
        give(&branch, Wish::Add(child)).await
    }

    /// Stops the child and forgets it. Siblings stay as they are. Returns once it has ended.
    ///
    /// # Errors
    /// [`OrderError::NotFound`], [`OrderError::Gone`], [`OrderError::Down`] if it does not end.
    pub async fn remove_child(&self, path: &str) -> Result<(), OrderError> {
        let (branch, name) = self.find(path)?;
        give(&branch, Wish::Remove(name.into())).await
    }

    /// Stops the child in good order and starts it again with those the strategy ties to it; one
    /// that is down gets a fresh start, its failures forgotten. Returns once it is ready.
    ///
    /// # Errors
    /// [`OrderError::Down`] if it fails too often, or is stuck: the old incarnation still runs.
    /// [`OrderError::NotFound`], [`OrderError::Gone`].
    pub async fn restart_child(&self, path: &str) -> Result<(), OrderError> {
        let (branch, name) = self.find(path)?;
        give(&branch, Wish::Restart(name.into())).await
    }

    /// Ends the child as a crash would, which counts as a failure: a task is aborted, a thread
    /// asked to end, a supervisor kills its children. Returns once it has really ended; its
    /// restart follows by its own rules.
    ///
    /// # Errors
    /// [`OrderError::NotRunning`], [`OrderError::NotFound`], [`OrderError::Gone`],
    /// [`OrderError::Down`] if it does not end.
    pub async fn kill(&self, path: &str) -> Result<(), OrderError> {
        let (branch, name) = self.find(path)?;
        give(&branch, Wish::Kill(name.into())).await
    }

    /// The supervisor above `path`, and the last name of `path`.
    fn find<'path>(&self, path: &'path str) -> Result<(Arc<Branch>, &'path str), OrderError> {
        let (parent, name) = path.rsplit_once('/').ok_or_else(|| not_found(path))?;
        Ok((self.branch(parent)?, name))
    }

    fn branch(&self, path: &str) -> Result<Arc<Branch>, OrderError> {
        let mut names = path.split('/');
        if names.next() != Some(self.root.path.as_str()) {
            return Err(not_found(path));
        }
        let mut branch = self.root.branch().ok_or(OrderError::Gone)?;
        for name in names {
            let child = branch.cells.lock().iter().find(|cell| cell.path.name() == name).cloned();
            branch = child.and_then(|cell| cell.branch()).ok_or_else(|| not_found(path))?;
        }
        Ok(branch)
    }
}

impl fmt::Debug for SupervisorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorHandle").field("root", &self.root.path).finish_non_exhaustive()
    }
}

/// Why an order was not carried out.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No such child, or not a supervisor where one is needed.
    #[error("there is no supervised {path} in this tree; look at the tree for the names")]
    NotFound {
        /// What was asked for.
        path: String,
    },
    /// The spec was refused.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// There is nothing to kill.
    #[error("{child} is not running")]
    NotRunning {
        /// The child.
        child: ChildPath,
    },
    /// The child stays down.
    #[error("{child} is down: {reason}")]
    Down {
        /// The child.
        child: ChildPath,
        /// Its last failure.
        reason: Failure,
    },
    /// The supervisor ended before it had carried the order out.
    #[error(
        "the supervisor ended before the order was carried out; look at the tree and ask again"
    )]
    Gone,
}

/// What a supervisor is asked to do.
pub(crate) struct Order {
    pub(crate) wish: Wish,
    pub(crate) reply: oneshot::Sender<Result<(), OrderError>>,
}

pub(crate) enum Wish {
    Add(ChildSpec),
    Remove(Arc<str>),
    Restart(Arc<str>),
    Kill(Arc<str>),
}

async fn give(branch: &Branch, wish: Wish) -> Result<(), OrderError> {
    let (reply, answer) = oneshot::channel();
    branch.orders.send(Order { wish, reply }).await.map_err(|_| OrderError::Gone)?;
    answer.await.unwrap_or(Err(OrderError::Gone))
}

fn not_found(path: &str) -> OrderError {
    OrderError::NotFound { path: path.to_owned() }
}

/// Orders that may wait for one supervisor; whoever gives one more waits.
const ORDERS_MAX: usize = 64;

pub(crate) fn order_channel() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(ORDERS_MAX)
}
