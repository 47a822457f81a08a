//! Raft groups in single-threaded workers: proposals, leases, snapshots, peer transport.
