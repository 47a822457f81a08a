//! A client for Keystead and Redis servers: connections, pipelines, redirects.
//!
//! Owns: what a caller may believe about a command whose connection broke, the handshake, the choice
//! of the node to ask. Never: knows what a command does, retries one whose bytes may have arrived.
//!
//! [`Client`] is for tasks, [`blocking::Client`] for threads; [`Connection`] is one socket without any
//! of the comfort, for subscriptions and tools.
//!
//! INV-C1: a command of which the last byte was handed to the network is never sent again, except
//! after a reply that says that it was not executed (MOVED, ASK).
//! INV-C2: a reply is never given to another command than its own: a connection with a reply
//! outstanding (a deadline passed, a future was dropped) is closed, not used again.
//!
//! ```no_run
//! # async fn example() -> Result<(), keystead_client::Error> {
//! use keystead_client::{Client, ConnectOptions, Value};
//!
//! let mut client = Client::connect("127.0.0.1:7379", ConnectOptions::default()).await?;
//! client.command(&["SET", "greeting", "hello"]).await?;
//! assert_eq!(client.command(&["GET", "greeting"]).await?, Value::Bulk(b"hello".to_vec()));
//! # Ok(())
//! # }
//! ```

pub mod blocking;
mod client;
mod connection;
mod error;
mod options;
mod pipeline;
mod redirect;
mod session;

pub use client::Client;
pub use connection::Connection;
pub use error::{Cause, Error, Kind};
pub use keystead_resp::{Protocol, Value};
pub use options::ConnectOptions;
pub use pipeline::Pipeline;
