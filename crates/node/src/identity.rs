//! Who a node is, kept in its data directory: `identity.json`.
//!
//! Owns: [`Identity`], reading and durably writing it. Never: decides to found or to join.
//!
//! ```text
//! fresh    --(founds)-->  founding  --(its groups are in the log)-->  member
//! fresh    --(joins)--->  member
//! ```
//! INV-I1: a node id is drawn once per data directory and never used again elsewhere.
//! INV-I2: a member whose log is gone does not start: its votes and acknowledged writes are gone too.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use keystead_types::NodeId;
use keystead_wal::{RealDisk, write_durably};
use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";
const FORMAT: u32 = 1;

/// How far the node is on its way into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It belongs to no cluster.
    Fresh,
    /// It is founding one: what its log lacks is made.
    Founding,
    /// It belongs to one.
    Member,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    format: u32,
    /// The node's id.
    pub node: u64,
    /// Names the log, so that blocks of another one are not taken for its own.
    pub log: u64,
    /// How far it is.
    pub stage: Stage,
    /// The cluster, 0 if none.
    pub cluster: u64,
    /// Seed of all hash tables of the cluster.
    pub hash_seed: u64,
    /// Shards of the cluster, the metadata group not counted.
    pub shards: u32,
    /// Counts the starts.
    pub incarnation: u64,
    /// Peer addresses of other nodes as last heard, to find the cluster again.
    pub peers: Vec<(u64, String)>,
}

/// Why a node's identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data directory cannot be made, read or written.
    #[error(
        "cannot {what} {path}: {source}; check that the data directory exists, is writable and has room"
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not an identity.
    #[error(
        "{path} is damaged: {source}; restore it from a copy of this data directory, or move the directory away and let \
         the node join again as a new one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error(
        "{path} has format {format}, this program knows {FORMAT}: start the program that wrote it, or a newer one"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

impl Identity {
    /// The identity in `dir`, which is made if it does not exist; `None` if there is none yet.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(FILE);
        std::fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(&path, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, IdentityError> {
        let damaged = |source| IdentityError::Damaged { path: path.to_owned(), source };
        let any: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        let format = any
            .get("format")
            .and_then(serde_json::Value::as_u64)
            .and_then(|f| u32::try_from(f).ok());
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            return Err(IdentityError::Format { path: path.to_owned(), format });
        }
        serde_json::from_value(any).map_err(damaged)
    }

    /// A new identity, not on disk yet.
    #[must_use]
    pub fn draw() -> Self {
        Self {
            format: FORMAT,
            node: random_id(),
            log: random_id(),
            stage: Stage::Fresh,
            cluster: 0,
            hash_seed: 0,
            shards: 0,
            incarnation: 0,
            peers: Vec::new(),
        }
    }

    /// Makes the identity durable.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    ///
    /// # Panics
    /// Never: no part of an identity can fail to become JSON.
    pub fn save(&self, dir: &Path) -> Result<(), IdentityError> {
        let bytes = serde_json::to_vec_pretty(self).expect("an identity is numbers and strings");
        write_durably(&RealDisk, dir, FILE, |file| file.write_all(&bytes))
            .map_err(io_error("write", &dir.join(FILE)))?;
        Ok(())
    }

    /// The node's id.
    #[must_use]
    pub const fn node_id(&self) -> NodeId {
        NodeId(self.node)
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError + use<> {
    let path = path.to_owned();
    move |source| IdentityError::Io { what, path, source }
}

/// A number that nobody else has drawn: from the operating system, not 0. 48 bits, so that ids stay
/// short to read and are exact in every client's numbers.
pub(crate) fn random_id() -> u64 {
    loop {
        let id = random() >> 16;
        if id != 0 {
            return id;
        }
    }
}

/// 64 bits from the operating system.
///
/// # Panics
/// If the operating system has no randomness to give: nothing can be founded then.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes once it has booted")
}

#[cfg(test)]
mod tests {
    use super::Identity;

    /// INV-I1.
    #[test]
    fn a_directory_keeps_its_node_and_every_draw_is_another() {
        let here = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(here.path()).unwrap(), None);
        let drawn = Identity::draw();
        drawn.save(here.path()).unwrap();
        assert_eq!(Identity::load(here.path()).unwrap(), Some(drawn.clone()));
        let other = Identity::draw();
        assert!(other.node != drawn.node && other.log != drawn.log);
    }
}
