//! `keystead config`: every setting, its value, and where it came from.
//! Owns: the choice of form. Never: wording, which stands in `keystead::config::reference`.

use clap::{Args, ValueEnum};

use super::settings::SettingFlags;
use super::{Exit, complain, print};

/// What `keystead config` takes: the flags of `serve`, to see what they would give.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Form of the listing.
    #[arg(long, value_enum, default_value = "toml")]
    format: ListingFormat,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ListingFormat {
    /// A settings file, the source of each value behind it.
    Toml,
    /// An object of JSON.
    Json,
}

/// Prints the settings as a node would use them.
pub(crate) fn run(args: &ConfigArgs) -> Exit {
    match args.settings.load() {
        Ok(loaded) => match args.format {
            ListingFormat::Toml => print(&loaded.to_toml()),
            ListingFormat::Json => print(&format!("{:#}\n", loaded.to_json())),
        },
        Err(error) => {
            complain(error);
            Exit::Usage
        }
    }
}
