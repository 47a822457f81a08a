//! CONFIG: what clients ask of a Redis server's settings, answered for this one.
//! Owns: the names that clients know, and the two settings that may change while connections go on.
//! Never: the node's configuration file (see `keystead`), whose values it only shows.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use keystead_node::events::EventFlags;
use keystead_store::command::SessionCommand;
use keystead_store::glob_matches;

use crate::dispatch::Verdict;
use crate::listener::KEEPALIVE_TIME;
use crate::local::Shared;
use crate::reply::Failure;

use super::{Answer, SessionCall};

/// Settings of Redis that clients ask for and that have one answer here.
const FIXED: &[(&str, &str)] = &[
    ("activedefrag", "no"),
    ("appendfsync", "always"),
    ("appendonly", "yes"),
    ("cluster-allow-reads-when-down", "no"),
    ("cluster-enabled", "yes"),
    ("cluster-require-full-coverage", "no"),
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("lazyfree-lazy-user-flush", "no"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("save", ""),
    ("slowlog-log-slower-than", "-1"),
    ("slowlog-max-len", "0"),
];

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn config(&mut self, kind: SessionCommand) -> Answer<'a> {
        match kind {
            SessionCommand::ConfigGet => self.config_get(),
            SessionCommand::ConfigSet => self.config_set(),
            SessionCommand::ConfigResetStat => {
                self.turn.local.shared.stats.reset();
                self.ok()
            }
            SessionCommand::ConfigRewrite => Err(Failure::Unsupported { what: "CONFIG REWRITE" }),
            _ => self.help("config"),
        }
    }

    /// `CONFIG GET pattern [pattern ...]`
    fn config_get(&mut self) -> Answer<'a> {
        let settings = settings(&self.turn.local.shared);
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
        let known = settings(&self.turn.local.shared);
        let mut changes = Vec::new();
        for (at, (name, value)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(Failure::SettingTwice { name });
            }
            changes.push(change(&known, name, value)?);
        }
        let live = &self.turn.local.shared.live;
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
                Change::IdleTimeout(seconds) => {
                    live.idle_timeout_s.store(seconds, Ordering::Relaxed);
                }
            }
        }
        self.ok()
    }
}

/// A setting about to take effect.
enum Change {
    None,
    ConnectionsMax(usize),
    IdleTimeout(u64),
    Events(EventFlags),
    TrackingKeysMax(usize),
}

/// All settings with their present values.
fn settings(shared: &Shared) -> BTreeMap<String, String> {
    let fixed = FIXED.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut all: BTreeMap<String, String> = fixed.collect();
    all.extend(shared.config.shown_settings.iter().cloned());
    let config = &shared.config;
    let own = [
        ("databases", config.databases.to_string()),
        ("maxclients", shared.live.connections_max().to_string()),
        ("tcp-keepalive", KEEPALIVE_TIME.as_secs().to_string()),
        ("timeout", shared.live.idle_timeout_s().to_string()),
        ("notify-keyspace-events", config.bus.event_flags().letters()),
        ("tracking-table-max-keys", config.bus.tracking().keys_max().to_string()),
        ("io-threads", config.io_threads.to_string()),
        ("proto-max-bulk-len", config.bulk_bytes_max.to_string()),
        ("client-output-buffer-limit", format!("normal {} 0 0", config.output_bytes_max)),
        // As in Redis, whoever may ask may know it; but nobody needs to.
        ("requirepass", String::new()),
    ];
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    all
}

fn change<'a>(
    known: &BTreeMap<String, String>,
    name: &'a [u8],
    value: &[u8],
) -> Result<Change, Failure<'a>> {
    let text = std::str::from_utf8(value).ok();
    let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
    let present = known.get(&lower).ok_or(Failure::UnknownSetting { name })?;
    match lower.as_str() {
        "maxclients" => {
            let count = text.and_then(|text| text.parse().ok()).filter(|count| *count > 0);
            let reason = "argument must be a positive number of connections";
            count.map(Change::ConnectionsMax).ok_or(Failure::SettingRefused { name, reason })
        }
        "timeout" => {
            let seconds = text.and_then(|text| text.parse().ok());
            let reason = "argument must be a number of seconds, 0 for none";
            seconds.map(Change::IdleTimeout).ok_or(Failure::SettingRefused { name, reason })
        }
        "notify-keyspace-events" => {
            let flags = text.and_then(EventFlags::parse);
            let reason = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
            flags.map(Change::Events).ok_or(Failure::SettingRefused { name, reason })
        }
        "tracking-table-max-keys" => {
            let keys = text.and_then(|text| text.parse().ok());
            let reason = "argument must be a number of keys, 0 for no bound";
            keys.map(Change::TrackingKeysMax).ok_or(Failure::SettingRefused { name, reason })
        }
        // Clients that set what is so anyway need not be told that it cannot be changed.
        _ if text == Some(present) => Ok(Change::None),
        _ => Err(Failure::SettingFixed { name }),
    }
}
