//! Identifiers as newtypes, so that a term is never passed where an index is meant.
//! Owns: the id types and how they print. Never: how ids are chosen (see `topology`).

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A node (one process with one data directory). Drawn at random when the directory is first
    /// used and never reused: a node that lost its data comes back as a new node. 0 is nobody.
    NodeId(u64), "n"
);
id!(
    /// A shard: one Raft group serving a run of slots. 0 is the metadata group.
    ShardId(u32), "s"
);
id!(
    /// Position in a shard's log, from 1. 0 is "before the first entry".
    LogIndex(u64), ""
);
id!(
    /// A Raft term.
    Term(u64), "t"
);
id!(
    /// Version of the topology: grows with every change of the slot map, of a replica set or of an address.
    Epoch(u64), "e"
);

id!(
    /// A numbered database, from 0; SELECT names it. Every shard holds a part of each.
    DatabaseId(u16), "db"
);

impl DatabaseId {
    /// The one that a connection begins with.
    pub const FIRST: Self = Self(0);

    /// The database's place in a list of all.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl ShardId {
    /// The metadata group.
    pub const META: Self = Self(0);

    /// True for the metadata group, false for shards that hold keys.
    #[must_use]
    pub const fn is_meta(self) -> bool {
        self.0 == 0
    }
}

impl NodeId {
    /// No node.
    pub const NONE: Self = Self(0);

    /// The 40 hexadecimal digits that the Redis Cluster protocol uses for a node.
    #[must_use]
    pub fn to_hex40(self) -> String {
        format!("{:016x}{:024x}", self.0, 0)
    }
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
