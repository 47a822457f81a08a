//! Why a torture cannot go on. Owns: [`TortureError`]. Never: a verdict; what was found wrong is no error of the torture.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a torture cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TortureError {
    /// A file or directory of the run.
    #[error(
        "cannot {what} {path}: {source}; check that there is room and that this user may write there"
    )]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program is not there.
    #[error("cannot run {program}: {source}; is it installed?")]
    Program {
        /// Which.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A program did not do what it was asked.
    #[error("`{line}` failed ({status}): {says}")]
    Tool {
        /// The command line.
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        says: String,
    },
    /// A signal could not be sent to a node.
    #[error("cannot signal node {node}: {source}")]
    Signal {
        /// The node.
        node: String,
        /// What the system says.
        source: io::Error,
    },
    /// A node is needed that does not run, or runs and should not.
    #[error("node {node} {state}")]
    NodeState {
        /// The node.
        node: String,
        /// What it does.
        state: &'static str,
    },
    /// The cluster never came up, so there was nothing to break.
    #[error("not within {within:?}: {what}; the nodes' logs are in {kept}")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        within: Duration,
        /// Where the logs are.
        kept: PathBuf,
    },
    /// An address of a running cluster leads nowhere.
    #[error("cannot reach {address}: {source}; give HOST:PORT of nodes that run")]
    Address {
        /// As it was given.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// A node does not answer as one of Keystead does.
    #[error("{address} does not answer {command} as a node of Keystead does")]
    Stranger {
        /// The node.
        address: String,
        /// What it was asked.
        command: &'static str,
    },
    /// Threads, timers or signals.
    #[error("cannot start the clients: {0}; is the limit of threads or open files too low?")]
    Clients(#[source] io::Error),
    /// The clients' supervision tree was refused: a mistake in this program.
    #[error(transparent)]
    Spec(#[from] keystead_supervisor::SpecError),
    /// Somebody gave the word to stop before the load began.
    #[error("stopped before anything was judged")]
    Stopped,
}

impl TortureError {
    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
