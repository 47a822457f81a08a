//! What applying a command leaves behind besides the new state and the reply.
//! Owns: [`Outcome`]. Never: performs anything; the leader's node does, followers drop it.

/// What a command did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// True if the reply is an error; nothing was changed then.
    pub is_error: bool,
    /// True if EXEC found a watch dirty: nothing was run, the reply is the absent array.
    pub is_aborted: bool,
    /// Changes of keys, as Redis counts them for `rdb_changes_since_last_save`.
    pub changes: u64,
}
