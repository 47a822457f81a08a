//! A node with its gateway, in one supervision tree: what `keystead serve` runs, and what an
//! embedded handle holds.
//!
//! Owns: the root of the tree, the runtime of its tasks, starting and stopping in order, signals.
//! Never: what a child does. The root is rest_for_one: a child that falls takes along those after it.
//!
//! ```text
//! root - log (writer, preparer) - transport - snapshots (writer, fetcher) - workers (worker-0, ...)
//!      - shards (metadata, shard-1, ...) - control (keeper, membership, reconcile, sync, pacer)
//!      - gateway (io-0, ..., listener)
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keystead_gateway::{Gateway, GatewayConfig, GatewayError};
use keystead_node::eviction::Limit;
use keystead_node::{CoreSettings, Node, NodeSettings, OnFatal, StartError, children};
use keystead_store::Policy;
use keystead_supervisor::{
    ChildContext, ChildSpec, ExitReason, Failure, Faults, Intensity, SpecError, Strategy,
    Supervisor, SupervisorHandle, SupervisorSpec,
};
use keystead_types::Clock;
use keystead_types::limits::{NODES_EXPECTED_MIN, SHARDS_MAX, SHARDS_MIN};
use keystead_types::time::SystemClock;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::config::{Config, Durability, Routing, SETTINGS};
use crate::faults::FaultFile;

/// How long a stopping node waits for other nodes to take over its leaderships.
const RESIGN_MAX: Duration = Duration::from_secs(2);
/// How long a thread of the gateway may take to end: longer than its connections have to drain.
const GATEWAY_GRACE: Duration = Duration::from_secs(5);
/// How long clients wait for a node that starts before they are told that it knows no cluster yet.
const FOUNDING_MAX: Duration = Duration::from_secs(2);
/// How often a condition of the node is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Exit code of a process whose log failed (EX_IOERR of sysexits).
const LOG_FAILED: i32 = 74;

/// Why a node cannot start, or ended although nobody asked it to.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The node: its identity, its log, its peer listener.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The client listener.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The runtime of the control tasks, or the handling of signals.
    #[error(
        "cannot start the node's event loop: {source}; is the limit of threads or open files too low?"
    )]
    Runtime {
        /// What the system says.
        #[from]
        source: std::io::Error,
    },
    /// The supervision tree was not accepted: a mistake in this program.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The supervision tree gave up.
    #[error("the node stops: {0}")]
    Failed(Failure),
}

/// A node that runs. Stops when dropped, without handing its leaderships over.
pub struct Server {
    node: Arc<Node>,
    tree: SupervisorHandle,
    client_address: Option<SocketAddr>,
    clients: Option<Arc<ClientListener>>,
    /// Dropped last: everything above runs on it.
    runtime: Option<Runtime>,
}

/// How a server differs from what its settings say; for embedding and for tests.
#[derive(Clone)]
pub struct ServerOptions {
    /// Serve Redis clients on `listen`.
    pub serves_clients: bool,
    /// Faults that a test may arm.
    pub faults: Faults,
    /// What ends the process when the log fails; tests put something else in its place.
    pub on_fatal: OnFatal,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let on_fatal: OnFatal = Arc::new(|error| {
            tracing::error!(%error, "the log failed; this process ends");
            std::process::exit(LOG_FAILED);
        });
        Self { serves_clients: true, faults: Faults::disabled(), on_fatal }
    }
}

impl Server {
    /// Opens the data directory, binds the listeners, starts the tree. Blocks while the log is read.
    ///
    /// # Errors
    /// [`ServerError`]: nothing runs then.
    pub fn start(config: &Config, options: ServerOptions) -> Result<Self, ServerError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let listener =
            if options.serves_clients { Some(Gateway::bind(config.listen)?) } else { None };
        let client_address =
            listener.as_ref().map(std::net::TcpListener::local_addr).transpose()?;
        let node = Node::open(node_settings(config, client_address), Arc::clone(&clock))?;
        node.core.bus.eviction().set_default(memory_limit(config));
        let mut spec = SupervisorSpec::new("root", Strategy::RestForOne).intensity(Intensity {
            restarts_max: 5,
            window: Duration::from_secs(60),
            ..Intensity::default()
        });
        for child in children(&node, options.on_fatal) {
            spec = spec.child(child);
        }
        let clients = listener.map(|listener| Arc::new(ClientListener::new(listener)));
        if let Some(clients) = &clients {
            let gateway = Gateway::new(
                GatewayConfig { bus: Arc::clone(&node.core.bus), ..gateway_config(config) },
                clock,
                node.identity().incarnation,
            );
            spec = spec.child(ChildSpec::supervisor(gateway_children(&node, &gateway, clients)));
        }
        let mut faults = options.faults;
        if let Some(file) = FaultFile::from_environment() {
            faults = file.faults();
            spec = spec.child(file.child());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("control")
            .enable_all()
            .build()?;
        let tree = Supervisor::start_with_faults(spec, runtime.handle(), faults)?;
        node.set_tree(tree.tree());
        Ok(Self { node, tree, client_address, clients, runtime: Some(runtime) })
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Where clients are served, if they are.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.client_address
    }

    /// The supervision tree.
    #[must_use]
    pub fn tree(&self) -> &SupervisorHandle {
        &self.tree
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until the server is dropped")
    }

    /// Runs a future on the server's runtime and waits for it. Must not be called on that runtime.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    /// Hands leaderships over, lets connections finish, closes the log, ends every thread.
    ///
    /// # Errors
    /// [`ServerError::Failed`] if a child had to be given up on the way; what was acknowledged is on disk.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.block_on(self.stop_in_order())
    }

    async fn stop_in_order(&self) -> Result<(), ServerError> {
        self.node.resign(RESIGN_MAX).await;
        self.close_listener();
        ended(self.tree.stop().await)
    }

    /// Leaves the listening socket to the listener, which closes it when it is stopped.
    fn close_listener(&self) {
        if let Some(clients) = &self.clients {
            clients.give_up();
        }
    }

    /// Waits until the tree ends by itself, or a signal asks for it; then stops in order.
    fn run_until_signal(&self) -> Result<(), ServerError> {
        self.block_on(async {
            let signal = signal()?;
            tokio::select! {
                reason = self.tree.wait() => ended(reason),
                name = signal => {
                    tracing::info!(signal = name, "stopping");
                    self.stop_in_order().await
                }
            }
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close_listener();
        self.tree.request_stop();
        if let Some(runtime) = self.runtime.take() {
            // Dropped on one of its own threads it could not wait for them.
            if tokio::runtime::Handle::try_current().is_ok() {
                runtime.shutdown_background();
            } else {
                drop(runtime.block_on(self.tree.wait()));
            }
        }
    }
}

/// Runs a node until it is asked to stop by a signal (SIGTERM, SIGINT) or cannot go on.
///
/// # Errors
/// [`ServerError`].
pub fn run(config: Config) -> Result<(), ServerError> {
    let server = Server::start(&config, ServerOptions::default())?;
    let address = server.client_address().unwrap_or(config.listen);
    tracing::info!(
        node = %server.node.core.me,
        peers = %server.node.peer_address(),
        data = %config.data.display(),
        "keystead {} listens on {address}; connect with `keystead shell {address}` or `redis-cli -h {} -p {}`",
        env!("CARGO_PKG_VERSION"), address.ip(), address.port(),
    );
    let ended = server.run_until_signal();
    if ended.is_ok() {
        tracing::info!("stopped");
    }
    ended
}

fn ended(reason: ExitReason) -> Result<(), ServerError> {
    match reason {
        ExitReason::Stopped => Ok(()),
        ExitReason::Failed(failure) => Err(ServerError::Failed(failure)),
    }
}

/// The next signal that asks the process to stop.
#[cfg(unix)]
fn signal() -> std::io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

#[cfg(not(unix))]
fn signal() -> std::io::Result<impl Future<Output = &'static str>> {
    Ok(async {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    })
}

/// The socket that clients connect to. It outlives the listener, a child that may fall and start again,
/// but not the server: a socket that listens while nobody accepts resets its clients at the end.
#[derive(Debug)]
struct ClientListener {
    socket: Mutex<Option<std::net::TcpListener>>,
}

impl ClientListener {
    fn new(socket: std::net::TcpListener) -> Self {
        Self { socket: Mutex::new(Some(socket)) }
    }

    /// The socket, for one start of the listener.
    fn open(&self) -> std::io::Result<std::net::TcpListener> {
        let closed = || std::io::Error::new(std::io::ErrorKind::NotConnected, "the server stops");
        self.socket.lock().as_ref().ok_or_else(closed)?.try_clone()
    }

    fn give_up(&self) {
        self.socket.lock().take();
    }
}

fn gateway_children(
    node: &Arc<Node>,
    gateway: &Gateway,
    listener: &Arc<ClientListener>,
) -> SupervisorSpec {
    let mut spec = SupervisorSpec::new("gateway", Strategy::OneForOne).intensity(Intensity {
        restarts_max: 10,
        window: Duration::from_secs(60),
        ..Intensity::default()
    });
    for position in 0..gateway.io_thread_count() {
        let (node, gateway) = (Arc::clone(node), gateway.clone());
        let body = move |context: ChildContext| {
            let door = |wake: keystead_gateway::Wake| node.door(Arc::new(move || wake.wake()));
            gateway.run_io_child(position, &context, door)?;
            Ok(())
        };
        spec = spec.child(
            ChildSpec::thread(format!("io-{position}"), body)
                .shutdown_grace(GATEWAY_GRACE)
                .ready_within(GATEWAY_GRACE),
        );
    }
    let (node, gateway, listener) = (Arc::clone(node), gateway.clone(), Arc::clone(listener));
    let accept = move |context: ChildContext| {
        let (node, gateway, listener) = (Arc::clone(&node), gateway.clone(), Arc::clone(&listener));
        async move {
            let listener = listener.open()?;
            let shutdown = context.shutdown_signal();
            // Clients that come while the node starts wait in the listener's queue; a node that waits for
            // others to join tells its clients so.
            let deadline = tokio::time::Instant::now() + FOUNDING_MAX;
            while node.cluster_view().shards.is_empty() && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            tokio::select! {
                ended = gateway.accept(listener, &shutdown) => Ok(ended?),
                fault = context.fault("listener") => Err(fault.into()),
            }
        }
    };
    spec.child(ChildSpec::task("listener", accept))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Shards of a cluster of `expected` nodes like this one: as many leaders a node as it has cores.
///
/// A core drives one group at a time, so that more groups than cores make nothing faster, and each that has little to
/// write costs a message, a log record and a commit of its own (ADR 12).
fn shards_for(cores: usize, expected: u32) -> u32 {
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    cores.saturating_mul(expected.max(NODES_EXPECTED_MIN)).clamp(SHARDS_MIN, SHARDS_MAX)
}

fn node_settings(config: &Config, client_address: Option<SocketAddr>) -> NodeSettings {
    let tick = Duration::from_millis(config.tick_ms);
    let ticks =
        u32::try_from(config.election_timeout_ms / config.tick_ms.max(1)).unwrap_or(u32::MAX);
    let durability = match config.durability {
        Durability::Fsync => keystead_replication::Durability::Fsync,
        Durability::Replicated => keystead_replication::Durability::Replicated,
    };
    let defaults = keystead_replication::Settings::default();
    let snapshot_log_bytes = usize::try_from(config.snapshot_log_bytes).unwrap_or(usize::MAX);
    let replication = keystead_replication::Settings {
        tick,
        election_ticks: ticks,
        // Five heartbeats an election timeout: four may be lost or late before anybody campaigns.
        heartbeat_ticks: (ticks / 5).max(1),
        durability,
        snapshot_log_bytes,
        memory_log_bytes: defaults.memory_log_bytes.min(snapshot_log_bytes),
        lagging_log_bytes_max: defaults
            .lagging_log_bytes_max
            .min(snapshot_log_bytes.saturating_mul(4)),
        ..defaults
    };
    let advertised = config.advertise_listen.as_ref().map(ToString::to_string);
    NodeSettings {
        data_dir: config.data.clone(),
        client_address: advertised
            .or_else(|| client_address.map(|address| address.to_string()))
            .unwrap_or_default(),
        peer_listen: config.peer,
        peer_address: config.advertise_peer.as_ref().map(ToString::to_string).unwrap_or_default(),
        join: config.join.iter().map(ToString::to_string).collect(),
        expect: usize::try_from(config.expect).ok().filter(|expect| *expect > 0),
        shards: if config.shards == 0 { shards_for(cores(), config.expect) } else { config.shards },
        replace_after: Duration::from_millis(config.node_grace_ms),
        zone: config.zone.clone(),
        workers: if config.workers == 0 { (cores() / 4).max(1) } else { config.workers },
        replication,
        core: CoreSettings {
            patience: Duration::from_millis(config.write_timeout_ms),
            routing: match config.routing {
                Routing::Forward => keystead_node::Routing::Forward,
                Routing::Redirect => keystead_node::Routing::Redirect,
            },
        },
        segment_bytes: config.segment_bytes,
        background_sync: Duration::from_millis(config.fsync_interval_ms),
    }
}

fn memory_limit(config: &Config) -> Limit {
    let policy = Policy::parse(config.maxmemory_policy.name()).unwrap_or_default();
    Limit { bytes: config.maxmemory, policy, ..Limit::default() }
}

fn gateway_config(config: &Config) -> GatewayConfig {
    GatewayConfig {
        io_threads: if config.io_threads == 0 { (cores() / 2).max(1) } else { config.io_threads },
        connections_max: config.maxclients,
        databases: config.databases,
        password: config.requirepass.reveal().map(str::to_owned),
        idle_timeout: Duration::from_millis(config.idle_timeout_ms),
        bulk_bytes_max: config.proto_max_bulk_len,
        output_bytes_soft: config.client_output_bytes_soft,
        output_bytes_max: config.client_output_bytes_max,
        transaction_bytes_max: config.transaction_bytes_max,
        shown_settings: SETTINGS
            .iter()
            .map(|setting| (setting.name.to_owned(), setting.render(config)))
            .collect(),
        ..GatewayConfig::default()
    }
}
