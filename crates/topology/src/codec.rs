//! Bytes of the metadata machine: commands in the log, dumps in snapshots, the digest of a state.
//! Owns: both formats and their versions. Never: reads or writes a file.
//! A command is one line of JSON without a line break; the log entry around it carries the version.
//! A dump is one JSON object that names its format and version first (`docs/formats.md`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Command, Topology, Violation};

const DUMP_FORMAT: &str = "keystead-topology";
const DUMP_VERSION: u32 = 1;

/// Largest command, bytes: one access record of the greatest size and its frame, with room.
const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// Why bytes were not understood.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Not a command this version knows.
    #[error("cannot read a metadata command: {source}; was it written by a newer version?")]
    Command {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// Too long to be a command.
    #[error("a metadata command has {bytes} bytes, the limit is {max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Not a dump.
    #[error("cannot read a metadata snapshot: {source}; fetch it again from another node")]
    Dump {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A dump of another kind or version.
    #[error(
        "the metadata snapshot has format {format} version {version}, this program reads \
         keystead-topology version 1; upgrade it"
    )]
    Version {
        /// Its format.
        format: String,
        /// Its version.
        version: u32,
    },
    /// A dump whose content contradicts itself.
    #[error("the metadata snapshot is damaged: {source}; fetch it again from another node")]
    Damaged {
        /// The contradiction.
        source: Violation,
    },
}

impl Command {
    /// The command as one line of JSON, without the line break.
    ///
    /// # Panics
    /// Never: no part of a command can fail to become JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .expect("commands are numbers, strings and lists, all of which JSON has")
    }

    /// The command in this line.
    ///
    /// # Errors
    /// [`CodecError::Command`] or [`CodecError::TooLong`].
    pub fn decode(line: &[u8]) -> Result<Self, CodecError> {
        if line.len() > COMMAND_BYTES_MAX {
            return Err(CodecError::TooLong { bytes: line.len(), max: COMMAND_BYTES_MAX });
        }
        serde_json::from_slice(line).map_err(|source| CodecError::Command { source })
    }
}

impl Topology {
    /// The whole state, for a snapshot.
    ///
    /// # Panics
    /// Never: no part of the state can fail to become JSON.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        let dump = Dump { format: DUMP_FORMAT, version: DUMP_VERSION, topology: self };
        serde_json::to_vec(&dump)
            .expect("the state is numbers, strings and lists, all of which JSON has")
    }

    /// The state in this dump.
    ///
    /// # Errors
    /// [`CodecError::Dump`], [`CodecError::Version`], or [`CodecError::Damaged`] if what is in it
    /// breaks an invariant.
    pub fn load(dump: &[u8]) -> Result<Self, CodecError> {
        let heading: Heading =
            serde_json::from_slice(dump).map_err(|source| CodecError::Dump { source })?;
        if heading.format != DUMP_FORMAT || heading.version != DUMP_VERSION {
            return Err(CodecError::Version { format: heading.format, version: heading.version });
        }
        let body: Body =
            serde_json::from_slice(dump).map_err(|source| CodecError::Dump { source })?;
        body.topology.check().map_err(|source| CodecError::Damaged { source })?;
        Ok(body.topology)
    }

    /// 64 bits over the whole state: equal on replicas that applied the same entries. FNV-1a; it
    /// guards against divergence, not against an adversary.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.dump().iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

#[derive(Serialize)]
struct Dump<'state> {
    format: &'static str,
    version: u32,
    topology: &'state Topology,
}

#[derive(Deserialize)]
struct Heading {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
struct Body {
    topology: Topology,
}
