//! A node's settings: the one table that names each setting once, with its default and bounds.
//!
//! Owns: [`Config`], the table [`SETTINGS`] behind it, the rules between settings. Its children own the
//! kinds of values ([`value`]), where values come from ([`source`]) and the reference page
//! ([`reference`](mod@reference)). Never: opens a socket or a data directory, keeps global state.
//! INV-CFG1: the file's key, the variable and the flag of a setting all follow from its name in the table.
//! Called by: the program's command line (`cli`), and by whoever embeds a node with a `Config` of its own.

pub mod reference;
pub mod source;
pub mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use keystead_types::limits;

pub use source::{ConfigError, Inputs, Loaded, Origin};
pub use value::{Accepts, Address, Durability, LogFormat, LogLevel, MemoryPolicy, Routing, Secret};

use value::Value;

/// One row of the table: how a setting is called, what it takes, and where it lies in [`Config`].
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file; the variable and the flag are derived from it.
    pub name: &'static str,
    /// What it does, in lines.
    pub doc: &'static [&'static str],
    /// The values it takes.
    pub accepts: Accepts,
    /// When a change takes effect.
    pub change: Change,
    assign: fn(&mut Config, &str) -> Option<()>,
    render: fn(&Config) -> String,
}

/// When a new value of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At the next start of the node.
    Restart,
    /// Only when a cluster is founded; later values are ignored.
    Founding,
}

impl Setting {
    /// The environment variable: `log_format` is `KEYSTEAD_LOG_FORMAT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", source::VARIABLE_PREFIX, self.name.to_ascii_uppercase())
    }

    /// The flag without its dashes: `log_format` is `log-format`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The value in `config`, in the form that the setting takes. A secret is shown as stars.
    #[must_use]
    pub fn render(&self, config: &Config) -> String {
        (self.render)(config)
    }

    /// True if [`render`](Self::render) shows stars in place of the value.
    fn is_hidden(&self, config: &Config) -> bool {
        matches!(self.accepts, Accepts::Secret) && !self.render(config).is_empty()
    }

    /// Reads `text` into `config`; `None` if the setting does not take it, `config` then being as before.
    fn assign(&self, config: &mut Config, text: &str) -> Option<()> {
        (self.assign)(config, text)
    }
}

/// Declares [`Config`], its defaults and [`SETTINGS`] from one list, so that they cannot differ.
macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $accepts:expr, $change:ident; )+) => {
        /// Every setting of a node. Start from [`Config::default`] and change fields, or read the file, the
        /// environment and the flags with [`Config::load`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $( $(#[doc = $doc])+ pub $name: $type, )+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $( $name: $default, )+ }
            }
        }

        /// All settings, in the order of the reference page.
        pub static SETTINGS: &[Setting] = &[ $( Setting {
            name: stringify!($name),
            doc: &[$( $doc ),+],
            accepts: $accepts,
            change: Change::$change,
            assign: |config, text| {
                config.$name = <$type as Value>::parse(text, &$accepts)?;
                Some(())
            },
            render: |config| config.$name.render(),
        }, )+ ];
    };
}

settings! {
    /// Address and port that clients connect to. Port 0 takes a free one.
    listen: SocketAddr = local(7379), Accepts::Socket, Restart;
    /// Address and port that other nodes connect to. Port 0 takes a free one.
    peer: SocketAddr = local(17379), Accepts::Socket, Restart;
    /// Address told to clients in place of `listen`, for nodes behind a translated or unspecified address.
    advertise_listen: Option<Address> = None, Accepts::OptionalAddress, Restart;
    /// Address told to other nodes in place of `peer`, for nodes behind a translated or unspecified address.
    advertise_peer: Option<Address> = None, Accepts::OptionalAddress, Restart;
    /// Directory of the log, the snapshots and the node's identity. It is made if it does not exist.
    data: PathBuf = PathBuf::from("./keystead-data"), Accepts::Path, Restart;
    /// Peer addresses of nodes of the cluster to join. Empty: a node without data founds a cluster of one.
    join: Vec<Address> = Vec::new(), Accepts::Addresses, Restart;
    /// Founds a cluster once that many fresh nodes of `join` are seen; 0 joins an existing cluster only.
    expect: u32 = 0, Accepts::Number { min: 0, max: 1000 }, Founding;
    /// Number of shards that the 16384 slots are split into; 0 chooses one for each core of the founder, times the nodes
    /// that are expected (three if fewer are): every core can lead, and writes are split over no more groups than that.
    shards: u32 = 0, Accepts::Number { min: 0, max: limits::SHARDS_MAX as u64 }, Founding;
    /// Where the node stands (a rack, a building). Replicas of a shard are spread over zones.
    zone: String = String::new(), Accepts::Text, Restart;
    /// Time that a node may stay away before its replicas are rebuilt on other nodes.
    node_grace_ms: u64 = 300_000, Accepts::Millis { min: 1_000, max: DAY_MS }, Founding;

    /// When a write is acknowledged: `fsync` once a majority has it on disk, `replicated` once a majority has it
    /// in memory, the disk following within `fsync_interval_ms`.
    durability: Durability = Durability::Fsync, Accepts::OneOf(Durability::NAMES), Restart;
    /// With `durability = "replicated"`: longest time between two fsyncs of the log.
    fsync_interval_ms: u64 = 100, Accepts::Millis { min: 1, max: 60_000 }, Restart;
    /// What happens to a command whose shard is led by another node: it is passed on (`forward`), or answered
    /// with MOVED for clients that know clusters (`redirect`).
    routing: Routing = Routing::Forward, Accepts::OneOf(Routing::NAMES), Restart;
    /// Time after which a write that is neither committed nor refused is answered with UNCERTAIN.
    write_timeout_ms: u64 = 5_000, Accepts::Millis { min: 100, max: HOUR_MS }, Restart;
    /// Time without word from a shard's leader after which a replica stands for election.
    election_timeout_ms: u64 = 500, Accepts::Millis { min: 50, max: 60_000 }, Restart;
    /// Length of the clock tick that elections and heartbeats are counted in.
    tick_ms: u64 = 25, Accepts::Millis { min: 1, max: 1_000 }, Restart;
    /// Bytes of log that a shard gathers before it writes a snapshot and drops what the snapshot covers.
    snapshot_log_bytes: u64 = 64 << 20, Accepts::Bytes { min: 64 << 10, max: 1 << 40 }, Restart;
    /// Size of one segment file of the log.
    segment_bytes: u64 = limits::SEGMENT_BYTES, Accepts::Bytes { min: 1 << 20, max: 1 << 32 }, Restart;

    /// Threads that drive the shards; 0 chooses by the machine's cores.
    workers: usize = 0, Accepts::Number { min: 0, max: 256 }, Restart;
    /// Threads that serve client connections; 0 chooses by the machine's cores.
    io_threads: usize = 0, Accepts::Number { min: 0, max: 256 }, Restart;

    /// Password that clients give with AUTH or HELLO; empty asks for none. Prefer the file or the variable: flags
    /// are visible to every user of the machine.
    requirepass: Secret = Secret::default(), Accepts::Secret, Restart;
    /// Databases that clients may select: those with a lower number. What others hold is kept, and seen again with more.
    databases: u16 = limits::DATABASES_DEFAULT,
        Accepts::Number { min: 1, max: limits::DATABASES_MAX as u64 }, Restart;
    /// Most client connections at a time; further ones are refused with an error.
    maxclients: usize = limits::CONNECTIONS_MAX, Accepts::Number { min: 1, max: 1_000_000 }, Restart;
    /// Time after which a connection without commands is closed; 0 never closes one.
    idle_timeout_ms: u64 = 0, Accepts::Millis { min: 0, max: 365 * DAY_MS }, Restart;
    /// Longest key or value that a client may send.
    proto_max_bulk_len: usize = limits::BULK_BYTES_MAX,
        Accepts::Bytes { min: 1 << 20, max: limits::BULK_BYTES_MAX as u64 }, Restart;
    /// Reply bytes waiting for a slow reader past which no further commands are read from its connection.
    client_output_bytes_soft: usize = limits::CLIENT_OUTPUT_BYTES_SOFT,
        Accepts::Bytes { min: 16 << 10, max: 1 << 40 }, Restart;
    /// Reply bytes waiting for a slow reader past which its connection is closed.
    client_output_bytes_max: usize = limits::CLIENT_OUTPUT_BYTES_MAX,
        Accepts::Bytes { min: 64 << 10, max: 1 << 40 }, Restart;
    /// Bytes of commands in one MULTI past which the transaction is discarded.
    transaction_bytes_max: usize = limits::TRANSACTION_BYTES_MAX,
        Accepts::Bytes { min: 64 << 10, max: limits::BULK_BYTES_MAX as u64 }, Restart;

    /// Bytes that the keys of a node may take, all its replicas together; 0 is no bound. CONFIG SET changes it on all nodes.
    maxmemory: u64 = 0, Accepts::Bytes { min: 0, max: 1 << 50 }, Restart;
    /// What happens past `maxmemory`: writes that need memory are refused (`noeviction`), or keys are let go of, chosen among all
    /// or among those that expire.
    maxmemory_policy: MemoryPolicy = MemoryPolicy::NoEviction, Accepts::OneOf(MemoryPolicy::NAMES), Restart;

    /// Form of the log lines on standard error.
    log_format: LogFormat = LogFormat::Text, Accepts::OneOf(LogFormat::NAMES), Restart;
    /// Least important events that are logged.
    log_level: LogLevel = LogLevel::Info, Accepts::OneOf(LogLevel::NAMES), Restart;
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Fewest ticks in an election timeout: fewer let an ordinary delay of one tick look like a dead leader.
const ELECTION_TICKS_MIN: u64 = 5;

impl Config {
    /// Reads the settings: the file's values, over them the environment's, over them the flags'.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place, the setting, and what would be right.
    pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
        source::load(inputs)
    }

    /// Where clients reach this node: the advertised address, else the one it listens on.
    #[must_use]
    pub fn client_address(&self) -> Address {
        self.advertise_listen.clone().unwrap_or_else(|| self.listen.into())
    }

    /// Where other nodes reach this node: the advertised address, else the one it listens on.
    #[must_use]
    pub fn peer_address(&self) -> Address {
        self.advertise_peer.clone().unwrap_or_else(|| self.peer.into())
    }

    /// Checks the rules between settings; each setting's own bounds are checked where it is read.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] names the two settings that do not go together, and the remedy.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.expect > 0 && self.join.is_empty() {
            let why = "the nodes to wait for are those that join names";
            return Err(self.conflict("expect", "join", why));
        }
        if !self.join.is_empty() && self.peer.ip().is_unspecified() && self.advertise_peer.is_none()
        {
            let why = "other nodes cannot connect to an unspecified address, so say which one they can reach";
            return Err(self.conflict("peer", "advertise_peer", why));
        }
        if self.listen == self.peer && self.listen.port() != 0 {
            return Err(self.conflict("listen", "peer", "one port cannot serve clients and nodes"));
        }
        if self.election_timeout_ms < ELECTION_TICKS_MIN * self.tick_ms {
            let why = "an election timeout lasts at least five ticks";
            return Err(self.conflict("election_timeout_ms", "tick_ms", why));
        }
        if self.client_output_bytes_soft > self.client_output_bytes_max {
            let why = "reading stops at the first and the connection ends at the second, so it is the larger";
            return Err(self.conflict("client_output_bytes_soft", "client_output_bytes_max", why));
        }
        Ok(())
    }

    fn conflict(
        &self,
        first: &'static str,
        second: &'static str,
        why: &'static str,
    ) -> ConfigError {
        let shown = |name| {
            let setting =
                find(name).expect("rules name settings of the table; a test breaks each rule");
            setting.accepts.quoted(&setting.render(self))
        };
        ConfigError::Conflict {
            first,
            first_value: shown(first),
            second,
            second_value: shown(second),
            why,
        }
    }
}

/// The setting called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_taken_by_its_own_setting() {
        let default = Config::default();
        for setting in SETTINGS {
            let mut config = Config::default();
            let text = setting.render(&default);
            assert!(setting.assign(&mut config, &text).is_some(), "{} = {text}", setting.name);
            assert_eq!(config, default, "{} reads its own default as something else", setting.name);
        }
        default.validate().expect("the defaults go together");
    }

    /// INV-CFG1.
    #[test]
    fn names_are_unique_and_derive_variable_and_flag() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
        let setting = find("log_format").expect("a setting");
        assert_eq!(setting.variable(), "KEYSTEAD_LOG_FORMAT");
        assert_eq!(setting.flag(), "log-format");
    }

    #[test]
    fn rules_between_settings_name_both_sides() {
        let address = |text: &str| text.parse::<Address>().expect("an address");
        let broken = [
            Config { expect: 3, ..Config::default() },
            Config {
                peer: "0.0.0.0:17379".parse().expect("an address"),
                join: vec![address("n1:17379")],
                ..Config::default()
            },
            Config { peer: local(7379), ..Config::default() },
            Config { election_timeout_ms: 100, ..Config::default() },
            Config { client_output_bytes_max: 64 << 10, ..Config::default() },
        ];
        let messages: Vec<String> = broken
            .iter()
            .map(|config| config.validate().expect_err("a conflict").to_string())
            .collect();
        assert_eq!(
            messages,
            [
                "expect = 3 does not go with join = []: the nodes to wait for are those that join names; \
                 change one of them",
                "peer = \"0.0.0.0:17379\" does not go with advertise_peer = \"\": other nodes cannot \
                 connect to an unspecified address, so say which one they can reach; change one of them",
                "listen = \"127.0.0.1:7379\" does not go with peer = \"127.0.0.1:7379\": one port cannot \
                 serve clients and nodes; change one of them",
                "election_timeout_ms = 100 does not go with tick_ms = 25: an election timeout lasts at \
                 least five ticks; change one of them",
                "client_output_bytes_soft = 1048576 does not go with client_output_bytes_max = 65536: \
                 reading stops at the first and the connection ends at the second, so it is the larger; \
                 change one of them",
            ]
        );
    }
}
