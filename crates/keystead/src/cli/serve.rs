//! `keystead serve`: a node, until it is asked to stop.
//! Owns: from flags to a running node, and the exit code. Never: what a node does (`keystead::server`).

use clap::Args;
use keystead::server;

use super::settings::SettingFlags;
use super::{Exit, complain, logging};

/// What `keystead serve` takes: the settings.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingFlags,
}

/// Runs a node to its end.
pub(crate) fn run(args: &ServeArgs) -> Exit {
    let loaded = match args.settings.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(error);
            return Exit::Usage;
        }
    };
    logging::start(&loaded.config);
    match server::run(loaded.config) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}
