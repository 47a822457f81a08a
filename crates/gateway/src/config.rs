//! What the gateway can be told, and what it was told: settings fixed at start and those that
//! CONFIG SET may change.
//! Owns: [`GatewayConfig`] and the live settings. Never: files, flags, the environment (see `keystead`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use keystead_node::pubsub::Bus;
use keystead_resp::Limits;
use keystead_types::limits;

/// Commands of one connection whose outcome is awaited at a time.
pub const WINDOW_COMMANDS_MAX: usize = 1024;
/// Bytes of commands of one connection whose outcome is awaited at a time; one command may be larger.
pub const WINDOW_BYTES_MAX: usize = 1024 * 1024;

/// Settings of the gateway.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Threads that serve connections, at least 1.
    pub io_threads: usize,
    /// Most connections at a time; further ones are answered with an error and closed.
    pub connections_max: usize,
    /// Databases that clients may name: those with a lower number.
    pub databases: u16,
    /// Password of the user `default`; `None` asks for none.
    pub password: Option<String>,
    /// A connection without commands for this long is closed; zero: never.
    pub idle_timeout: Duration,
    /// Longest bulk string that a client may send, bytes.
    pub bulk_bytes_max: usize,
    /// Reply bytes that may wait before no further commands of the connection are executed.
    pub output_bytes_soft: usize,
    /// Reply bytes that may wait before the connection is closed.
    pub output_bytes_max: usize,
    /// Bytes of commands in one MULTI; past it the transaction is discarded.
    pub transaction_bytes_max: usize,
    /// Commands of one connection whose outcome is awaited at a time.
    pub window_commands_max: usize,
    /// Bytes of commands of one connection whose outcome is awaited at a time.
    pub window_bytes_max: usize,
    /// Time that connections have at shutdown to receive replies under way.
    pub drain_timeout: Duration,
    /// At shutdown, time after which a connection without a command is closed; one that sends a command
    /// sooner is closed behind the reply.
    pub drain_silence: Duration,
    /// Time that a client has to notice that its connection was closed; what it sends meanwhile is
    /// read and dropped.
    pub linger_timeout: Duration,
    /// Version that INFO and HELLO show as `keystead_version`.
    pub version: &'static str,
    /// Values that CONFIG GET shows besides the gateway's own, by name.
    pub shown_settings: Vec<(String, String)>,
    /// Where messages are published: the node's own, or one without other nodes.
    pub bus: Arc<Bus>,
    /// What SHUTDOWN calls; `None` refuses it.
    pub on_shutdown_command: Option<ShutdownCommand>,
}

/// What SHUTDOWN does. Must not block.
pub type ShutdownCommand = Arc<dyn Fn() + Send + Sync>;

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            io_threads: 1,
            connections_max: limits::CONNECTIONS_MAX,
            databases: limits::DATABASES_DEFAULT,
            password: None,
            idle_timeout: Duration::ZERO,
            bulk_bytes_max: limits::BULK_BYTES_MAX,
            output_bytes_soft: limits::CLIENT_OUTPUT_BYTES_SOFT,
            output_bytes_max: limits::CLIENT_OUTPUT_BYTES_MAX,
            transaction_bytes_max: limits::TRANSACTION_BYTES_MAX,
            window_commands_max: WINDOW_COMMANDS_MAX,
            window_bytes_max: WINDOW_BYTES_MAX,
            drain_timeout: Duration::from_secs(2),
            drain_silence: Duration::from_millis(100),
            linger_timeout: Duration::from_millis(500),
            version: env!("CARGO_PKG_VERSION"),
            shown_settings: Vec::new(),
            bus: Arc::default(),
            on_shutdown_command: None,
        }
    }
}

impl fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password stays out of logs.
        f.debug_struct("GatewayConfig")
            .field("io_threads", &self.io_threads)
            .field("connections_max", &self.connections_max)
            .field("asks_for_password", &self.password.is_some())
            .finish_non_exhaustive()
    }
}

impl GatewayConfig {
    /// Limits on what a client may send.
    pub(crate) fn decoder_limits(&self, is_authenticated: bool) -> Limits {
        Limits { bulk_bytes_max: self.bulk_bytes_max, is_authenticated, ..Limits::default() }
    }
}

/// Settings that CONFIG SET changes while connections go on.
#[derive(Debug)]
pub(crate) struct LiveSettings {
    pub(crate) connections_max: AtomicUsize,
    pub(crate) idle_timeout_s: AtomicU64,
}

impl LiveSettings {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        Self {
            connections_max: AtomicUsize::new(config.connections_max),
            idle_timeout_s: AtomicU64::new(config.idle_timeout.as_secs()),
        }
    }

    /// Most connections at a time.
    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// Seconds without a command after which a connection is closed; 0: never.
    pub(crate) fn idle_timeout_s(&self) -> u64 {
        self.idle_timeout_s.load(Ordering::Relaxed)
    }
}
