//! One segmented, checksummed log per node, with one fsync for all groups.
