//! A distributed key-value store that keeps what it has acknowledged: library and server.

pub mod config;
mod embedded;
mod error;
mod faults;
pub mod server;

pub use config::Config;
pub use embedded::{Keystead, Options, Scan, TTL_MS_MAX, blocking};
pub use error::{Error, Kind};
pub use keystead_resp::Value;
