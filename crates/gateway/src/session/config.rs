//! CONFIG: what clients ask of a Redis server's settings, answered for this one.
//!
//! Owns: the settings that may change while connections go on. Never: the node's configuration file (see `keystead`), whose
//! values it only shows. A change holds on this node until it is stopped; `notify-keyspace-events` holds in the whole
//! cluster.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use keystead_node::events::EventFlags;
use keystead_store::command::SessionCommand;
use keystead_store::{Policy, glob_matches};

use crate::dispatch::Verdict;
use crate::listener::KEEPALIVE_TIME;
use crate::reply::Failure;
use crate::slow_log::ENTRIES_MAX;

use super::{Answer, SessionCall, integer};
use known::{KNOWN, why_fixed};

mod known;

/// Longest idle time that CONFIG SET takes, as in Redis.
const TIMEOUT_S_MAX: u64 = i32::MAX as u64;

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn config(&mut self, kind: SessionCommand) -> Answer<'a> {
        match kind {
            SessionCommand::ConfigGet => self.config_get(),
            SessionCommand::ConfigSet => self.config_set(),
            SessionCommand::ConfigResetStat => {
                self.turn.local.shared.stats.reset();
                self.turn.local.shared.access_log.reset_total();
                self.ok()
            }
            SessionCommand::ConfigRewrite => Err(Failure::SettingsNotWritten),
            _ => self.help("config"),
        }
    }

    /// `CONFIG GET pattern [pattern ...]`
    fn config_get(&mut self) -> Answer<'a> {
        let settings = self.settings();
        let patterns: Vec<Vec<u8>> =
            self.args.from(2).iter().map(<[u8]>::to_ascii_lowercase).collect();
        let is_asked =
            |name: &str| patterns.iter().any(|pattern| glob_matches(pattern, name.as_bytes()));
        let asked: Vec<(&String, &String)> =
            settings.iter().filter(|(name, _)| is_asked(name)).collect();
        let mut reply = self.reply();
        reply.map(asked.len());
        for (name, value) in asked {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        Ok(Verdict::Next)
    }

    /// `CONFIG SET name value [name value ...]`: all or none.
    fn config_set(&mut self) -> Answer<'a> {
        let pairs = self.args.from(2);
        if !pairs.len().is_multiple_of(2) {
            return Err(Failure::Arity { name: "config|set" });
        }
        let pairs: Vec<(&'a [u8], &'a [u8])> =
            (0..pairs.len() / 2).map(|at| (self.arg(2 + 2 * at), self.arg(3 + 2 * at))).collect();
        let known = self.settings();
        let mut changes = Vec::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(Failure::SettingTwice { name });
            }
            changes.push(change(&known, name, value)?);
        }
        let (live, alarms) = (&self.turn.local.shared.live, &self.turn.local.shared.alarms);
        let bus = &self.turn.local.shared.config.bus;
        let before = bus.eviction().limit();
        let mut limit = before;
        for change in changes {
            match change {
                Change::None => {}
                Change::ConnectionsMax(count) => {
                    live.connections_max.store(count, Ordering::Relaxed);
                }
                Change::Events(flags) => {
                    let shared = &self.turn.local.shared;
                    shared.config.bus.set_event_flags(flags, shared.clock.unix_now().0);
                }
                Change::TrackingKeysMax(keys) => {
                    self.turn.local.shared.config.bus.tracking().set_keys_max(keys);
                }
                Change::MemoryBytes(bytes) => limit.bytes = bytes,
                Change::MemoryPolicy(policy) => limit.policy = policy,
                Change::MemorySamples(samples) => limit.samples = samples,
                Change::IdleTimeout(seconds) => {
                    live.idle_timeout_s.store(seconds, Ordering::Relaxed);
                }
                Change::LatencyMs(ms) => alarms.set_latency_ms(ms),
                Change::SlowLogUs(us) => alarms.set_slow_log_us(us),
                Change::SlowLogMax(count) => alarms.slow_log.set_entries_max(count),
            }
        }
        if limit != before {
            bus.set_limit(limit, self.turn.local.shared.clock.unix_now().0);
        }
        self.ok()
    }
}

impl SessionCall<'_, '_, '_> {
    /// All settings with their present values.
    fn settings(&self) -> BTreeMap<String, String> {
        let shared = &self.turn.local.shared;
        let config = &shared.config;
        let fixed = KNOWN.iter().map(|known| (known.name.to_owned(), known.value.to_owned()));
        let mut all: BTreeMap<String, String> = fixed.collect();
        all.extend(config.shown_settings.iter().cloned());
        let limit = config.bus.eviction().limit();
        let local = self.session.client().local;
        let shown = |name: &str| all.get(name).cloned().unwrap_or_default();
        let is_synced_later = shown("durability") == "replicated";
        let own = [
            ("appendfsync", if is_synced_later { "everysec" } else { "always" }.to_owned()),
            ("bind", local.map(|local| local.ip().to_string()).unwrap_or_default()),
            ("client-output-buffer-limit", format!("normal {} 0 0", config.output_bytes_max)),
            ("cluster-node-timeout", shown("election_timeout_ms")),
            ("databases", config.databases.to_string()),
            ("dir", shown("data")),
            ("io-threads", config.io_threads.to_string()),
            ("latency-monitor-threshold", shared.alarms.latency_ms().to_string()),
            ("maxclients", shared.live.connections_max().to_string()),
            ("maxmemory", limit.bytes.to_string()),
            ("maxmemory-policy", limit.policy.name().to_owned()),
            ("maxmemory-samples", limit.samples.to_string()),
            ("notify-keyspace-events", config.bus.event_flags().letters()),
            ("port", local.map_or(0, |local| local.port()).to_string()),
            ("proto-max-bulk-len", config.bulk_bytes_max.to_string()),
            ("slowlog-log-slower-than", shared.alarms.slow_log_us().to_string()),
            ("slowlog-max-len", shared.alarms.slow_log.entries_max().to_string()),
            ("tcp-keepalive", KEEPALIVE_TIME.as_secs().to_string()),
            ("tracking-table-max-keys", config.bus.tracking().keys_max().to_string()),
            ("timeout", shared.live.idle_timeout_s().to_string()),
        ];
        all.extend(own.map(|(name, value)| (name.to_owned(), value)));
        // What it is, nobody needs to know; that there is none, tools want to.
        all.entry("requirepass".to_owned()).or_default();
        all
    }
}

/// A setting about to take effect.
enum Change {
    None,
    ConnectionsMax(usize),
    IdleTimeout(u64),
    Events(EventFlags),
    TrackingKeysMax(usize),
    LatencyMs(u64),
    SlowLogUs(i64),
    SlowLogMax(usize),
    MemoryBytes(u64),
    MemoryPolicy(Policy),
    MemorySamples(u8),
}

fn change<'a>(
    known: &BTreeMap<String, String>,
    name: &'a [u8],
    value: &[u8],
) -> Result<Change, Failure<'a>> {
    let text = std::str::from_utf8(value).ok();
    let refused = |reason| Failure::SettingRefused { name, reason };
    let number = || integer(value).ok_or(refused("argument couldn't be parsed into an integer"));
    let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
    let present = known.get(&lower).ok_or(Failure::UnknownSetting { name })?;
    match lower.as_str() {
        "maxclients" => {
            let count = u32::try_from(number()?).ok().filter(|count| *count > 0);
            let reason = "argument must be between 1 and 4294967295 inclusive";
            count.map(|count| Change::ConnectionsMax(count as usize)).ok_or(refused(reason))
        }
        "timeout" => {
            let seconds = u64::try_from(number()?).ok().filter(|s| *s <= TIMEOUT_S_MAX);
            let reason = "argument must be between 0 and 2147483647 inclusive";
            seconds.map(Change::IdleTimeout).ok_or(refused(reason))
        }
        "latency-monitor-threshold" => {
            let reason = "argument must be between 0 and 9223372036854775807 inclusive";
            u64::try_from(number()?).map(Change::LatencyMs).map_err(|_| refused(reason))
        }
        "slowlog-log-slower-than" => {
            let reason = "argument must be between -1 and 9223372036854775807 inclusive";
            let us = Some(number()?).filter(|us| *us >= -1);
            us.map(Change::SlowLogUs).ok_or(refused(reason))
        }
        "slowlog-max-len" => {
            let count = usize::try_from(number()?).ok().filter(|count| *count <= ENTRIES_MAX);
            let reason = "argument must be between 0 and 100000 inclusive";
            count.map(Change::SlowLogMax).ok_or(refused(reason))
        }
        "notify-keyspace-events" => {
            let flags = text.and_then(EventFlags::parse);
            let reason = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
            flags.map(Change::Events).ok_or(refused(reason))
        }
        "maxmemory" => {
            let bytes = text.and_then(memory_bytes);
            let reason = "argument must be a memory value";
            bytes.map(Change::MemoryBytes).ok_or(Failure::SettingRefused { name, reason })
        }
        "maxmemory-policy" => {
            let policy = text.and_then(Policy::parse);
            let reason = "argument(s) must be one of the following: volatile-lru, volatile-lfu, \
                          volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
            policy.map(Change::MemoryPolicy).ok_or(Failure::SettingRefused { name, reason })
        }
        "maxmemory-samples" => {
            let samples = text.and_then(|text| text.parse().ok()).filter(|samples| *samples > 0);
            let reason = "argument must be between 1 and 255 inclusive";
            samples.map(Change::MemorySamples).ok_or(Failure::SettingRefused { name, reason })
        }
        "tracking-table-max-keys" => {
            let keys = text.and_then(|text| text.parse().ok());
            let reason = "argument must be a number of keys, 0 for no bound";
            keys.map(Change::TrackingKeysMax).ok_or(Failure::SettingRefused { name, reason })
        }
        // Clients that set what is so anyway need not be told that it cannot be changed.
        _ if text == Some(present) => Ok(Change::None),
        _ => Err(Failure::SettingFixed { name, why: why_fixed(&lower) }),
    }
}

/// A number of bytes with or without a unit, as Redis reads it: `1k` is 1000, `1kb` 1024.
fn memory_bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
