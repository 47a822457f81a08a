//! Why a child or a whole tree ended.
//! Owns: [`Failure`], [`ExitReason`], and how a panic's payload becomes words.
//! Never: what follows from it (see `actor`).

use std::any::Any;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error as ThisError;

use crate::ChildPath;

/// What a child's body may return: any error, so that `?` works in it.
pub type ChildError = Box<dyn Error + Send + Sync + 'static>;

/// Why a child ended although it should not have.
#[derive(Clone, Debug, ThisError)]
#[non_exhaustive]
pub enum Failure {
    /// Its body returned an error.
    #[error("{}", with_causes(source.as_ref()))]
    Returned {
        /// What the body returned.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Its factory or body panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: Arc<str>,
    },
    /// A permanent child's body returned without an error.
    #[error("ended by itself, but should run until it is asked to stop")]
    Ended,
    /// [`SupervisorHandle::kill`](crate::SupervisorHandle::kill) asked for it.
    #[error("killed on request")]
    Killed,
    /// It did not say that it is ready in time.
    #[error("was not ready within {within:?} of its start")]
    NotReady {
        /// The time it had.
        within: Duration,
    },
    /// The operating system refused the thread.
    #[error("cannot start a thread: {source}; raise the limit of threads of this process")]
    Spawn {
        /// The refusal.
        source: Arc<io::Error>,
    },
    /// It was asked to stop and did not.
    #[error(
        "did not end within {grace:?} of being told to; it may still run, so it is not restarted"
    )]
    Stuck {
        /// The time it had.
        grace: Duration,
    },
    /// A supervisor gave up on one of its children.
    #[error("gave up on {child} after {failures} failures within {window:?}, the last: {last}")]
    Exhausted {
        /// The child that kept failing.
        child: ChildPath,
        /// Failures counted within the window.
        failures: u32,
        /// The window of the supervisor's intensity.
        window: Duration,
        /// The last failure.
        last: Box<Failure>,
    },
}

impl Failure {
    /// True if an old incarnation may still be running, so that a restart could double it (INV-SUP1).
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        match self {
            Self::Stuck { .. } => true,
            Self::Exhausted { last, .. } => last.is_stuck(),
            _ => false,
        }
    }

    pub(crate) fn returned(error: ChildError) -> Self {
        Self::Returned { source: Arc::from(error) }
    }

    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked { message: panic_message(payload).into() }
    }
}

/// How a tree ended.
#[derive(Clone, Debug)]
pub enum ExitReason {
    /// It was asked to stop, and everything in it ended.
    Stopped,
    /// It gave up; the process should end with this message.
    Failed(Failure),
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "with a payload that is not text"
    }
}

/// The error and its causes in one line; a cause that its parent's message already quotes is left out.
fn with_causes(error: &(dyn Error + Send + Sync)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            write!(line, ": {text}").expect("writing to a String cannot fail");
        }
        cause = error.source();
    }
    line
}
