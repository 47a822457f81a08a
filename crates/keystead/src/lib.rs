//! A distributed key-value store that keeps what it has acknowledged: library and server.
//!
//! Owns: the whole product as one crate: a node in process ([`Keystead`]), as a server ([`server`]), its
//! settings ([`Config`]). Never: a mechanism; those are in the crates beneath.
//!
//! # A node in your process
//!
//! One call starts a node: its data in memory, each write on disk before it returns. Keys are bytes, values
//! are whatever [serde](https://serde.rs) can handle, kept as JSON text, so that Redis clients read them.
//!
//! ```
//! use keystead::{Keystead, Options};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct User {
//!     name: String,
//!     age: u32,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let data = directory.path();
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = Keystead::start(Options::new(data)).await?;
//!
//! store.put("user1", &User { name: "Alice".into(), age: 30 }).await?;
//! let user: Option<User> = store.get("user1").await?;
//!
//! // Atomic against every other client of the cluster. The closure may run several times.
//! let older = |user: Option<User>| user.map(|user| User { age: user.age + 1, ..user });
//! let user = store.update("user1", older).await?;
//! assert_eq!(user.map(|user| user.age), Some(31));
//!
//! store.shutdown().await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! The futures need no particular runtime; [`blocking`] has the same for threads without any. A handle is
//! cheap to clone and may be used by as many tasks and threads as like: writes that are under way together
//! share log entries and fsyncs, so a hundred at a time take little longer than one.
//!
//! | to | call |
//! |---|---|
//! | store, read, remove a value | [`put`](Keystead::put), [`get`](Keystead::get), [`delete`](Keystead::delete), [`exists`](Keystead::exists) |
//! | change a value atomically | [`update`](Keystead::update) |
//! | keep a value for a while | [`put_with_ttl`](Keystead::put_with_ttl) |
//! | use bytes that are no JSON | [`put_bytes`](Keystead::put_bytes), [`get_bytes`](Keystead::get_bytes), [`get_with`](Keystead::get_with) |
//! | walk over keys | [`scan`](Keystead::scan), [`scan_matching`](Keystead::scan_matching) |
//! | use any other command on keys | [`command`](Keystead::command) |
//! | join other nodes, prove that replicas are equal | [`connect`](Keystead::connect), [`sync`](Keystead::sync) |
//!
//! # Redis clients beside it
//!
//! A node serves no port unless it is told to: [`Options::listen`] names an address for Redis clients, and
//! a node that is started with a whole [`Config`] serves at the addresses of its settings, as the program
//! `keystead serve` does. It is the same node and the same data.
//!
//! # Several nodes
//!
//! A further node is given the address of any other, at its start ([`Options::join`]) or later
//! ([`Keystead::connect`]). Replicas, up to three of every shard, and leaders spread by themselves. Every
//! node takes every call; what another node leads is passed on. With three nodes any one may fail at any
//! moment: what was acknowledged is on the disks of two, and the others go on within about a second. The
//! example `three_nodes` walks through it in one process.
//!
//! # What is promised
//!
//! - **Durable.** A write has returned once a majority of the shard's replicas has it on disk. With
//!   [`Durability::Replicated`](config::Durability::Replicated): in memory, the disk following within a
//!   tenth of a second.
//! - **Linearizable.** Every read sees every write that had returned before it began, on whichever node.
//!   This holds for each key, and for commands on several keys of one shard. [`Keystead::scan`] and
//!   commands over all shards are as of no single moment.
//! - **Unknown is not failed.** A write whose outcome was lost with a leader or a deadline ends with
//!   [`Kind::Unknown`]: it may have happened, or may yet happen. Nobody repeats it for you. All other
//!   errors mean that nothing happened. So the way to treat an error is by its [kind](Error::kind):
//!
//! ```
//! use keystead::{Error, Keystead, Kind};
//!
//! /// Sets a name; true if it is certainly set.
//! async fn set_name(store: &Keystead, name: &str) -> Result<bool, Error> {
//!     match store.put("name", name).await {
//!         Ok(()) => Ok(true),
//!         Err(error) => match error.kind() {
//!             // Look before doing it again.
//!             Kind::Unknown => Ok(store.get::<String>("name").await?.as_deref() == Some(name)),
//!             // Nothing happened, and later it may work: the caller backs off and tries again.
//!             Kind::Unavailable | Kind::Overloaded => Ok(false),
//!             _ => Err(error),
//!         },
//!     }
//! }
//! ```
//!
//! A call takes no longer than the setting `write_timeout_ms`, five seconds unless changed.
//!
//! # Limits
//!
//! Keys and values have at most 512 MiB each, JSON numbers the range of their Rust type. A process may have
//! 65,536 calls under way; further ones end with [`Kind::Overloaded`]. Data is held in memory: count on the
//! size of keys and values plus some forty bytes a key.

pub mod config;
mod embedded;
mod error;
mod faults;
pub mod server;
#[cfg(all(feature = "cli", unix))]
#[doc(hidden)]
pub mod torture;

pub use config::Config;
pub use embedded::{Keystead, Options, Scan, TTL_MS_MAX, blocking};
pub use error::{Error, Kind};
pub use keystead_resp::Value;

/// The program in README.md compiles as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
