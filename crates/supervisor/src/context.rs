//! What a child knows about its place in the tree.
//! Owns: [`ChildContext`]. Never: decisions about the child (see `actor`).

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::{ChildPath, Faults, InjectedFault, Shutdown, SupervisorHandle};

/// Given to a child's factory at each start. Clones belong to the same incarnation.
#[derive(Clone)]
pub struct ChildContext {
    path: ChildPath,
    shutdown: Shutdown,
    ready: Ready,
    supervisor: SupervisorHandle,
}

impl ChildContext {
    pub(crate) fn new(
        path: ChildPath,
        shutdown: Shutdown,
        ready: Ready,
        supervisor: SupervisorHandle,
    ) -> Self {
        Self { path, shutdown, ready, supervisor }
    }

    /// Where the child stands, from the root: `root/workers/shard-3`.
    #[must_use]
    pub fn path(&self) -> &ChildPath {
        &self.path
    }

    /// The last part of [`path`](Self::path).
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.name()
    }

    /// Says that the child does its work, so that later siblings may start.
    pub fn ready(&self) {
        self.ready.set();
    }

    /// True once the child should end. One atomic load.
    #[must_use]
    pub fn shutdown_requested(&self) -> bool {
        self.shutdown.is_requested()
    }

    /// Returns once the child should end. Cancel safe.
    pub async fn shutdown(&self) {
        self.shutdown.requested().await;
    }

    /// Calls `wake` once the child should end, at once if that is so already. It must not block.
    pub fn on_shutdown(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.shutdown.on_request(wake);
    }

    /// The signal itself, for parts of the child that need no more than that.
    #[must_use]
    pub fn shutdown_signal(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// The tree the child is part of. A child that awaits its own removal or restart through it
    /// waits for itself, until its grace is over.
    #[must_use]
    pub fn supervisor(&self) -> &SupervisorHandle {
        &self.supervisor
    }

    /// A place where a test may make this child fail. One atomic load unless something is armed.
    ///
    /// # Errors
    /// [`InjectedFault`] if [`Faults`] has an error armed for this child and point.
    ///
    /// # Panics
    /// If [`Faults`] has a panic armed for this child and point.
    pub fn fault_point(&self, point: &str) -> Result<(), InjectedFault> {
        self.faults().strike(&self.path, point)
    }

    /// Returns only when a fault is armed for this child and point: for a child that waits and
    /// would pass no [`fault_point`](Self::fault_point). Cancel safe.
    ///
    /// # Panics
    /// If a panic is armed, instead of returning.
    pub fn fault(&self, point: &str) -> impl Future<Output = InjectedFault> + Send {
        self.faults().struck(&self.path, point)
    }

    /// The faults of this tree, to hand to parts that have no context.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.supervisor.faults()
    }
}

impl fmt::Debug for ChildContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildContext").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A child's word that it is ready, and the bell that tells its supervisor to look.
#[derive(Clone)]
pub(crate) struct Ready {
    is_set: Arc<AtomicBool>,
    bell: Arc<Notify>,
}

impl Ready {
    pub(crate) fn new(bell: Arc<Notify>) -> Self {
        Self { is_set: Arc::default(), bell }
    }

    pub(crate) fn set(&self) {
        if !self.is_set.swap(true, Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }
}
