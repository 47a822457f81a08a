//! `keystead dev`: a local cluster of real processes in one terminal.
//!
//! Owns: the processes (a supervision tree of their own: a node that is killed is started again), their
//! addresses and directories, the lines they print, a clean end. Never: a node within this process; each is
//! `keystead serve`, so that `kill -9` does here what it does anywhere.
//!
//! Node K listens for clients on PORT + K - 1 and for nodes 10,000 above, and keeps its data in DIR/nK; the
//! next `dev` with the same directory finds the same cluster. Each node is in a process group of its own: Ctrl-C
//! reaches only this process, which asks every node once.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::{Args, Parser};
use keystead::Config;
use keystead::config::ConfigError;
use keystead_client::{Client, ConnectOptions};
use keystead_supervisor::{
    ChildContext, ChildError, ChildSpec, ExitReason, Intensity, Restart, SpecError, Strategy,
    Supervisor, SupervisorSpec,
};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::settings::SettingFlags;
use super::{Exit, complain};
use crate::shell::wants_colour;

/// What `keystead dev` takes.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Number of nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9), value_name = "N")]
    nodes: u16,
    /// Directory of the nodes' data; it is kept.
    #[arg(long, default_value = "./keystead-dev", value_name = "DIR")]
    data: PathBuf,
    /// Port of the first node; the others follow it.
    #[arg(long, default_value_t = 7379, value_parser = clap::value_parser!(u16).range(1024..=55_000), value_name = "PORT")]
    port: u16,
    /// Flags for every node, as in `keystead dev -- --durability replicated`.
    #[arg(last = true, value_name = "SERVE-FLAGS")]
    serve_flags: Vec<OsString>,
}

/// The flags of a node, read before it starts.
#[derive(Debug, Parser)]
struct NodeFlags {
    #[command(flatten)]
    settings: SettingFlags,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
enum DevError {
    /// The flags for the nodes are none of `serve`.
    #[error("the flags behind -- are those of keystead serve: {0}")]
    Flags(#[from] clap::Error),
    /// The nodes' settings are wrong.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// A port is taken.
    #[error("cannot use port {port}: {source}; end what uses it, or choose others with --port")]
    Port { port: u16, source: io::Error },
    /// The event loop or a signal handler cannot be set up.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// The tree was refused.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A node kept failing.
    #[error("{reason}; its last lines above say why")]
    Failed { reason: String },
}

/// The distance between a node's port for clients and its port for nodes.
const PEER_PORT_OFFSET: u16 = 10_000;
/// A node that was killed is back within a second; one that cannot start ends the whole soon.
const INTENSITY: Intensity = Intensity {
    restarts_max: 5,
    window: Duration::from_secs(60),
    backoff_first: Duration::from_millis(500),
    backoff_max: Duration::from_secs(4),
};
/// Time a node has to drain and stop.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Time after which nobody waits any more to announce that the cluster is up.
const GREETING_DEADLINE: Duration = Duration::from_secs(60);
/// Pause between two looks at a cluster that is not up yet.
const GREETING_PAUSE: Duration = Duration::from_millis(200);
/// Longest piece of a log line that is printed as one, bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Colours of the nodes' names.
const COLOURS: [&str; 6] = ["36", "33", "35", "32", "34", "31"];

/// Runs the cluster until Ctrl-C.
pub(crate) fn run(args: &DevArgs) -> Exit {
    match run_cluster(args) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            complain(&error);
            match error {
                DevError::Flags(_) | DevError::Settings(_) => Exit::Usage,
                _ => Exit::Failed,
            }
        }
    }
}

fn run_cluster(args: &DevArgs) -> Result<(), DevError> {
    let nodes = Node::all(args)?;
    let mut password = None;
    for node in &nodes {
        password = node.settings()?.requirepass.reveal().map(str::to_owned);
        node.check_ports()?;
    }
    let options = ConnectOptions {
        password,
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        ..ConnectOptions::default()
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let interrupted = stop_requests()?;
        let tree = Supervisor::start(cluster_spec(&nodes, &options), &Handle::current())?;
        let ended = tokio::select! {
            ended = tree.wait() => ended,
            () = interrupted => {
                announce("stopping");
                tree.stop().await
            }
        };
        match ended {
            ExitReason::Stopped => Ok(()),
            ExitReason::Failed(failure) => Err(DevError::Failed { reason: failure.to_string() }),
        }
    })
}

fn cluster_spec(nodes: &[Node], options: &ConnectOptions) -> SupervisorSpec {
    let mut spec = SupervisorSpec::new("dev", Strategy::OneForOne).intensity(INTENSITY);
    for node in nodes {
        let node = node.clone();
        let child = ChildSpec::task(node.name.clone(), move |context| node.clone().run(context));
        spec = spec.child(child.shutdown_grace(STOP_GRACE));
    }
    let (nodes, options) = (nodes.to_vec(), options.clone());
    let greeter =
        ChildSpec::task("greeter", move |context| greet(nodes.clone(), options.clone(), context));
    spec.child(greeter.restart(Restart::Temporary))
}

/// One process of the cluster.
#[derive(Clone, Debug)]
struct Node {
    name: String,
    program: PathBuf,
    flags: Vec<OsString>,
    client_port: u16,
    data: PathBuf,
    prefix: String,
}

impl Node {
    fn all(args: &DevArgs) -> Result<Vec<Self>, io::Error> {
        let program = std::env::current_exe()?;
        let is_coloured = io::stdout().is_terminal() && wants_colour();
        let peers = (0..args.nodes).map(|node| local(args.port + node + PEER_PORT_OFFSET));
        let peers = peers.map(|peer| peer.to_string()).collect::<Vec<_>>().join(",");
        let nodes = (0..args.nodes).map(|position| {
            let name = format!("n{}", position + 1);
            let client_port = args.port + position;
            let data = args.data.join(&name);
            let mut flags: Vec<OsString> = vec!["serve".into()];
            let mut set = |flag: &str, value: OsString| flags.extend([flag.into(), value]);
            set("--listen", local(client_port).to_string().into());
            set("--peer", local(client_port + PEER_PORT_OFFSET).to_string().into());
            set("--data", data.clone().into());
            if args.nodes > 1 {
                set("--join", peers.clone().into());
                set("--expect", args.nodes.to_string().into());
            }
            flags.extend(args.serve_flags.iter().cloned());
            let prefix = match COLOURS[usize::from(position) % COLOURS.len()] {
                colour if is_coloured => format!("\x1b[{colour}m{name}|\x1b[0m "),
                _ => format!("{name}| "),
            };
            Self { name, program: program.clone(), flags, client_port, data, prefix }
        });
        Ok(nodes.collect())
    }

    /// The settings that the process will read, so that a mistake is told once, before any node starts.
    fn settings(&self) -> Result<Config, DevError> {
        Ok(NodeFlags::try_parse_from(&self.flags)?.settings.load()?.config)
    }

    /// Fails early and in plain words where every node would fail in its own.
    fn check_ports(&self) -> Result<(), DevError> {
        for port in [self.client_port, self.client_port + PEER_PORT_OFFSET] {
            TcpListener::bind(local(port)).map_err(|source| DevError::Port { port, source })?;
        }
        Ok(())
    }

    /// The process from its start to its end. It fails if the process ends unasked.
    async fn run(self, context: ChildContext) -> Result<(), ChildError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command.spawn()?;
        announce(&format!("{} is process {}", self.name, process.id().unwrap_or(0)));
        let (out, err) = (process.stdout.take(), process.stderr.take());
        let (status, (), ()) = tokio::join!(
            watch(&mut process, &context),
            print_lines(out, &self.prefix),
            print_lines(err, &self.prefix)
        );
        let status = status?;
        if context.shutdown_requested() {
            return Ok(());
        }
        announce(&format!("{} ended ({status}); it is started again", self.name));
        Err(Box::new(Ended { status }))
    }
}

/// A node's process ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("the process ended ({status})")]
struct Ended {
    status: ExitStatus,
}

/// Waits for the end of the process, and asks for it when the tree stops.
async fn watch(process: &mut Child, context: &ChildContext) -> io::Result<ExitStatus> {
    tokio::select! {
        status = process.wait() => return status,
        () = context.shutdown() => ask_to_stop(process)?,
    }
    process.wait().await
}

#[cfg(unix)]
fn ask_to_stop(process: &Child) -> io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};

    let id = process.id().and_then(|id| i32::try_from(id).ok());
    match id.and_then(Pid::from_raw) {
        Some(id) => Ok(kill_process(id, Signal::TERM)?),
        None => Ok(()),
    }
}

/// Without signals there is no way to ask.
#[cfg(not(unix))]
fn ask_to_stop(process: &mut Child) -> io::Result<()> {
    process.start_kill()
}

/// Prints what a process writes, a prefix before each line, until the process closes its end.
async fn print_lines(stream: Option<impl AsyncRead + Unpin>, prefix: &str) {
    let Some(stream) = stream else { return };
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(LINE_BYTES_MAX);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => print(prefix, &line),
        }
    }
}

/// Prints one line. If the terminal is gone, the nodes go on until they are stopped.
fn print(prefix: &str, line: &[u8]) {
    let mut out = io::stdout().lock();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    drop(out.write_all(&[prefix.as_bytes(), line, b"\n"].concat()));
}

fn announce(text: &str) {
    print("dev| ", text.as_bytes());
}

/// Says how to connect once every slot is served and every replica level.
async fn greet(
    nodes: Vec<Node>,
    options: ConnectOptions,
    context: ChildContext,
) -> Result<(), ChildError> {
    let addresses: Vec<String> = nodes.iter().map(|n| local(n.client_port).to_string()).collect();
    let deadline = Instant::now() + GREETING_DEADLINE;
    let mut looks = interval(GREETING_PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = context.shutdown() => return Ok(()),
        }
        if all_see_all(&addresses, &options).await {
            break "is up";
        }
        if Instant::now() >= deadline {
            break "is not complete yet";
        }
    };
    announce(&format!("the cluster of {} {state}", nodes.len()));
    for (node, address) in nodes.iter().zip(&addresses) {
        announce(&format!("  {}  {address}  data in {}", node.name, node.data.display()));
    }
    announce(&format!("connect with: keystead shell {}", addresses[0]));
    announce(&format!("or with:      redis-cli -p {}", nodes[0].client_port));
    announce("Ctrl-C stops all nodes; one that is killed is started again");
    Ok(())
}

/// Asks every node: one that has not joined yet does not know what is missing.
async fn all_see_all(addresses: &[String], options: &ConnectOptions) -> bool {
    for address in addresses {
        if !sees_all(address, addresses.len(), options).await {
            return false;
        }
    }
    true
}

/// True if the node knows so many nodes, every slot is served, and every replica is level.
async fn sees_all(address: &str, nodes: usize, options: &ConnectOptions) -> bool {
    let Ok(mut client) = Client::connect(address, options.clone()).await else { return false };
    let Ok(reply) = client.command(&["CLUSTER", "INFO"]).await else { return false };
    let text = reply.as_str().unwrap_or("");
    let says = |wanted: &str| text.lines().any(|line| line == wanted);
    says("cluster_state:ok")
        && says("keystead_replication:full")
        && says(&format!("cluster_known_nodes:{nodes}"))
}

/// Completes at the first Ctrl-C, SIGTERM or SIGHUP after this call.
#[cfg(unix)]
pub(super) fn stop_requests() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// Completes at the first Ctrl-C after this call.
#[cfg(not(unix))]
pub(super) fn stop_requests() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move { drop(interrupt.recv().await) })
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
