//! The deterministic data structure server: keyspace, values, commands, expiry, snapshots.
//!
//! Owns: what a command means. [`Store::apply`] turns a state, a command and an [`ApplyContext`] into a
//! new state and a reply, the same on every replica; [`Store::read`] answers from `&Store`. The command
//! table ([`command::TABLE`]) feeds dispatch, ACL categories, COMMAND and the reference page.
//! Never: a clock, a random source, a socket, a file, a thread, a shard, a connection. Time and chance
//! enter through [`ApplyContext`]; what else shall happen leaves through [`Outcome`].
//!
//! How to add a command: a row in `command/rows/<family>.rs`, its function in
//! `command/<family>/<verb>.rs` (`fn(&Reader, Args, &mut ReplyWriter)` to read,
//! `fn(&mut Writer, Args, &mut ReplyWriter)` to write, errors as [`CommandError`]), lines for it in the
//! script of `tests/against_redis.rs` if Redis 7.0 has it, in `tests/golden/` otherwise.
//!
//! ```
//! use keystead_resp::{Args, Protocol, ReplyWriter, Span};
//! use keystead_store::{Store, StoreConfig};
//! use keystead_types::{ApplyContext, LogIndex, UnixMillis};
//!
//! let mut store = Store::new(StoreConfig { hash_seed: 1, has_every_slot: true });
//! let ctx = ApplyContext { index: LogIndex(1), now: UnixMillis(1_000), seed: 0 };
//! let line = b"INCRBYhits5";
//! let spans = [(0, 6), (6, 4), (10, 1)].map(|(start, len)| Span { start, len });
//! let mut reply = Vec::new();
//! let mut writer = ReplyWriter::new(&mut reply, Protocol::Resp2);
//! let outcome = store.apply(&ctx, Args::new(line, &spans), &mut writer);
//! assert_eq!((reply.as_slice(), outcome.changes), (&b":5\r\n"[..], 1));
//! ```
//!
//! [`ApplyContext`]: keystead_types::ApplyContext

mod allocation;
mod chance;
pub mod command;
mod database;
mod digest;
mod effect;
mod entry;
mod error;
mod eviction;
mod expiry;
mod functions;
mod keyspace;
mod number;
mod scan;
mod scripts;
mod snapshot;
mod store;
mod table;
mod undo;
mod value;
mod waiters;
mod watch;
mod wire;

pub use digest::Digest;
pub use effect::{Effect, EventClass, Outcome, Wanted};
pub use error::{CommandError, JsonError, WrongType};
pub use eviction::{AgeCursor, Choice, Policy};
pub use scan::{ScanCursor, ScanOptions, glob_matches};
pub use snapshot::{DumpStep, LoadError, Loader};
pub use store::{DatabaseStats, Stats, Store, StoreConfig, StringRef, Waited};
pub use waiters::{Fate, SILENCE_MS_MAX, WAITERS_MAX, WAITING_BYTES_MAX, WaiterId};
pub use watch::{WATCH_AGE_MS_MAX, WATCHES_MAX, WatchId};
