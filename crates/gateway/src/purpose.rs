//! What a window in flight is for, if its replies are not simply passed on.
//! Owns: [`Purpose`]. Never: the parts themselves (see `gather.rs`).

use crate::gather::Gather;
use crate::transaction::Exec;
use crate::waiting::Wait;

/// What a window in flight is for.
#[derive(Debug, Default)]
pub(crate) enum Purpose {
    /// Its replies are those of its commands.
    #[default]
    Replies,
    /// One command on several shards; its reply is made of theirs.
    Gather(Box<Gather>),
    /// One command that may wait.
    Wait(Wait),
    /// One EXEC that leaves something to do behind it.
    Exec(Exec),
}
