//! What applying a command leaves behind besides the new state and the reply.
//! Owns: [`Outcome`]. Never: performs anything; the leader's node does, followers drop it.

/// What a command did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// True if the reply is an error; then nothing was changed but what had expired already.
    pub is_error: bool,
    /// True if EXEC found a watch dirty: nothing was run, the reply is the absent array.
    pub is_aborted: bool,
    /// Changes of keys, one per key and command, removals of expired ones included.
    pub changes: u64,
}
