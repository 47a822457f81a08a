//! Commands that only nodes put into the log, and how transactions stand in it.
//!
//! Owns: their names and forms. Never: reachable by clients: the command table does not know them.
//!
//! ```text
//! KEYSTEAD.WATCH id key [key ...]     registers a watch over keys of one shard
//! KEYSTEAD.UNWATCH id [id ...]        forgets watches
//! KEYSTEAD.EXPIRE limit               removes what has expired by the entry's time, at most `limit` keys
//! MULTI, commands, EXEC [id ...]      a transaction; aborted if a watch with one of the ids is dirty
//! ```

/// Compares all replicas of all shards: never in a log, but a question to the node itself, asked as a run of the
/// metadata group that only reads. Its argument is how long to wait for replicas that are behind, milliseconds.
pub const SYNC: &[u8] = b"KEYSTEAD.SYNC";
/// Registers a watch.
pub const WATCH: &[u8] = b"KEYSTEAD.WATCH";
/// Forgets watches.
pub const UNWATCH: &[u8] = b"KEYSTEAD.UNWATCH";
/// Removes what has expired.
pub const EXPIRE: &[u8] = b"KEYSTEAD.EXPIRE";
/// Keys removed by one entry at most: bounds how long other commands wait behind it.
pub const EXPIRE_KEYS_MAX: usize = 1000;
/// What all of them begin with.
pub const PREFIX: &[u8] = b"KEYSTEAD.";
/// Opens a transaction in the log.
pub const MULTI: &[u8] = b"MULTI";
/// Closes a transaction in the log.
pub const EXEC: &[u8] = b"EXEC";
