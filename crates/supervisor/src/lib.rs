//! A supervision tree for threads and tasks: strategies, restart intensity, awaited exits.
//!
//! Owns: starting, watching, restarting and stopping of everything that runs in a process, and the
//! live picture of it ([`Tree`]). Never: a type of the product; it does not know what its children
//! do. Nobody else starts a task or a thread (a lint holds that).
//!
//! The ideas are those of Erlang/OTP's `supervisor`:
//! - a child is described by a [`ChildSpec`] whose factory builds it anew; a restarted child inherits
//!   nothing from the dead one;
//! - children start in the order of the spec, each after the one before is ready, and stop in reverse;
//! - a [`Strategy`] says which siblings a fallen child takes along, an [`Intensity`] how often in
//!   how long it may fall before its supervisor gives up ([`OnExhausted`]).
//!
//! Invariants (tests hold them, see `tests/`):
//! - INV-SUP1: of one child at most one incarnation exists; the next starts only after the last one's
//!   thread or task has really ended. One that does not end is never restarted ([`Failure::Stuck`]).
//! - INV-SUP2: a child starts only when every earlier sibling it is ordered behind is ready.
//! - INV-SUP3: children are stopped in reverse start order, each within its grace.
//! - INV-SUP4: no more than `restarts_max` restarts within `window`.
//! - INV-SUP5: no process-global state: two trees in one process do not see each other.

mod actor;
mod context;
mod failure;
mod fault;
mod handle;
mod intensity;
mod launch;
mod member;
mod nursery;
mod shutdown;
mod spec;
mod strategy;
mod tree;

pub use context::ChildContext;
pub use failure::{ChildError, ExitReason, Failure};
pub use fault::{FaultError, FaultKind, Faults, InjectedFault};
pub use handle::{OrderError, Supervisor, SupervisorHandle};
pub use intensity::Intensity;
pub use nursery::{Drained, Nursery, NurseryError};
pub use shutdown::Shutdown;
pub use spec::{CHILDREN_MAX, Child, ChildSpec, OnExhausted, Restart, SpecError, SupervisorSpec};
pub use strategy::Strategy;
pub use tree::{ChildKind, ChildPath, ChildState, Tree, TreeNode};
