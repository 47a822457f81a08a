//! Faults on purpose: places in the code where a test makes a child fail.
//! Owns: [`Faults`], one per tree, so that trees in one process do not see each other (INV-SUP5).
//! Never: armed unless the tree was started with [`Faults::enabled`]; disabled ones refuse to arm.
//! Cost where nothing is armed: one atomic load.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;

use crate::ChildPath;

/// Most faults armed at a time; more are refused.
const ARMED_MAX: usize = 256;

/// The faults of one tree. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    is_enabled: bool,
    armed_count: AtomicUsize,
    armed: Mutex<Vec<Armed>>,
    changed: Notify,
}

#[derive(Debug)]
struct Armed {
    child: String,
    point: String,
    kind: FaultKind,
    times: u32,
}

/// How the child fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It panics.
    Panic,
    /// Its fault point returns an error.
    Error,
}

/// The error of an armed fault point.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("fault injected at point {point}")]
pub struct InjectedFault {
    /// The point's name.
    pub point: String,
}

/// Why a fault was not armed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The tree runs without faults.
    #[error("faults are off; they are for tests and must be enabled when the tree is started")]
    Disabled,
    /// Too many at once.
    #[error("more than {max} faults are armed; disarm some first")]
    TooMany {
        /// The bound.
        max: usize,
    },
}

impl Faults {
    /// Faults that can be armed: for tests.
    #[must_use]
    pub fn enabled() -> Self {
        Self::with(true)
    }

    /// Faults that refuse to be armed: for everything else.
    #[must_use]
    pub fn disabled() -> Self {
        Self::with(false)
    }

    /// Makes the next `times` passes of `child` (its path, as in the tree) at `point` fail.
    ///
    /// # Errors
    /// [`FaultError::Disabled`], or [`FaultError::TooMany`] at the bound.
    pub fn arm(
        &self,
        child: &str,
        point: &str,
        kind: FaultKind,
        times: u32,
    ) -> Result<(), FaultError> {
        if !self.inner.is_enabled {
            return Err(FaultError::Disabled);
        }
        let mut armed = self.inner.armed.lock();
        if armed.len() >= ARMED_MAX {
            return Err(FaultError::TooMany { max: ARMED_MAX });
        }
        if times > 0 {
            armed.push(Armed { child: child.to_owned(), point: point.to_owned(), kind, times });
        }
        self.inner.armed_count.store(armed.len(), Ordering::SeqCst);
        drop(armed);
        self.inner.changed.notify_waiters();
        Ok(())
    }

    /// Disarms everything.
    pub fn disarm_all(&self) {
        let mut armed = self.inner.armed.lock();
        armed.clear();
        self.inner.armed_count.store(0, Ordering::SeqCst);
    }

    /// What [`ChildContext::fault_point`](crate::ChildContext::fault_point) does, for code that
    /// acts for a child without having its context.
    ///
    /// # Errors
    /// [`InjectedFault`] if an error is armed.
    ///
    /// # Panics
    /// If a panic is armed.
    pub fn strike(&self, child: &ChildPath, point: &str) -> Result<(), InjectedFault> {
        if self.inner.armed_count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        match self.take(child, point) {
            None => Ok(()),
            Some(FaultKind::Error) => Err(InjectedFault { point: point.to_owned() }),
            Some(FaultKind::Panic) => panic!("fault injected at point {point}"),
        }
    }

    pub(crate) fn struck(
        &self,
        child: &ChildPath,
        point: &str,
    ) -> impl Future<Output = InjectedFault> + Send + use<> {
        let (faults, child, point) = (self.clone(), child.clone(), point.to_owned());
        async move {
            loop {
                let changed = faults.inner.changed.notified();
                tokio::pin!(changed);
                // ORDER: enlisted before the look, so that nothing armed in between is missed.
                changed.as_mut().enable();
                if let Err(fault) = faults.strike(&child, &point) {
                    return fault;
                }
                changed.await;
            }
        }
    }

    fn take(&self, child: &ChildPath, point: &str) -> Option<FaultKind> {
        let mut armed = self.inner.armed.lock();
        let hit =
            armed.iter().position(|fault| fault.child == child.as_str() && fault.point == point)?;
        let fault = &mut armed[hit];
        fault.times -= 1;
        let kind = fault.kind;
        if fault.times == 0 {
            armed.remove(hit);
            self.inner.armed_count.store(armed.len(), Ordering::SeqCst);
        }
        Some(kind)
    }

    fn with(is_enabled: bool) -> Self {
        let inner = Inner {
            is_enabled,
            armed_count: AtomicUsize::new(0),
            armed: Mutex::new(Vec::new()),
            changed: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }
}
