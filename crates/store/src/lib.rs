//! The deterministic data structure server: keyspace, values, commands, expiry, snapshots.
