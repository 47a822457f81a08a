//! What a group replicates: the trait between this crate and the state it knows nothing about.
//!
//! Owns: [`Machine`], [`Part`], [`Replies`]. Never: what a command means.
//! Called by: `group`, always from the one thread that drives the group's worker.

use keystead_types::{ApplyContext, UnixMillis};

/// One caller's share of a run of commands: executed together, answered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The caller's own name for it; opaque here.
    pub ticket: u64,
    /// Length of its commands within the run, bytes.
    pub bytes: u32,
    /// How the caller wants its replies written, and what else the machine is to know of it; opaque here.
    pub form: u32,
}

/// The replies to a run's parts, one after the other in one buffer.
#[derive(Debug, Default)]
pub struct Replies {
    /// All replies.
    pub bytes: Vec<u8>,
    /// Where each part's replies end in `bytes`, in the order of the parts.
    pub ends: Vec<usize>,
}

/// How far a dump has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpStep {
    /// There is more to write.
    More,
    /// The dump is complete.
    Done,
}

/// A deterministic state machine that a group keeps equal on all its replicas.
///
/// INV-R1: [`apply`](Self::apply) depends on nothing but the state, the context and the commands.
pub trait Machine: Send + 'static {
    /// A state loaded from a snapshot elsewhere than on the worker's thread, ready to take its place.
    type Loaded: Send + 'static;

    /// Applies a run of commands. `parts` cover the run exactly and get their replies, or are empty
    /// on a replica where nobody asked: then the whole run is applied and nothing is written.
    fn apply(
        &mut self,
        context: &ApplyContext,
        commands: &[u8],
        parts: &[Part],
        replies: &mut Replies,
    );

    /// Executes a run of commands that only read, as of `now`.
    fn read(&mut self, now: UnixMillis, commands: &[u8], parts: &[Part], replies: &mut Replies);

    /// Begins a dump of the state as it is now; a running one is given up.
    fn begin_dump(&mut self);

    /// Appends about `bytes_target` bytes of the dump to `out`.
    fn dump_step(&mut self, out: &mut Vec<u8>, bytes_target: usize) -> DumpStep;

    /// Gives up the running dump, if there is one.
    fn abort_dump(&mut self);

    /// Replaces the whole state.
    fn install(&mut self, state: Self::Loaded);

    /// A digest of the state: equal on all replicas at equal indexes.
    fn digest(&self) -> u128;

    /// Commands of the machine's own to propose when `now` has come (removal of what has expired);
    /// asked of leaders only, once a tick. Appends nothing if there is nothing to do.
    fn upkeep(&mut self, now: UnixMillis, commands: &mut Vec<u8>);

    /// Looks through a run before a leader proposes it: what the machine has no room for may be replaced by commands that
    /// say so. Changes `parts` with it, which cover the run exactly.
    fn admit(&mut self, _commands: &mut Vec<u8>, _parts: &mut [Part]) {}

    /// Commands of the machine's own that go before those of an entry that a leader is about to propose.
    fn make_room(&mut self, _now: UnixMillis, _commands: &mut Vec<u8>) {}
}
