//! What every layer of Keystead shares: ids, slots, the apply context, clocks, limits.
//!
//! Owns: the vocabulary. Never: behaviour beyond hashing a key to its slot; no I/O, no state.
//! Everything here is plain data that may be copied, compared and printed.

pub mod apply;
pub mod ids;
pub mod limits;
pub mod mistakes;
pub mod slot;
pub mod time;

pub use apply::ApplyContext;
pub use ids::{DatabaseId, Epoch, LogIndex, NodeId, ShardId, Term};
pub use slot::{SLOT_COUNT, Slot};
pub use time::{Clock, Monotonic, UnixMillis};
