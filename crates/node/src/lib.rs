//! A node: shards, the metadata group, routing and forwarding, membership, the one door.
