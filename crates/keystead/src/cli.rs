//! The command line of the program `keystead`: verbs, flags, exit codes.
//!
//! Owns: what each verb is called and takes. Never: does a verb's work; that stands in a file of its own.
//! Messages for people go to standard error, results to standard output. Called by: `main.rs`.

mod cluster;
mod config;
mod dev;
mod logging;
pub(crate) mod replicas;
mod serve;
mod settings;
#[cfg(unix)]
mod torture;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use keystead::config::Address;
use keystead_client::ConnectOptions;

use crate::shell::render::Format;
use crate::shell::{self, Options};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed (the server answered with an error, the node stopped on one), \
2 wrong usage or settings, 3 no connection.";

/// Longest wait for a reply. A person waits for as long as the command does (BLPOP, WAIT) and has Ctrl-C.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// What was asked failed.
    Failed = 1,
    /// The command line, a statement or the settings are wrong.
    Usage = 2,
    /// The server cannot be reached, or was lost.
    Connection = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A distributed key-value store that keeps what it has acknowledged.
#[derive(Debug, Parser)]
#[command(name = "keystead", version, after_help = EXIT_CODES, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a node.
    Serve(serve::ServeArgs),
    /// Run a local cluster of several processes in this terminal.
    Dev(dev::DevArgs),
    /// Print every setting, its value and where it came from.
    Config(config::ConfigArgs),
    /// Talk to a server: put, get, update, and every Redis command.
    Shell(ShellArgs),
    /// Look at a running cluster.
    Cluster(cluster::ClusterArgs),
    /// Break a cluster on purpose under load, and judge what its clients were told.
    #[cfg(unix)]
    Torture(torture::TortureArgs),
    /// Print the version.
    Version,
    /// Print a page of the reference.
    #[command(hide = true)]
    Reference {
        /// Which page.
        page: ReferencePage,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ReferencePage {
    /// All settings.
    Settings,
    /// All commands.
    Commands,
}

/// How to reach a server.
#[derive(Debug, Args)]
struct Target {
    /// The server, HOST:PORT.
    #[arg(default_value = "127.0.0.1:7379", value_name = "ADDR")]
    address: Address,
    /// User to log in as.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Password; prefer the variable, since flags are visible to every user of the machine.
    #[arg(long, env = "KEYSTEAD_PASSWORD", hide_env_values = true, value_name = "TEXT")]
    password: Option<String>,
}

impl Target {
    fn options(&self) -> ConnectOptions {
        ConnectOptions {
            username: self.user.clone(),
            password: self.password.clone(),
            client_name: Some("keystead-shell".to_owned()),
            command_timeout: COMMAND_TIMEOUT,
            ..ConnectOptions::default()
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct ShellArgs {
    #[command(flatten)]
    target: Target,
    /// Carry out a statement and leave; may be given several times.
    #[arg(short, long = "command", value_name = "STATEMENT")]
    command: Vec<String>,
    /// Database to select.
    #[arg(short = 'n', long, default_value_t = 0, value_name = "NUMBER")]
    database: u16,
    /// How to show replies [default: pretty on a terminal, raw elsewhere].
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Short for --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Go on after a statement that failed; the exit code is that of the first failure.
    #[arg(long)]
    keep_going: bool,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Exit {
    match CommandLine::parse().verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Dev(args) => dev::run(&args),
        Verb::Config(args) => config::run(&args),
        Verb::Shell(args) => shell::run(Options {
            address: args.target.address.clone(),
            connect: ConnectOptions { database: args.database, ..args.target.options() },
            commands: args.command,
            format: if args.json { Some(Format::Json) } else { args.format },
            keeps_going: args.keep_going,
        }),
        Verb::Cluster(args) => cluster::run(&args),
        #[cfg(unix)]
        Verb::Torture(args) => torture::run(args),
        Verb::Version => print(concat!("keystead ", env!("CARGO_PKG_VERSION"), "\n")),
        Verb::Reference { page: ReferencePage::Settings } => {
            print(&keystead::config::reference::settings_reference())
        }
        Verb::Reference { page: ReferencePage::Commands } => {
            print(&keystead_store::command::reference())
        }
    }
}

/// Writes a result. A reader that has gone away, as in `keystead config | head -1`, is no failure.
fn print(text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
        _ => Exit::Ok,
    }
}

/// Writes a message for a person.
fn complain(message: impl std::fmt::Display) {
    // Nobody is left to tell if standard error is gone.
    drop(writeln!(std::io::stderr(), "keystead: {message}"));
}
