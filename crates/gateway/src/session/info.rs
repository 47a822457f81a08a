//! INFO: the server in `name:value` lines, in Redis's sections and three of its own.
//!
//! Owns: sections and fields. Never: measures; figures come from the node's status and the gateway's
//! counters (times: see `meter.rs`). Fields that Redis has and that mean nothing here are left out, unless clients or
//! exporters refuse to work without them.
//!
//! Own sections: `durability` (what an acknowledgement means, and the log), `raft` (one line per
//! replica), `supervision` (the tree). The last two are shown on request only, or with `all`.

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use keystead_node::{ReplicaStatus, Status};
use keystead_store::command::TABLE;

use crate::compat;
use crate::dispatch::{Verdict, command_at};
use crate::local::Shared;
use crate::registry::{Client, flag};
use crate::stats::{RowTotals, Totals};

use super::{Answer, REDIS_VERSION, SessionCall};

/// A section: its name, whether it is shown without being asked for, and what writes it.
struct Section {
    name: &'static str,
    is_default: bool,
    write: fn(&Report<'_>, &mut Lines),
}

const SECTIONS: &[Section] = &[
    Section { name: "Server", is_default: true, write: server },
    Section { name: "Clients", is_default: true, write: clients },
    Section { name: "Memory", is_default: true, write: memory },
    Section { name: "Persistence", is_default: true, write: persistence },
    Section { name: "Stats", is_default: true, write: stats },
    Section { name: "Replication", is_default: true, write: replication },
    Section { name: "CPU", is_default: true, write: cpu },
    Section { name: "Modules", is_default: true, write: |_, _| {} },
    Section { name: "Commandstats", is_default: false, write: command_stats },
    Section { name: "Errorstats", is_default: true, write: error_stats },
    Section { name: "Latencystats", is_default: false, write: latency_stats },
    Section { name: "Cluster", is_default: true, write: cluster },
    Section { name: "Durability", is_default: true, write: durability },
    Section { name: "Raft", is_default: false, write: raft },
    Section { name: "Supervision", is_default: false, write: supervision },
    Section { name: "Keyspace", is_default: true, write: keyspace },
];

/// What the sections are written from.
struct Report<'a> {
    shared: &'a Shared,
    status: Status,
    totals: Totals,
    local: Option<std::net::SocketAddr>,
    run_id: String,
}

/// Lines of `name:value`.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn field(&mut self, name: impl Display, value: impl Display) {
        write!(self.0, "{name}:{value}\r\n").expect("writing to a String cannot fail");
    }
}

impl<'a> SessionCall<'_, '_, 'a> {
    /// `INFO [section ...]`
    pub(super) fn info(&mut self) -> Answer<'a> {
        let shared = &*self.turn.local.shared;
        let status = self.turn.door.status();
        let run_id = format!("{:016x}{:016x}{:08x}", status.node.0, shared.incarnation, 0);
        let report = Report {
            shared,
            status,
            totals: shared.stats.totals(),
            local: self.session.client().local,
            run_id,
        };
        let mut lines = Lines::default();
        for section in SECTIONS.iter().filter(|section| is_asked(section, self.args)) {
            if !lines.0.is_empty() {
                lines.0.push_str("\r\n");
            }
            write!(lines.0, "# {}\r\n", section.name).expect("writing to a String cannot fail");
            (section.write)(&report, &mut lines);
        }
        self.reply().verbatim(&lines.0);
        Ok(Verdict::Next)
    }
}

fn is_asked(section: &Section, args: keystead_resp::Args<'_>) -> bool {
    let asked = args.from(1);
    let names = |name: &[u8]| match name.to_ascii_lowercase().as_slice() {
        b"default" => section.is_default,
        b"all" | b"everything" => true,
        name => section.name.as_bytes().eq_ignore_ascii_case(name),
    };
    if asked.is_empty() { section.is_default } else { asked.iter().any(names) }
}

fn server(report: &Report<'_>, lines: &mut Lines) {
    let uptime_s = report.status.uptime_ms / 1000;
    lines.field("redis_version", REDIS_VERSION);
    lines.field("keystead_version", report.shared.config.version);
    lines.field("redis_mode", "cluster");
    lines.field("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    lines.field("arch_bits", usize::BITS);
    if cfg!(target_os = "linux") {
        lines.field("multiplexing_api", "epoll");
    }
    lines.field("process_id", std::process::id());
    lines.field("run_id", &report.run_id);
    lines.field("tcp_port", report.local.map_or(0, |address| address.port()));
    lines.field("server_time_usec", report.shared.clock.unix_now().0 * 1000);
    lines.field("uptime_in_seconds", uptime_s);
    lines.field("uptime_in_days", uptime_s / 86_400);
    lines.field("io_threads_active", u8::from(report.shared.config.io_threads > 1));
    lines.field("node_id", report.status.node.to_hex40());
}

fn clients(report: &Report<'_>, lines: &mut Lines) {
    let clients = report.shared.registry.clients();
    let most = |bytes: fn(&Client) -> &AtomicU32| {
        clients.iter().map(|client| bytes(client).load(Ordering::Relaxed)).max().unwrap_or(0)
    };
    let watching = clients.iter().filter(|client| client.has_flag(flag::WATCHING)).count();
    lines.field("connected_clients", clients.len());
    lines.field("cluster_connections", 0);
    lines.field("maxclients", report.shared.live.connections_max());
    lines.field("client_recent_max_input_buffer", most(|client| &client.input_bytes));
    lines.field("client_recent_max_output_buffer", most(|client| &client.output_bytes));
    lines.field("blocked_clients", report.shared.registry.waiting_count());
    lines.field("tracking_clients", report.shared.config.bus.tracking().stats().clients);
    lines.field("pubsub_clients", clients.iter().filter(|client| client.is_listening()).count());
    lines.field("watching_clients", watching);
}

fn memory(report: &Report<'_>, lines: &mut Lines) {
    let memory = &report.status.memory;
    let share = ratio(memory.entries * 100, memory.counted());
    lines.field("used_memory", memory.used());
    lines.field("used_memory_human", human(memory.used()));
    lines.field("used_memory_rss", memory.resident);
    lines.field("used_memory_rss_human", human(memory.resident));
    lines.field("used_memory_rss_peak", memory.resident_peak);
    lines.field("used_memory_overhead", memory.used() - memory.entries);
    lines.field("used_memory_startup", memory.startup);
    lines.field("used_memory_dataset", memory.entries);
    lines.field("used_memory_dataset_perc", format_args!("{share}%"));
    lines.field("used_memory_tables", memory.tables + memory.expiries);
    lines.field("used_memory_log", memory.log);
    lines.field("used_memory_snapshots", memory.dumps);
    if memory.machine > 0 {
        lines.field("total_system_memory", memory.machine);
        lines.field("total_system_memory_human", human(memory.machine));
    }
    lines.field("mem_fragmentation_ratio", ratio(memory.resident, memory.used()));
    let beside = i128::from(memory.resident) - i128::from(memory.used());
    lines.field("mem_fragmentation_bytes", beside);
    let eviction = report.shared.config.bus.eviction();
    let limit = eviction.limit();
    lines.field("maxmemory", limit.bytes);
    lines.field("maxmemory_human", human(limit.bytes));
    lines.field("maxmemory_policy", limit.policy.name());
    // What cannot be let go of does not count: the log in memory, snapshots, what the process needs anyway.
    let counted = memory.entries + memory.tables + memory.expiries;
    lines.field("mem_not_counted_for_evict", memory.used() - counted);
    lines.field("mem_clients_normal", clients_bytes(report));
    // Values are freed with the command that removes them.
    lines.field("lazyfree_pending_objects", 0);
}

/// What waits in the buffers of connections, as of the last second.
fn clients_bytes(report: &Report<'_>) -> u64 {
    let clients = report.shared.registry.clients();
    let bytes = clients.iter().flat_map(|client| [&client.input_bytes, &client.output_bytes]);
    bytes.map(|bytes| u64::from(bytes.load(Ordering::Relaxed))).sum()
}

fn persistence(report: &Report<'_>, lines: &mut Lines) {
    let now_s = report.shared.clock.unix_now().0 / 1000;
    lines.field("loading", 0);
    lines.field("async_loading", 0);
    // Every acknowledged write is in the log, so nothing waits to be saved.
    lines.field("rdb_changes_since_last_save", 0);
    lines.field("rdb_bgsave_in_progress", 0);
    lines.field("rdb_last_save_time", now_s);
    lines.field("rdb_last_bgsave_status", "ok");
    lines.field("aof_enabled", 1);
    lines.field("aof_rewrite_in_progress", 0);
    lines.field("aof_last_bgrewrite_status", "ok");
    lines.field("aof_last_write_status", if report.status.log.is_full { "err" } else { "ok" });
    lines.field("aof_current_size", report.status.log.bytes);
}

fn stats(report: &Report<'_>, lines: &mut Lines) {
    let totals = &report.totals;
    lines.field("total_connections_received", totals.connections);
    lines.field("total_commands_processed", totals.commands);
    let [commands, input_bytes, output_bytes] = totals.rates;
    lines.field("instantaneous_ops_per_sec", commands);
    lines.field("total_net_input_bytes", totals.input_bytes);
    lines.field("total_net_output_bytes", totals.output_bytes);
    lines.field("instantaneous_input_kbps", ratio(input_bytes, 1024));
    lines.field("instantaneous_output_kbps", ratio(output_bytes, 1024));
    lines.field("rejected_connections", totals.rejected);
    lines.field("expired_keys", report.status.expired_keys);
    lines.field("evicted_keys", report.status.evicted_keys);
    lines.field("keyspace_hits", totals.keyspace_hits);
    lines.field("keyspace_misses", totals.keyspace_misses);
    let tracking = report.shared.config.bus.tracking().stats();
    lines.field("tracking_total_keys", tracking.keys);
    lines.field("tracking_total_items", tracking.items);
    lines.field("tracking_total_prefixes", tracking.prefixes);
    let [channels, patterns, sharded] = report.shared.config.bus.stats().topics;
    lines.field("pubsub_channels", channels);
    lines.field("pubsub_patterns", patterns);
    lines.field("pubsubshard_channels", sharded);
    lines.field("total_error_replies", totals.errors);
    lines.field("acl_access_denied_auth", report.shared.access_log.total());
    lines.field("protocol_errors", totals.protocol_errors);
    lines.field("slow_readers_closed", totals.slow_readers);
    lines.field("log_commands_applied", report.status.commands_applied);
    lines.field("log_entries_applied", report.status.entries_applied);
    lines.field("elections_won", report.status.elections_won);
}

fn replication(report: &Report<'_>, lines: &mut Lines) {
    lines.field("role", compat::ROLE);
    lines.field(format_args!("connected_{}s", compat::REPLICA_FLAG), 0);
    lines.field(format_args!("{}_failover_state", compat::ROLE), "no-failover");
    lines.field(format_args!("{}_replid", compat::ROLE), &report.run_id);
    lines.field(format_args!("{}_repl_offset", compat::ROLE), report.status.commands_applied);
    let state = if report.status.replication_is_full { "full" } else { "repairing" };
    lines.field("keystead_replication", state);
}

fn command_stats(report: &Report<'_>, lines: &mut Lines) {
    for (position, row) in (0u16..).zip(&report.totals.rows) {
        let RowTotals { calls, rejected, failed, .. } = *row;
        let Some(command) = command_at(position).filter(|_| calls + rejected > 0) else { continue };
        // Commands of a transaction are called by EXEC, which took the time: it is divided among those that were timed.
        let (us, each) = (row.time_ns / 1000, ratio(row.time_ns, row.times.count() * 1000));
        lines.field(
            format_args!("cmdstat_{}", command.name),
            format_args!(
                "calls={calls},usec={us},usec_per_call={each},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

fn error_stats(report: &Report<'_>, lines: &mut Lines) {
    for (code, count) in &report.totals.codes {
        lines.field(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latency_stats(report: &Report<'_>, lines: &mut Lines) {
    for (position, row) in (0u16..).zip(&report.totals.rows) {
        let Some(command) = command_at(position).filter(|_| row.times.count() > 0) else {
            continue;
        };
        let us = |percent| thousandths(row.times.percentile_ns(percent));
        let (p50, p99, p999) = (us(50.0), us(99.0), us(99.9));
        lines.field(
            format_args!("latency_percentiles_usec_{}", command.name),
            format_args!("p50={p50},p99={p99},p99.9={p999}"),
        );
    }
}

fn cpu(report: &Report<'_>, lines: &mut Lines) {
    let Some(cpu) = report.status.cpu else { return };
    lines.field("used_cpu_sys", thousandths(cpu.system_ms));
    lines.field("used_cpu_user", thousandths(cpu.user_ms));
}

fn cluster(_: &Report<'_>, lines: &mut Lines) {
    lines.field("cluster_enabled", 1);
}

fn durability(report: &Report<'_>, lines: &mut Lines) {
    let log = &report.status.log;
    lines.field("durability", report.status.durability);
    lines.field("data_dir", &report.status.data_dir);
    lines.field("log_bytes", log.bytes);
    lines.field("log_segments", log.segments);
    lines.field("log_syncs_total", log.syncs);
    lines.field("log_writes_total", log.writes);
    lines.field("log_is_full", u8::from(log.is_full));
}

fn raft(report: &Report<'_>, lines: &mut Lines) {
    let shards = || report.status.replicas.iter().filter(|replica| !replica.shard.is_meta());
    lines.field("leader_of", shards().filter(|replica| replica.role == "leader").count());
    lines.field("replica_of", shards().count());
    for replica in &report.status.replicas {
        lines.field(format_args!("shard_{}", replica.shard.0), replica_line(replica));
    }
}

fn replica_line(replica: &ReplicaStatus) -> String {
    let mut line = format!(
        "role={},term={},leader={},commit={},applied={},log_first={},log_last={},snapshot={},lease={},\
         keys={},peers=",
        replica.role,
        replica.term.0,
        replica.leader,
        replica.commit,
        replica.applied,
        replica.log_first,
        replica.log_last,
        replica.snapshot,
        u8::from(replica.has_lease),
        replica.keys,
    );
    for (at, peer) in replica.peers.iter().enumerate() {
        let separator = if at == 0 { "" } else { ";" };
        let kind = if peer.is_learner { "/learner" } else { "" };
        write!(line, "{separator}{}@{}{kind}", peer.node, peer.matched)
            .expect("writing to a String cannot fail");
    }
    line
}

fn supervision(report: &Report<'_>, lines: &mut Lines) {
    for line in report.status.supervision.lines() {
        lines.0.push_str(line);
        lines.0.push_str("\r\n");
    }
}

fn keyspace(report: &Report<'_>, lines: &mut Lines) {
    for (database, stats) in &report.status.databases {
        let (keys, expires) = (stats.keys, stats.keys_with_expiry);
        lines.field(database, format_args!("keys={keys},expires={expires},avg_ttl=0"));
    }
}

/// Thousandths with a point: milliseconds as seconds, nanoseconds as microseconds.
fn thousandths(count: u64) -> String {
    format!("{}.{:03}", count / 1000, count % 1000)
}

/// A quotient with two digits, 0.00 of nothing.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(super) fn ratio(of: u64, by: u64) -> String {
    format!("{:.2}", of as f64 / by.max(1) as f64)
}

/// Bytes as people read them.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes}B") } else { format!("{value:.2}{}", units[unit]) }
}

const _: () = assert!(TABLE.len() < u16::MAX as usize, "counters number commands with 16 bits");
