//! `keystead torture`: the command line of the torture.
//!
//! Owns: flags, Ctrl-C, what is printed where: progress to standard error, the verdict to standard output. Never: the
//! torture itself (see the library's `torture`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use keystead::config::Address;
use keystead::torture::{self, Fault, Ground, Options, Report, Stop, TortureError, Verdict};
use keystead_supervisor::{ChildSpec, Restart, Strategy, Supervisor, SupervisorSpec};
use keystead_types::Clock as _;
use keystead_types::time::SystemClock;
use tokio::runtime::{Builder, Runtime};

use super::{Exit, complain, dev, print};

const EXIT_CODES: &str = "\
Exit codes: 0 PASS; 1 FAIL, or the torture could not be carried out; 2 UNKNOWN (nothing was found, but not everything \
that was asked for happened), or wrong usage.";
/// Faults that a client can make by itself.
const OF_CLIENTS: &[Fault] = &[Fault::HangUp];

/// What `keystead torture` takes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct TortureArgs {
    /// Nodes of a running cluster, which is then loaded and judged but not broken. Without any, nodes are started.
    #[arg(value_name = "ADDR")]
    addresses: Vec<Address>,
    /// Number of nodes to start.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9), value_name = "N", conflicts_with = "addresses")]
    nodes: u8,
    /// Number of shards of the cluster that is started.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N", conflicts_with = "addresses")]
    shards: u32,
    /// How long faults come; fractions are taken.
    #[arg(long, default_value_t = 10.0, value_name = "MINUTES")]
    minutes: f64,
    /// Faults, of kill, pause, partition, slow-link, disk-full, power-loss, hang-up [default: all that may be].
    #[arg(long, value_delimiter = ',', value_parser = fault, value_name = "FAULT,...")]
    faults: Vec<Fault>,
    /// The order of the faults follows from it [default: drawn, and printed].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The setting `durability` of the nodes that are started.
    #[arg(long, default_value = "fsync", value_parser = ["fsync", "replicated"], conflicts_with = "addresses")]
    durability: String,
    /// Number of clients [default: one for each shard and node, and 16 that change nodes].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4000), value_name = "N")]
    clients: Option<u16>,
    /// Where a directory for the run is made, on the disk that is to be tested.
    #[arg(
        long,
        default_value = "./keystead-torture",
        value_name = "DIR",
        conflicts_with = "addresses"
    )]
    data: PathBuf,
    /// Keep data, logs and the keys of a running cluster also if the run does not fail.
    #[arg(long)]
    keep: bool,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
    /// User to log in as.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Password; prefer the variable, since flags are visible to every user of the machine.
    #[arg(long, env = "KEYSTEAD_PASSWORD", hide_env_values = true, value_name = "TEXT")]
    password: Option<String>,
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = Fault::ALL.map(Fault::name).join(", ");
    Fault::of_name(name).ok_or_else(|| format!("no such fault; there are {names}"))
}

/// Carries the torture out and prints the verdict.
pub(crate) fn run(args: TortureArgs) -> Exit {
    let is_json = args.json;
    let options = match options(args) {
        Ok(options) => options,
        Err(what) => {
            complain(what);
            return Exit::Usage;
        }
    };
    complain(format!("torture with seed {}; Ctrl-C ends it", options.seed));
    match carry_out(&options) {
        Ok(report) => {
            let exit = match report.verdict {
                Verdict::Pass => Exit::Ok,
                Verdict::Fail => Exit::Failed,
                // The same code as wrong usage: neither of them says anything about the cluster.
                Verdict::Unknown => Exit::Usage,
            };
            match print(&if is_json { report.to_json() + "\n" } else { report.to_string() }) {
                Exit::Ok => exit,
                failed => failed,
            }
        }
        Err(error) => {
            complain(error);
            Exit::Failed
        }
    }
}

fn options(args: TortureArgs) -> Result<Options, String> {
    let is_own = args.addresses.is_empty();
    let possible = if is_own { &Fault::ALL[..] } else { OF_CLIENTS };
    let faults = if args.faults.is_empty() { possible.to_vec() } else { args.faults };
    if let Some(fault) = faults.iter().find(|fault| !possible.contains(fault)) {
        let name = fault.name();
        return Err(format!(
            "{name} is not done to a running cluster: leave out the addresses, or the fault"
        ));
    }
    let time = Duration::try_from_secs_f64(args.minutes * 60.0)
        .map_err(|error| format!("--minutes {}: {error}", args.minutes))?;
    let ground = if is_own {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find this program: {error}"))?;
        Ground::Own {
            nodes: usize::from(args.nodes),
            shards: args.shards,
            durability: args.durability,
            program,
            dir: args.data,
        }
    } else {
        let login = torture::wire::Login { user: args.user, password: args.password };
        Ground::Running {
            addresses: args.addresses.iter().map(Address::to_string).collect(),
            login,
        }
    };
    let seed = args.seed.unwrap_or_else(|| SystemClock::new().unix_now().0);
    Ok(Options {
        ground,
        time,
        faults,
        seed,
        clients: args.clients.map(usize::from),
        keeps: args.keep,
    })
}

fn carry_out(options: &Options) -> Result<Report, TortureError> {
    let stop = Stop::default();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(TortureError::Clients)?;
    let listener = listen_for_signals(&runtime, &stop)?;
    let report = torture::run(options, &stop, &|line| complain(line));
    runtime.block_on(listener.stop());
    report
}

/// The child that hears Ctrl-C and passes the word on.
fn listen_for_signals(
    runtime: &Runtime,
    stop: &Stop,
) -> Result<keystead_supervisor::SupervisorHandle, TortureError> {
    let stop = stop.clone();
    let child = ChildSpec::task("signals", move |context| {
        let stop = stop.clone();
        async move {
            tokio::select! {
                () = dev::stop_requests()? => {
                    complain("stopping; the verdict on what was seen follows");
                    stop.request();
                }
                () = context.shutdown() => {}
            }
            Ok(())
        }
    });
    let spec = SupervisorSpec::new("torture", Strategy::OneForOne)
        .child(child.restart(Restart::Temporary));
    Ok(Supervisor::start(spec, runtime.handle())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: TortureArgs,
    }

    fn parse(words: &[&str]) -> Result<Options, String> {
        let line =
            Line::try_parse_from([&["torture"], words].concat()).map_err(|e| e.to_string())?;
        options(line.args)
    }

    #[test]
    fn without_addresses_everything_is_broken() {
        let options = parse(&["--minutes", "0.5", "--seed", "7"]).unwrap();
        assert_eq!(options.faults, Fault::ALL);
        assert_eq!((options.time, options.seed), (Duration::from_secs(30), 7));
        assert!(matches!(options.ground, Ground::Own { nodes: 3, .. }));
    }

    #[test]
    fn faults_are_chosen_by_name() {
        let options = parse(&["--faults", "kill,power-loss"]).unwrap();
        assert_eq!(options.faults, [Fault::Kill, Fault::PowerLoss]);
        assert!(parse(&["--faults", "meteor"]).unwrap_err().contains("slow-link"));
    }

    #[test]
    fn a_running_cluster_is_not_broken() {
        let options = parse(&["127.0.0.1:7379"]).unwrap();
        assert_eq!(options.faults, [Fault::HangUp]);
        assert!(parse(&["--faults", "kill", "127.0.0.1:7379"]).unwrap_err().contains("kill"));
        parse(&["--nodes", "5", "127.0.0.1:7379"]).unwrap_err();
    }
}
