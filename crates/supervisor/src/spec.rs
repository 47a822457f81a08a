//! What is to run: the description from which a tree is started and children are restarted.
//! Owns: [`SupervisorSpec`], [`ChildSpec`], their builders and their check. Never: anything running.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::{ChildContext, ChildError, Intensity, Strategy};

/// Most children of one supervisor; more are refused. Many short-lived tasks belong into a
/// [`Nursery`](crate::Nursery), which does not show each of them in the tree.
pub const CHILDREN_MAX: usize = 4096;

/// Longest name of a child, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Time a child has to end after it was asked to, unless said otherwise.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

pub(crate) type TaskBody = Pin<Box<dyn Future<Output = Result<(), ChildError>> + Send>>;

/// A supervisor and its children, in start order.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) on_exhausted: OnExhausted,
    pub(crate) children: Vec<ChildSpec>,
}

impl SupervisorSpec {
    /// A supervisor without children, with the default [`Intensity`], that escalates.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        Self {
            name: name.into(),
            strategy,
            intensity: Intensity::default(),
            on_exhausted: OnExhausted::Escalate,
            children: Vec::new(),
        }
    }

    /// Sets how often children may fall in how long.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// Sets what happens when a child fell too often.
    #[must_use]
    pub fn on_exhausted(mut self, on_exhausted: OnExhausted) -> Self {
        self.on_exhausted = on_exhausted;
        self
    }

    /// Appends a child: it starts after all that were appended before it.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_name(&self.name)?;
        if self.children.len() > CHILDREN_MAX {
            return Err(SpecError::TooMany { supervisor: self.name.clone(), max: CHILDREN_MAX });
        }
        let mut names = BTreeSet::new();
        for child in &self.children {
            child.check()?;
            if !names.insert(&child.name) {
                return Err(SpecError::Duplicate { name: child.name.clone() });
            }
        }
        Ok(())
    }
}

/// One child: how to build it, and how to treat it.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    pub(crate) name: Arc<str>,
    pub(crate) restart: Restart,
    pub(crate) shutdown_grace: Duration,
    pub(crate) readiness: Readiness,
    pub(crate) start: Child,
}

impl ChildSpec {
    /// A tokio task. `factory` runs inside the task, again at each restart; it must build everything
    /// anew. A panic in it counts like one in the body.
    #[must_use]
    pub fn task<F, B>(name: impl Into<Arc<str>>, factory: F) -> Self
    where
        F: Fn(ChildContext) -> B + Send + Sync + 'static,
        B: Future<Output = Result<(), ChildError>> + Send + 'static,
    {
        let boxed = move |context| -> TaskBody { Box::pin(factory(context)) };
        Self::new(name.into(), Child::Task(Arc::new(boxed)), Readiness::AtOnce)
    }

    /// An operating system thread of its own, named like the child. The body may block, and may
    /// build a current-thread tokio runtime. A thread cannot be killed: it must watch
    /// [`ChildContext::shutdown_requested`] or register a wake-up.
    #[must_use]
    pub fn thread<F>(name: impl Into<Arc<str>>, body: F) -> Self
    where
        F: Fn(ChildContext) -> Result<(), ChildError> + Send + Sync + 'static,
    {
        Self::new(name.into(), Child::Thread(Arc::new(body)), Readiness::AtOnce)
    }

    /// A supervisor below this one, under the spec's name. It is ready when each of its children was
    /// ready once or stays down. Restarted, it begins with the children of the spec; those added
    /// later are gone.
    #[must_use]
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        Self::new(spec.name.clone(), Child::Supervisor(Arc::new(spec)), Readiness::WhenSettled)
    }

    /// Sets when the child is restarted. Default: [`Restart::Permanent`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how long the child may take to end after it was asked to (default 5 s). A task is
    /// aborted afterwards; a thread is given up, and never restarted while it may still run.
    /// Without effect on a supervisor, whose children each have their own grace.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Makes later siblings wait until this child has called [`ChildContext::ready`]; it fails if
    /// it has not within `within`. Without it a child counts as ready at once.
    #[must_use]
    pub fn ready_within(mut self, within: Duration) -> Self {
        if self.readiness == Readiness::AtOnce {
            self.readiness = Readiness::Within(within);
        }
        self
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        check_name(&self.name)?;
        match &self.start {
            Child::Supervisor(spec) => spec.check(),
            Child::Task(_) | Child::Thread(_) => Ok(()),
        }
    }

    fn new(name: Arc<str>, start: Child, readiness: Readiness) -> Self {
        let restart = Restart::Permanent;
        Self { name, restart, shutdown_grace: SHUTDOWN_GRACE, readiness, start }
    }
}

/// What a child is and how it is built.
#[derive(Clone)]
#[non_exhaustive]
pub enum Child {
    /// See [`ChildSpec::task`].
    Task(Arc<dyn Fn(ChildContext) -> TaskBody + Send + Sync>),
    /// See [`ChildSpec::thread`].
    Thread(Arc<dyn Fn(ChildContext) -> Result<(), ChildError> + Send + Sync>),
    /// See [`ChildSpec::supervisor`].
    Supervisor(Arc<SupervisorSpec>),
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(_) => f.write_str("Task"),
            Self::Thread(_) => f.write_str("Thread"),
            Self::Supervisor(spec) => f.debug_tuple("Supervisor").field(spec).finish(),
        }
    }
}

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    Permanent,
    /// If it failed; if its body returned `Ok` it is done.
    Transient,
    /// Never; it leaves the tree when it ends, and its failure is logged.
    Temporary,
}

/// What a supervisor does when its [`Intensity`] is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExhausted {
    /// Stops all its children and fails itself: its own supervisor decides.
    Escalate,
    /// Leaves the child down, named, with its last error, and goes on with the others. Siblings
    /// that the strategy ties to it stop too.
    StayDown,
}

/// When a started child counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    AtOnce,
    Within(Duration),
    WhenSettled,
}

/// Why a spec was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The name cannot be part of a path.
    #[error(
        "the child name {name:?} is not 1 to 64 letters, digits and any of . : _ -; choose another"
    )]
    Name {
        /// The name.
        name: Arc<str>,
    },
    /// Two children of one supervisor share a name.
    #[error("two children are named {name}; paths would be ambiguous, so rename one")]
    Duplicate {
        /// The name.
        name: Arc<str>,
    },
    /// More than [`CHILDREN_MAX`].
    #[error("supervisor {supervisor} would have more than {max} children; use a nursery")]
    TooMany {
        /// The supervisor.
        supervisor: Arc<str>,
        /// The bound.
        max: usize,
    },
}

fn check_name(name: &Arc<str>) -> Result<(), SpecError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(SpecError::Name { name: name.clone() })
    }
}
