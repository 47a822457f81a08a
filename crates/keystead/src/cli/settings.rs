//! The flags that set settings: one for each row of the table, and `--config`.
//!
//! Owns: how the table becomes flags. Never: reads a value; `keystead::config` does, so that a flag is read
//! as the file and the environment are.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};
use keystead::config::{Config, ConfigError, Inputs, Loaded, SETTINGS, Setting};

use super::complain;

const FILE_FLAG: &str = "config";

/// The settings named on the command line.
#[derive(Debug, Default)]
pub(crate) struct SettingFlags {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

impl SettingFlags {
    /// Reads the file and the environment, and lays the flags over them.
    pub(crate) fn load(&self) -> Result<Loaded, ConfigError> {
        let loaded = Config::load(&Inputs {
            file: self.file.clone(),
            environment: std::env::vars_os().collect(),
            flags: self.flags.clone(),
        })?;
        for (variable, setting) in &loaded.doubtful_variables {
            complain(format_args!(
                "the variable {variable} names no setting and is ignored; did you mean {setting}?"
            ));
        }
        Ok(loaded)
    }
}

impl clap::Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE_FLAG)
            .long(FILE_FLAG)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Settings file, TOML [env: KEYSTEAD_CONFIG]");
        SETTINGS.iter().fold(command.arg(file), |command, setting| command.arg(flag(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &Setting) -> Arg {
    let doc: Vec<&str> = setting.doc.iter().map(|line| line.trim()).collect();
    let default = setting.render(&Config::default());
    let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
    Arg::new(setting.name)
        .long(setting.flag())
        .value_name(setting.accepts.placeholder())
        .action(ArgAction::Append)
        .help(format!("{}{default}", doc.join(" ")))
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut this = Self::default();
        this.update_from_arg_matches(matches)?;
        Ok(this)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(FILE_FLAG).cloned();
        for setting in SETTINGS {
            let values = matches.get_many::<String>(setting.name).into_iter().flatten();
            self.flags.extend(values.map(|text| (setting.name.to_owned(), text.clone())));
        }
        Ok(())
    }
}
