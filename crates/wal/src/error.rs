//! What can go wrong with the log, said once, in words an operator can act on.
//! Owns: [`WalError`], [`Kind`] and their texts. Never: deciding what follows; the writer stops, the process ends.

use std::io;
use std::path::PathBuf;

use keystead_types::{LogIndex, ShardId};

use crate::recovery::Fault;

/// Why the log could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// A write to a segment failed. The log is poisoned; the process must end.
    #[error(
        "cannot append to the log at {path}: {source}; this node stops, because a failed write may already \
         have lost data; replace the disk or remove the node, then start again"
    )]
    Append {
        /// The segment that was written to.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An fsync of a segment failed. It is never retried; the log is poisoned; the process must end.
    #[error(
        "cannot sync the log at {path}: {source}; this node stops, because a failed fsync may already \
         have lost data; replace the disk or remove the node, then start again"
    )]
    Sync {
        /// The segment that was synced.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something was asked of a log whose earlier write or fsync failed.
    #[error(
        "the log accepts nothing more, because an earlier write or fsync failed; this node must stop"
    )]
    Poisoned,
    /// There is no room for another segment. Nothing was written; the log goes on once there is room.
    #[error(
        "the disk under the log at {path} is full: a new segment needs {needed_bytes} bytes, {free_bytes} are \
         free and {reserve_bytes} of them stay in reserve; free some space, the node then goes on by itself"
    )]
    Full {
        /// The segment that could not be made.
        path: PathBuf,
        /// Size of that segment.
        needed_bytes: u64,
        /// What the file system had left.
        free_bytes: u64,
        /// What is left alone for snapshots and the rest of the system.
        reserve_bytes: u64,
    },
    /// Bytes that had been synced are no longer what was written.
    #[error(
        "the log is damaged at byte {offset} of {path}: {fault}, although the block at byte {witness_offset} of \
         {witness} says that this place had been synced; nothing was changed; restore this node's data from the \
         other replicas: move its data directory away and let the node join again as a new one"
    )]
    Damaged {
        /// The segment with the damage.
        path: PathBuf,
        /// Where the block begins that is damaged.
        offset: u64,
        /// What is wrong with it.
        fault: Fault,
        /// The segment with the later block that proves it.
        witness: PathBuf,
        /// Where that later block begins.
        witness_offset: u64,
    },
    /// The beginning of a segment is not what was written: its own header, or the first block of the oldest segment.
    /// Both were durable before the segment was relied on.
    #[error(
        "the log is damaged at byte {offset} of {path}: the head of the segment is not what was written ({fault}); \
         nothing was changed; restore this node's data from the other replicas: move its data directory away and let \
         the node join again as a new one"
    )]
    DamagedHead {
        /// The segment.
        path: PathBuf,
        /// Where the part begins that is damaged.
        offset: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A segment in the middle is not there.
    #[error(
        "segment {path} of the log is missing, though later ones exist; nothing was changed; put the file back, or \
         restore this node's data from the other replicas: move its data directory away and let the node join \
         again as a new one"
    )]
    MissingSegment {
        /// The first segment that is missing.
        path: PathBuf,
    },
    /// A group's entries do not follow its snapshot: the oldest segments are not there.
    #[error(
        "the log in {path} lacks entries {expected} to {last_missing} of {group}, so older segments are missing; \
         nothing was changed; put the files back, or restore this node's data from the other replicas: move its \
         data directory away and let the node join again as a new one"
    )]
    Gap {
        /// The directory of the log.
        path: PathBuf,
        /// The group.
        group: ShardId,
        /// The first entry that should be there.
        expected: LogIndex,
        /// The last entry that is not there.
        last_missing: LogIndex,
    },
    /// Written by another version of the format.
    #[error(
        "segment {path} has log format {found}, this program reads formats up to {supported}; nothing was changed; start \
         the version of the program that wrote it"
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version it carries.
        found: u32,
        /// The version this program reads.
        supported: u32,
    },
    /// A segment of another log lies among ours.
    #[error(
        "segment {path} belongs to another log than the segments before it; nothing was changed; take the file \
         away if it was copied here, else restore this node's data from the other replicas"
    )]
    Foreign {
        /// The segment.
        path: PathBuf,
    },
    /// Another process uses the directory.
    #[error(
        "the data directory of {path} is in use by {}; stop that process first, or give this node a directory of \
         its own", holder(*pid)
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if it said so.
        pid: Option<u32>,
    },
    /// Opening, listing, reading or tidying failed before anything was promised.
    #[error(
        "cannot {operation} {path}: {source}; check that the disk is mounted and that this user may write to it"
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What a caller can do about a [`WalError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was written may or may not be there: end the process.
    Unknown,
    /// The log accepts nothing more: end the process.
    Closed,
    /// No room: refuse new work, try again later.
    Unavailable,
    /// What is on disk is not what was written: a person must restore the node.
    Corrupt,
    /// Somebody else holds the directory.
    Conflict,
    /// The directory cannot be used as it is: a person must look at it.
    Invalid,
}

impl WalError {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Append { .. } | Self::Sync { .. } => Kind::Unknown,
            Self::Poisoned => Kind::Closed,
            Self::Full { .. } => Kind::Unavailable,
            Self::Damaged { .. }
            | Self::DamagedHead { .. }
            | Self::MissingSegment { .. }
            | Self::Gap { .. } => Kind::Corrupt,
            Self::Locked { .. } => Kind::Conflict,
            Self::Version { .. } | Self::Foreign { .. } | Self::Io { .. } => Kind::Invalid,
        }
    }

    /// Wraps an error of the operating system with what was tried, for `map_err`.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
