//! Where log events go: standard error, as text or JSON, from the level that is set.
//! Owns: the subscriber of the process. Never: an event. Called once, by the verb that runs a node.

use std::io::{self, IsTerminal as _};

use keystead::Config;
use keystead::config::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;

use crate::shell::wants_colour;

/// Installs the subscriber. A second call changes nothing.
pub(crate) fn start(config: &Config) {
    let level = match config.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let has_colour = io::stderr().is_terminal() && wants_colour();
    let lines = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_ansi(has_colour);
    let installed = match config.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Only a second call fails, and then the first one's subscriber does the work.
    drop(installed);
}
