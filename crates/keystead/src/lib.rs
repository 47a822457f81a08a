//! A distributed key-value store that keeps what it has acknowledged: library and server.

pub mod config;

pub use config::Config;
