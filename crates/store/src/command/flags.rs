//! Flags and ACL categories of commands, as bits.
//! Owns: the bits and their names. Never: what a flag makes the gateway do.

/// May change data.
pub const WRITE: u32 = 1;
/// Only reads data.
pub const READONLY: u32 = 1 << 1;
/// Refused when memory is full.
pub const DENYOOM: u32 = 1 << 2;
/// For operators.
pub const ADMIN: u32 = 1 << 3;
/// Not from scripts.
pub const NOSCRIPT: u32 = 1 << 4;
/// Allowed while data is loading.
pub const LOADING: u32 = 1 << 5;
/// Allowed on a replica that lags.
pub const STALE: u32 = 1 << 6;
/// Constant or logarithmic time.
pub const FAST: u32 = 1 << 7;
/// Allowed before authentication.
pub const NO_AUTH: u32 = 1 << 8;
/// Allowed while a script runs too long.
pub const ALLOW_BUSY: u32 = 1 << 9;
/// Not in the slow log.
pub const SKIP_SLOWLOG: u32 = 1 << 10;
/// Not shown by MONITOR.
pub const SKIP_MONITOR: u32 = 1 << 11;
/// Not inside MULTI.
pub const NO_MULTI: u32 = 1 << 12;
/// May wait.
pub const BLOCKING: u32 = 1 << 13;
/// Keys cannot be found by position alone.
pub const MOVABLEKEYS: u32 = 1 << 14;
/// Allowed while asynchronous loading goes on.
pub const NO_ASYNC_LOADING: u32 = 1 << 15;
/// About channels; Redis' flag `pubsub`.
pub const PUBLISHES: u32 = 1 << 16;
/// Taken in a slot that is being imported.
pub const ASKING: u32 = 1 << 17;
/// Names databases among its arguments (see `command/database.rs`); not shown.
pub const NAMES_DATABASE: u32 = 1 << 18;
/// It has keys only if it is given some.
pub const NO_MANDATORY_KEYS: u32 = 1 << 19;

/// Names of the flags in COMMAND INFO.
pub const FLAG_NAMES: &[(u32, &str)] = &[
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (ADMIN, "admin"),
    (PUBLISHES, "pubsub"),
    (NOSCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (ASKING, "asking"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (NO_ASYNC_LOADING, "no_async_loading"),
    (NO_MULTI, "no_multi"),
    (NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (MOVABLEKEYS, "movablekeys"),
    (ALLOW_BUSY, "allow_busy"),
];

/// ACL category `@keyspace`.
pub const KEYSPACE: u32 = 1;
/// ACL category `@read`.
pub const READ_CATEGORY: u32 = 1 << 1;
/// ACL category `@write`.
pub const WRITE_CATEGORY: u32 = 1 << 2;
/// ACL category `@string`.
pub const STRING: u32 = 1 << 3;
/// ACL category `@hash`.
pub const HASH: u32 = 1 << 4;
/// ACL category `@bitmap`.
pub const BITMAP: u32 = 1 << 5;
/// ACL category `@admin`.
pub const ADMIN_CATEGORY: u32 = 1 << 6;
/// ACL category `@fast`.
pub const FAST_CATEGORY: u32 = 1 << 7;
/// ACL category `@slow`.
pub const SLOW: u32 = 1 << 8;
/// ACL category `@blocking`.
pub const BLOCKING_CATEGORY: u32 = 1 << 9;
/// ACL category `@dangerous`.
pub const DANGEROUS: u32 = 1 << 10;
/// ACL category `@connection`.
pub const CONNECTION: u32 = 1 << 11;
/// ACL category `@transaction`.
pub const TRANSACTION: u32 = 1 << 12;
/// ACL category `@list`.
pub const LIST: u32 = 1 << 13;
/// ACL category `@set`.
pub const SET: u32 = 1 << 14;
/// ACL category `@sortedset`.
pub const SORTED_SET: u32 = 1 << 15;
/// ACL category `@stream`.
pub const STREAM: u32 = 1 << 16;
/// ACL category `@hyperloglog`.
pub const HYPERLOGLOG: u32 = 1 << 17;
/// ACL category `@geo`.
pub const GEO: u32 = 1 << 18;
/// ACL category `@pubsub`.
pub const PUBSUB: u32 = 1 << 19;
/// ACL category `@scripting`.
pub const SCRIPTING: u32 = 1 << 20;

/// ACL category `@json`.
pub const JSON: u32 = 1 << 21;

/// Names of the categories, without the `@`.
pub const CATEGORY_NAMES: &[(u32, &str)] = &[
    (KEYSPACE, "keyspace"),
    (READ_CATEGORY, "read"),
    (WRITE_CATEGORY, "write"),
    (SET, "set"),
    (SORTED_SET, "sortedset"),
    (LIST, "list"),
    (HASH, "hash"),
    (STRING, "string"),
    (BITMAP, "bitmap"),
    (HYPERLOGLOG, "hyperloglog"),
    (GEO, "geo"),
    (STREAM, "stream"),
    (PUBSUB, "pubsub"),
    (ADMIN_CATEGORY, "admin"),
    (FAST_CATEGORY, "fast"),
    (SLOW, "slow"),
    (BLOCKING_CATEGORY, "blocking"),
    (DANGEROUS, "dangerous"),
    (CONNECTION, "connection"),
    (TRANSACTION, "transaction"),
    (SCRIPTING, "scripting"),
    (JSON, "json"),
];

/// The categories that follow from a command's flags, and those that its row names.
#[must_use]
pub const fn categories(flags: u32, extra: u32) -> u32 {
    let mut bits = extra;
    if flags & WRITE != 0 {
        bits |= WRITE_CATEGORY;
    }
    // What a script reads is not known beforehand.
    if flags & READONLY != 0 && extra & SCRIPTING == 0 {
        bits |= READ_CATEGORY;
    }
    if flags & ADMIN != 0 {
        bits |= ADMIN_CATEGORY | DANGEROUS;
    }
    if flags & BLOCKING != 0 {
        bits |= BLOCKING_CATEGORY;
    }
    bits | if flags & FAST != 0 { FAST_CATEGORY } else { SLOW }
}
