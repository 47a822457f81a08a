//! The live picture of a tree, for dashboards and tests.
//! Owns: [`Tree`] and its snapshots, and the cells through which supervisors publish their state.
//! Never: decisions; what stands here follows the supervisors and does not lead them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Failure;
use crate::handle::Order;

/// A live view of a tree. Clones look at the same tree, and stay usable after its end.
#[derive(Clone)]
pub struct Tree {
    pub(crate) root: Arc<Cell>,
}

impl Tree {
    /// What the tree looks like now. Each child's state is consistent in itself; different
    /// children may be seen a moment apart.
    #[must_use]
    pub fn snapshot(&self) -> TreeNode {
        self.root.snapshot()
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("root", &self.root.path).finish_non_exhaustive()
    }
}

/// One child as it was when the snapshot was taken. `Display` prints it and all below it as an
/// indented tree, a line each.
#[derive(Clone, Debug)]
pub struct TreeNode {
    /// Where it stands, from the root.
    pub path: ChildPath,
    /// What it is.
    pub kind: ChildKind,
    /// What it is doing.
    pub state: ChildState,
    /// How often it was started again since its supervisor started.
    pub restarts: u64,
    /// When its present or last incarnation was started.
    pub started_at: Option<Instant>,
    /// Why it last failed.
    pub last_error: Option<Failure>,
    /// In start order; empty unless it is a supervisor.
    pub children: Vec<TreeNode>,
}

impl TreeNode {
    /// The node with this path, here or below.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Self> {
        if self.path.as_str() == path {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(path))
    }

    fn write_indented(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let (indent, width) = (2 * depth, 28usize.saturating_sub(2 * depth));
        write!(f, "{:indent$}{:<width$} {:<10} {}", "", self.path.name(), self.kind, self.state)?;
        if let (ChildState::Running, Some(started_at)) = (&self.state, self.started_at) {
            write!(f, " for {}", Coarse(started_at.elapsed()))?;
        }
        if self.restarts > 0 {
            write!(f, ", restarts {}", self.restarts)?;
        }
        if let (Some(error), false) =
            (&self.last_error, matches!(self.state, ChildState::Down { .. }))
        {
            write!(f, ", last error: {error}")?;
        }
        self.children.iter().try_for_each(|child| {
            writeln!(f)?;
            child.write_indented(f, depth + 1)
        })
    }
}

impl fmt::Display for TreeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_indented(f, 0)
    }
}

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// A tokio task.
    Task,
    /// An operating system thread.
    Thread,
    /// A supervisor.
    Supervisor,
}

impl fmt::Display for ChildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Task => "task",
            Self::Thread => "thread",
            Self::Supervisor => "supervisor",
        })
    }
}

/// What a child is doing.
#[derive(Clone, Debug)]
pub enum ChildState {
    /// Not started yet: an earlier sibling is not ready.
    Waiting,
    /// Started, not ready yet.
    Starting,
    /// At work.
    Running,
    /// Asked to end.
    Stopping,
    /// Fallen; will be started again.
    Backoff {
        /// When.
        until: Instant,
    },
    /// Fallen too often, or stuck; an operator may restart it.
    Down {
        /// Its last failure.
        reason: Failure,
    },
    /// Ended as it should, or because something it depends on is down.
    Stopped,
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::Stopping => f.write_str("stopping"),
            Self::Backoff { until } => {
                write!(f, "restarts in {}", Coarse(until.saturating_duration_since(Instant::now())))
            }
            Self::Down { reason } => write!(f, "DOWN: {reason}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// Where a child stands: the names from the root down, joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildPath(Arc<str>);

impl ChildPath {
    /// A path with these names. The supervisor makes the paths of children; this is for those
    /// who act for one, and for tests.
    #[must_use]
    pub fn new(path: impl Into<Arc<str>>) -> Self {
        Self(path.into())
    }

    /// The whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    pub(crate) fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0).into())
    }
}

impl fmt::Display for ChildPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChildPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where one child's state is published.
pub(crate) struct Cell {
    pub(crate) path: ChildPath,
    pub(crate) kind: ChildKind,
    shown: Mutex<Shown>,
}

/// What is published of a child.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) state: ChildState,
    pub(crate) restarts: u64,
    pub(crate) started_at: Option<Instant>,
    pub(crate) last_error: Option<Failure>,
    /// Of a supervisor: its present incarnation.
    pub(crate) branch: Option<Arc<Branch>>,
}

impl Cell {
    pub(crate) fn new(path: ChildPath, kind: ChildKind) -> Arc<Self> {
        let shown = Shown {
            state: ChildState::Waiting,
            restarts: 0,
            started_at: None,
            last_error: None,
            branch: None,
        };
        Arc::new(Self { path, kind, shown: Mutex::new(shown) })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock());
    }

    pub(crate) fn branch(&self) -> Option<Arc<Branch>> {
        self.shown.lock().branch.clone()
    }

    fn snapshot(&self) -> TreeNode {
        let shown = self.shown.lock().clone();
        let cells = shown.branch.map(|branch| branch.cells.lock().clone()).unwrap_or_default();
        TreeNode {
            path: self.path.clone(),
            kind: self.kind,
            state: shown.state,
            restarts: shown.restarts,
            started_at: shown.started_at,
            last_error: shown.last_error,
            children: cells.iter().map(|cell| cell.snapshot()).collect(),
        }
    }
}

/// One incarnation of a supervisor as others see it: its children, and where it takes orders.
pub(crate) struct Branch {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) cells: Mutex<Vec<Arc<Cell>>>,
}

/// A duration for people: two digits of the unit that fits.
struct Coarse(Duration);

impl fmt::Display for Coarse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..120 => write!(f, "{seconds} s"),
            120..7200 => write!(f, "{} min", seconds / 60),
            _ => write!(f, "{} h", seconds / 3600),
        }
    }
}
