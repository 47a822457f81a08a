//! A contender: one or more server processes with their settings.
//! Owns: how each kind is started for a suite, its CPU time and memory, filling it with keys.
//! Never: a setting that its report does not name.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::dialogue::EtcdDialogue;
use super::{Bench, swarm};
use crate::project::{Outcome, find_program};
use crate::server::{self, Server};
use crate::wait;
use crate::wire::{self, Connection};

/// Ticks of /proc/PID/stat in a second, on every Linux that matters.
const TICKS_PER_SECOND: u64 = 100;

/// Connections over which etcd is filled: it gathers what comes at the same time into one sync.
const FILLERS: usize = 128;

/// redis-server without persistence.
pub(super) const IN_MEMORY: &[&str] = &["--save", "", "--appendonly", "no"];
/// redis-server that syncs every write before its reply.
pub(super) const APPEND_ALWAYS: &[&str] =
    &["--save", "", "--appendonly", "yes", "--appendfsync", "always"];

/// The language a contender's clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// The Redis protocol.
    Redis,
    /// The Redis protocol, each write followed by `WAIT 1 0`.
    RedisWait,
    /// etcd's JSON gateway over HTTP with connections kept alive.
    Etcd,
}

/// One contender.
pub(super) struct Peer {
    /// Its name in tables.
    pub(super) name: &'static str,
    /// How it was started, for the report.
    pub(super) settings: String,
    pub(super) dialect: Dialect,
    pub(super) servers: Vec<Server>,
}

impl Peer {
    /// Keystead with `settings` on `count` nodes; redis in its place if the run is against itself.
    pub(super) fn keystead(
        bench: &Bench<'_>,
        name: &'static str,
        count: usize,
        settings: &[&str],
    ) -> Outcome<Self> {
        if bench.options.is_against_itself {
            let is_synced = settings.contains(&"fsync");
            let settings = if is_synced { APPEND_ALWAYS } else { IN_MEMORY };
            let mut peer = Self::redis(bench, name, settings)?;
            peer.settings.push_str(", in Keystead's place");
            return Ok(peer);
        }
        let servers = server::keystead(&bench.binary, &bench.scratch, name, count, settings)?;
        let settings = format!("{count} x keystead serve {}", settings.join(" "));
        Ok(Self { name, settings, dialect: Dialect::Redis, servers })
    }

    /// One redis-server.
    pub(super) fn redis(bench: &Bench<'_>, name: &'static str, settings: &[&str]) -> Outcome<Self> {
        let server = server::redis(&bench.scratch.folder(name)?, settings)?;
        let settings = format!("redis-server {}", shown(settings));
        Ok(Self { name, settings, dialect: Dialect::Redis, servers: vec![server] })
    }

    /// One valkey-server, or nothing where it is not installed.
    pub(super) fn valkey(bench: &Bench<'_>, settings: &[&str]) -> Outcome<Option<Self>> {
        let Some(program) = find_program("valkey-server") else {
            println!("   valkey            absent: valkey-server is not installed here");
            return Ok(None);
        };
        let server = server::redis_like(&program, &bench.scratch.folder("valkey")?, settings)?;
        let settings = format!("valkey-server {}", shown(settings));
        let servers = vec![server];
        Ok(Some(Self { name: "valkey", settings, dialect: Dialect::Redis, servers }))
    }

    /// A redis primary with two replicas in memory; writes are followed by WAIT 1.
    pub(super) fn redis_three(bench: &Bench<'_>) -> Outcome<Self> {
        let primary = server::redis(&bench.scratch.folder("redis-0")?, IN_MEMORY)?;
        let port = primary.address.port().to_string();
        let mut servers = vec![primary];
        for number in 1..3 {
            let follow = ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"];
            let folder = bench.scratch.folder(&format!("redis-{number}"))?;
            servers.push(server::redis(&folder, &[IN_MEMORY, &follow].concat())?);
        }
        let address = servers[0].address;
        wait::until("two replicas of redis", Duration::from_secs(30), || {
            let text = Connection::open(address)?.ask(&["INFO", "replication"])?;
            Ok((text.matches("state=online").count() == 2).then_some(()))
        })?;
        let settings = "3 x redis-server in memory, SET followed by WAIT 1 0".to_owned();
        Ok(Self { name: "redis + WAIT 1", settings, dialect: Dialect::RedisWait, servers })
    }

    /// `count` etcd members; fsync is its default.
    pub(super) fn etcd(bench: &Bench<'_>, count: usize) -> Outcome<Self> {
        let program = find_program("etcd").ok_or("etcd is missing; run cargo xtask setup")?;
        let mut addresses = Vec::new();
        for _ in 0..count {
            addresses.push((server::free_address()?, server::free_address()?));
        }
        let cluster: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(number, (_, peer))| format!("n{number}=http://{peer}"))
            .collect();
        let mut servers = Vec::new();
        for (number, (client, peer)) in addresses.iter().enumerate() {
            let folder = bench.scratch.folder(&format!("etcd-{number}"))?;
            let mut command = Command::new(&program);
            let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
            command.current_dir(&folder).args([
                "--name",
                &format!("n{number}"),
                "--data-dir",
                "data",
            ]);
            command.args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ]);
            command.args([
                "--listen-peer-urls",
                &peer_url,
                "--initial-advertise-peer-urls",
                &peer_url,
            ]);
            command.args(["--initial-cluster", &cluster.join(","), "--log-level", "error"]);
            servers.push(Server::spawn(command, &folder, *client)?);
        }
        for server in &servers {
            await_etcd(server.address)?;
        }
        let settings = format!("{count} x etcd, fsync (its default), over its JSON gateway");
        Ok(Self { name: "etcd", settings, dialect: Dialect::Etcd, servers })
    }

    /// Where clients connect: the first server, which need not lead.
    pub(super) fn address(&self) -> SocketAddr {
        self.servers[0].address
    }

    /// CPU time of all processes so far, seconds.
    pub(super) fn cpu_seconds(&self) -> Outcome<f64> {
        self.servers.iter().map(|server| cpu_seconds(server.id())).sum()
    }

    /// Resident memory of all processes, bytes.
    pub(super) fn resident_bytes(&self) -> Outcome<u64> {
        self.servers.iter().map(|server| resident_bytes(server.id())).sum()
    }

    /// Memory of all processes and their children, bytes; what they share is counted once.
    pub(super) fn proportional_bytes(&self) -> Outcome<u64> {
        let mut sum = 0;
        for server in &self.servers {
            sum += proportional_bytes(server.id()).ok_or("a server has ended")?;
            // A child that ended between the look at the list and the look at itself counts for nothing.
            sum += children(server.id()).into_iter().filter_map(proportional_bytes).sum::<u64>();
        }
        Ok(sum)
    }

    /// Writes `keys` keys as redis-benchmark names them, so that reads find them.
    pub(super) fn fill(&self, keys: u64, value_bytes: usize) -> Outcome {
        const BATCH: u64 = 500;
        const BATCH_BYTES: u64 = 4 << 20;
        let batch = (BATCH_BYTES / (value_bytes as u64 + 1)).clamp(1, BATCH);
        if self.dialect == Dialect::Etcd {
            let mut dialogue = EtcdDialogue::filling(value_bytes);
            swarm::run(self.address(), FILLERS, keys, &mut dialogue)?;
            return Ok(());
        }
        let mut connection = Connection::open(self.address())?;
        let value = vec![b'x'; value_bytes];
        let mut next = 0;
        while next < keys {
            let end = (next + batch).min(keys);
            let mut out = Vec::new();
            for number in next..end {
                wire::encode(&[b"SET", format!("key:{number:012}").as_bytes(), &value], &mut out);
            }
            connection.send(&out)?;
            for _ in next..end {
                let reply = connection.reply()?;
                if reply != b"+OK\r\n" {
                    let said = String::from_utf8_lossy(&reply).into_owned();
                    return Err(format!("{} refuses SET: {said}", self.name).into());
                }
            }
            next = end;
        }
        std::io::stdout().flush()?;
        Ok(())
    }
}

/// Settings as a shell would want them.
fn shown(settings: &[&str]) -> String {
    let quoted = settings.iter().map(|word| if word.is_empty() { "''" } else { *word });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Waits until a member answers and has a leader.
pub(super) fn await_etcd(address: SocketAddr) -> Outcome {
    wait::until("etcd to be healthy", Duration::from_secs(30), || {
        let url = format!("http://{address}");
        let health = Command::new("etcdctl")
            .args(["--endpoints", &url, "endpoint", "health"])
            .env("ETCDCTL_API", "3")
            .output()?;
        Ok(health.status.success().then_some(()))
    })
}

fn cpu_seconds(process: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(|error| format!("a server has ended: {error}"))?;
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let after_name = text.rsplit_once(')').ok_or("/proc/PID/stat has no name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark are far below 2^52")]
    let seconds = ticks as f64 / TICKS_PER_SECOND as f64;
    Ok(seconds)
}

fn resident_bytes(process: u32) -> Outcome<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes = line.trim().trim_end_matches("kB").trim().parse::<u64>()?;
    Ok(kibibytes * 1024)
}

/// A process's share of the memory it uses, bytes; `None` if it has ended.
fn proportional_bytes(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
