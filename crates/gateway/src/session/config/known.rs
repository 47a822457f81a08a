//! Settings of Redis that have one answer here: what it is, and why it cannot be changed.
//! Owns: the list. Never: a setting that can be changed while the node runs (see `config.rs`).

/// A setting that tools of Redis ask for.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    /// Why it is so, as the end of a sentence; empty where Redis cannot change it either.
    pub(super) why: &'static str,
}

const fn known(name: &'static str, value: &'static str, why: &'static str) -> Known {
    Known { name, value, why }
}

const LOGGED: &str = "every acknowledged write is in the log of a majority; when it counts as written is the setting \
     `durability` of every node, read at its start";
const FREED_AT_ONCE: &str = "values are freed with the command that removes them";
const ENCODINGS: &str = "collections change their form at fixed sizes, on every replica alike";
const CLUSTER: &str = "a shard serves as long as a majority of its replicas is there";
const COUNTED: &str = "the counter of uses has five bits, which stand for these values";
const ALWAYS_TOLD: &str = "times are always taken";

pub(super) const KNOWN: &[Known] = &[
    known("acllog-max-len", "128", "the bound of ACL LOG is fixed"),
    known("activedefrag", "no", "the allocator fills free places by itself"),
    known("appendonly", "yes", LOGGED),
    known("cluster-allow-reads-when-down", "no", CLUSTER),
    known("cluster-enabled", "yes", ""),
    known("cluster-require-full-coverage", "no", CLUSTER),
    known("daemonize", "no", ""),
    known("dbfilename", "", "snapshots are files of their own, taken by themselves"),
    known("hash-max-listpack-entries", "512", ENCODINGS),
    known("hash-max-listpack-value", "64", ENCODINGS),
    known("hash-max-ziplist-entries", "512", ENCODINGS),
    known("hash-max-ziplist-value", "64", ENCODINGS),
    known("hll-sparse-max-bytes", "3000", ENCODINGS),
    known("latency-tracking", "yes", ALWAYS_TOLD),
    known("latency-tracking-info-percentiles", "50 99 99.9", ALWAYS_TOLD),
    known("lazyfree-lazy-eviction", "no", FREED_AT_ONCE),
    known("lazyfree-lazy-expire", "no", FREED_AT_ONCE),
    known("lazyfree-lazy-server-del", "no", FREED_AT_ONCE),
    known("lazyfree-lazy-user-del", "no", FREED_AT_ONCE),
    known("lazyfree-lazy-user-flush", "no", FREED_AT_ONCE),
    known("lfu-decay-time", "1", COUNTED),
    known("lfu-log-factor", "10", COUNTED),
    known("list-compress-depth", "0", ENCODINGS),
    known("list-max-listpack-size", "-2", ENCODINGS),
    known("list-max-ziplist-size", "-2", ENCODINGS),
    known(
        "protected-mode",
        "no",
        "who may connect follows from the address that a node listens on",
    ),
    known("save", "", LOGGED),
    known("set-max-intset-entries", "512", ENCODINGS),
    known("set-max-listpack-entries", "128", ENCODINGS),
    known("set-max-listpack-value", "64", ENCODINGS),
    known("stream-node-max-bytes", "4096", ENCODINGS),
    known("stream-node-max-entries", "100", ENCODINGS),
    known("supervised", "no", ""),
    known("tls-port", "0", "connections of clients are not encrypted"),
    known("unixsocket", "", ""),
    known("zset-max-listpack-entries", "128", ENCODINGS),
    known("zset-max-listpack-value", "64", ENCODINGS),
    known("zset-max-ziplist-entries", "128", ENCODINGS),
    known("zset-max-ziplist-value", "64", ENCODINGS),
];

/// Why a setting that is not in the list cannot be changed.
pub(super) fn why_fixed(name: &str) -> &'static str {
    match KNOWN.iter().find(|known| known.name == name) {
        Some(known) => known.why,
        None if name == "appendfsync" => LOGGED,
        None if matches!(name, "bind" | "databases" | "port") => "",
        None => {
            "it is read when the node starts: change it in its settings file and start it again"
        }
    }
}
