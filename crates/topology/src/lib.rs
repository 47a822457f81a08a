//! The metadata machine: nodes, shards, slot map, settings, and the placement that follows from them.
