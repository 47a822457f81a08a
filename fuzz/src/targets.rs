//! The targets, one file each.

pub mod commands;
pub mod configuration;
pub mod control;
pub mod forwarded;
pub mod frames;
pub mod greetings;
pub mod inline;
pub mod json;
pub mod log;
pub mod lua;
pub mod messages;
pub mod metadata;
pub mod payloads;
pub mod records;
pub mod replies;
pub mod requests;
pub mod snapshot_files;
pub mod store_dumps;
