//! What a command may know about the world when it is applied.
//! Owns: [`ApplyContext`]. Never: a clock or a random source; both enter here, stamped by the leader.

use crate::{LogIndex, UnixMillis};

/// Time, chance and position of one log entry, the same on every replica.
///
/// INV-A1: `now` never runs backwards from one entry of a shard to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyContext {
    /// The entry's position in the shard's log.
    pub index: LogIndex,
    /// The leader's clock when it proposed the entry.
    pub now: UnixMillis,
    /// Drawn by the leader for this entry; the only chance a command may use.
    pub seed: u64,
}
