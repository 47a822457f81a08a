//! The libraries of functions that FUNCTION LOAD brought.
//! Owns: their texts and what each has registered. Never: runs one (see `command/script`).
//!
//! They are part of every shard's replicated state, like scripts: in every replica, in snapshots, in the digest. So a function
//! is there wherever a key is, and an entry that calls one means the same on every replica.
//!
//! One shard, the first, decides: FUNCTION LOAD and its kin are applied there alone, and each change counts the version up.
//! The others are given all libraries with their version ([`Store::adopt_libraries`](crate::Store::adopt_libraries)), as
//! often as it takes and in any order.
//! INV-FN1: the version never falls, and of two shards with one version the libraries are the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use keystead_script::{Flags, FunctionRow, Loaded};

use crate::error::CommandError;
use crate::wire::{WireReader, put_bytes, put_var};

/// Bytes of all libraries: they travel to every shard with each change.
pub(crate) const LIBRARIES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The libraries of one shard.
#[derive(Clone, Default)]
pub(crate) struct Functions {
    libraries: BTreeMap<String, Library>,
    /// Which library a function is in; names of functions are the same in any case, as in Redis.
    homes: BTreeMap<String, String>,
    /// Changes that led here, in the order of the first shard's log.
    version: u64,
}

/// One library.
#[derive(Clone)]
pub(crate) struct Library {
    pub(crate) code: Arc<[u8]>,
    pub(crate) functions: Vec<FunctionRow>,
}

/// What becomes of a library of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSame {
    /// It stays, and the newcomer is refused.
    Refuse,
    /// The newcomer takes its place.
    Replace,
}

impl Functions {
    /// The text of the library that a function is in, and what it says of the function.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(Arc<[u8]>, &FunctionRow)> {
        let name = std::str::from_utf8(name).ok()?;
        let library = self.libraries.get(self.homes.get(&name.to_ascii_lowercase())?)?;
        let row = library.functions.iter().find(|row| row.name.eq_ignore_ascii_case(name))?;
        Some((Arc::clone(&library.code), row))
    }

    /// True if there is a library with this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.libraries.contains_key(name)
    }

    /// Adds a library; nothing is changed if that is refused.
    pub(crate) fn add(
        &mut self,
        loaded: Loaded,
        code: &[u8],
        on_same: OnSame,
    ) -> Result<(), CommandError> {
        let Loaded { name, functions } = loaded;
        if on_same == OnSame::Refuse && self.contains(&name) {
            return Err(CommandError::LibraryExists { name: name.into() });
        }
        let taken = functions.iter().find(|row| {
            let home = self.homes.get(&row.name.to_ascii_lowercase());
            home.is_some_and(|home| *home != name)
        });
        if let Some(row) = taken {
            return Err(CommandError::FunctionExists { name: row.name.as_str().into() });
        }
        let others = self.libraries.iter().filter(|(other, _)| **other != name);
        let bytes = others.map(|(_, library)| library.code.len()).sum::<usize>() + code.len();
        if bytes > LIBRARIES_BYTES_MAX {
            return Err(CommandError::LibrariesFull { bytes_max: LIBRARIES_BYTES_MAX });
        }
        self.remove(name.as_bytes());
        for row in &functions {
            self.homes.insert(row.name.to_ascii_lowercase(), name.clone());
        }
        self.libraries.insert(name, Library { code: code.into(), functions });
        Ok(())
    }

    /// Removes a library; false if there is none of that name.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let Some(library) = self.libraries.remove(name) else { return false };
        for row in &library.functions {
            self.homes.remove(&row.name.to_ascii_lowercase());
        }
        true
    }

    /// Changes that led here.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Notes a change of this shard's own.
    pub(crate) const fn changed(&mut self) {
        self.version = self.version.saturating_add(1);
    }

    /// What a snapshot says of the version.
    pub(crate) const fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    /// All libraries and their version, for other shards.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.version.to_le_bytes().to_vec();
        put_var(&mut out, self.libraries.len() as u64);
        for (name, library) in &self.libraries {
            put_library(&mut out, name, library);
        }
        out
    }

    /// What [`to_bytes`](Self::to_bytes) gave; `None` if these bytes are none of it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = WireReader(bytes);
        let mut functions = Self { version: input.u64()?, ..Self::default() };
        for _ in 0..input.var()? {
            read_library(&mut input, &mut functions)?;
        }
        input.is_empty().then_some(functions)
    }

    /// All libraries by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Library)> {
        self.libraries.iter().map(|(name, library)| (name.as_str(), library))
    }

    /// Number of functions in all libraries.
    pub(crate) fn count(&self) -> usize {
        self.homes.len()
    }
}

/// Appends a library as a snapshot holds it.
pub(crate) fn put_library(out: &mut Vec<u8>, name: &str, library: &Library) {
    put_bytes(out, name.as_bytes());
    put_bytes(out, &library.code);
    put_var(out, library.functions.len() as u64);
    for row in &library.functions {
        put_bytes(out, row.name.as_bytes());
        out.push(row.flags.bits());
        out.push(u8::from(row.description.is_some()));
        put_bytes(out, row.description.as_deref().unwrap_or_default());
    }
}

/// Reads a library of a snapshot.
pub(crate) fn read_library(input: &mut WireReader<'_>, functions: &mut Functions) -> Option<()> {
    let name = text(input)?;
    let code = input.bytes()?;
    let mut rows = Vec::new();
    for _ in 0..input.var()? {
        let name = text(input)?;
        let flags = Flags::from_bits(input.byte()?)?;
        let has_description = input.byte()? != 0;
        let description = input.bytes()?;
        let description = has_description.then(|| description.to_vec());
        rows.push(FunctionRow { name, description, flags });
    }
    functions.add(Loaded { name, functions: rows }, code, OnSame::Refuse).ok()
}

fn text(input: &mut WireReader<'_>) -> Option<String> {
    String::from_utf8(input.bytes()?.to_vec()).ok()
}
