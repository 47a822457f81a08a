//! The Redis protocol server: listeners, connections, sessions, dispatch, error codes.
//!
//! Owns: what clients see. Bytes become commands, commands go through the node's [`Door`], outcomes
//! become replies in the order of the commands. Never: holds data, opens a file, takes part in an
//! election, retries a write.
//!
//! A thread of the gateway is a single-threaded runtime with its own door and its own connections;
//! threads share only counters and the list of clients.
//!
//! ```text
//! listener.rs --sockets--> io_thread.rs --readiness--> connection.rs --bytes--> pipeline.rs
//! pipeline.rs --command--> dispatch.rs --> door (data), session.rs (connections), gather.rs (all shards)
//! door --outcomes--> io_thread.rs (pump) --> window.rs (order of replies) --> connection.rs
//! ```
//! Beside it: what commands took (`meter.rs`), whom to tell (`alarm.rs`), who watches or holds commands back
//! (`attention.rs`).
//!
//! Invariants: INV-G1 to INV-G6, stated in `window.rs`, `pipeline.rs`, `transaction.rs` and `connection.rs`.
//!
//! [`Door`]: keystead_node::Door

mod access_log;
mod alarm;
mod attention;
mod buffers;
mod compat;
pub mod config;
mod connection;
mod dispatch;
mod gather;
mod histogram;
mod io_thread;
mod latency;
pub mod listener;
mod local;
mod meter;
mod pipeline;
mod primitives;
mod purpose;
mod registry;
mod release;
mod reply;
mod secret;
mod session;
#[cfg(feature = "simulation")]
pub mod simulation;
mod slow_log;
mod stats;
mod sync;
mod tracked;
mod transaction;
mod waiting;
mod wake;
mod window;

pub use config::GatewayConfig;
pub use listener::{Gateway, GatewayError};
pub use wake::Wake;
