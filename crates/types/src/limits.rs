//! Every bound of the product, with its unit and its reason.
//! Owns: the constants. Never: enforcement, which stands where the thing that is bounded stands.
//! A bound that an operator may change has its default here and its name in the settings reference.

/// Longest key or value in one bulk string, bytes (`proto-max-bulk-len` of Redis: 512 MiB).
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most elements in one command (the multibulk limit of Redis: 1024 * 1024).
pub const COMMAND_ARGS_MAX: usize = 1024 * 1024;
/// Longest inline command or protocol line, bytes (as Redis: 64 KiB).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of one request before a client has logged in (as Redis: guards memory against strangers).
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// Most elements of one request before a client has logged in (as Redis).
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
/// Reply bytes that may wait for a slow reader before its connection is closed.
pub const CLIENT_OUTPUT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Reply bytes that may wait before the server stops reading further commands from that connection.
pub const CLIENT_OUTPUT_BYTES_SOFT: usize = 1024 * 1024;
/// Bytes of commands in one MULTI; past it the transaction is discarded.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Open client connections (`maxclients` of Redis: 10,000), default.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Most numbered databases: a shard keeps a few hundred bytes for each up to the highest that was used.
pub const DATABASES_MAX: u16 = 1024;
/// Numbered databases that clients may select (`databases` of Redis), default.
pub const DATABASES_DEFAULT: u16 = 16;

/// Bytes of commands packed into one log entry before the next is begun. One command may be larger.
pub const ENTRY_BYTES_TARGET: usize = 256 * 1024;
/// Largest log entry: one command of the greatest size and its neighbours. Larger ones are refused.
pub const ENTRY_BYTES_MAX: usize = BULK_BYTES_MAX + 4 * 1024 * 1024;
/// Bytes of commands that may wait in one shard's queue for their proposal; past it: `OVERLOADED`.
pub const SHARD_QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Largest frame between nodes, bytes.
pub const FRAME_BYTES_MAX: usize = ENTRY_BYTES_MAX + 1024 * 1024;
/// Bytes that may wait for one peer in each lane before frames to it are dropped (Raft sends again).
pub const PEER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one chunk of a snapshot on its way to a peer.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;

/// Size of one log segment on disk, bytes; it is filled with zeros before use.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Fewest and most shards of a cluster.
pub const SHARDS_MIN: u32 = 1;
/// See [`SHARDS_MIN`].
pub const SHARDS_MAX: u32 = 1024;
/// Nodes that a cluster is founded for if nobody says how many: as many as there are replicas of a shard.
pub const NODES_EXPECTED_MIN: u32 = 3;
/// Replicas of a shard, if there are that many nodes.
pub const REPLICAS_DEFAULT: usize = 3;

/// Default wait of CLUSTER SYNC for replicas that are behind, milliseconds: what catching up by log takes.
pub const SYNC_MS_DEFAULT: u64 = 30_000;
/// Longest wait of CLUSTER SYNC, milliseconds: a connection is held up for that long.
pub const SYNC_MS_MAX: u64 = 600_000;

/// Keys in the table of client-side caching of one node, default (`tracking-table-max-keys` of Redis). Past it, keys are let
/// go of, and whoever registered them is told.
pub const TRACKING_KEYS_MAX: usize = 1_000_000;
