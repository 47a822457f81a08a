//! Snapshot files. Owns: their format and I/O. Never: what the state in them means.
