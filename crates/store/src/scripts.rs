//! The scripts that a shard knows by name, so that EVALSHA need not bring their text.
//! Owns: their texts and which go when there are too many. Never: runs one.
//!
//! They are part of the replicated state: in every replica, in snapshots, in the digest. What SCRIPT LOAD brought stays until
//! SCRIPT FLUSH; of those that EVAL brought the oldest goes when there are more than [`EVALUATED_MAX`], as in Redis 7.4.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Scripts kept because EVAL brought them, as many as Redis keeps.
pub(crate) const EVALUATED_MAX: usize = 500;
/// Longest text that EVAL leaves behind, bytes.
const EVALUATED_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all texts that SCRIPT LOAD may bring, with what is kept beside each.
pub(crate) const LOADED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is kept beside a text, bytes: its name, its place.
const BESIDE_BYTES: usize = 128;

/// The scripts of one shard.
#[derive(Default)]
pub(crate) struct Scripts {
    texts: BTreeMap<Box<str>, Script>,
    /// Names of those that EVAL brought, the oldest first.
    evaluated: VecDeque<Box<str>>,
    loaded_bytes: usize,
}

struct Script {
    text: Arc<[u8]>,
    is_loaded: bool,
}

impl Scripts {
    /// The text under a name, in any case.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<[u8]>> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.texts.get(name.as_str()).map(|script| Arc::clone(&script.text))
    }

    /// Keeps what EVAL brought.
    pub(crate) fn evaluated(&mut self, name: &str, text: &[u8]) {
        if text.len() > EVALUATED_BYTES_MAX || self.texts.contains_key(name) {
            return;
        }
        self.texts.insert(name.into(), Script { text: text.into(), is_loaded: false });
        self.evaluated.push_back(name.into());
        if self.evaluated.len() > EVALUATED_MAX
            && let Some(oldest) = self.evaluated.pop_front()
        {
            self.texts.remove(&oldest);
        }
    }

    /// Keeps what SCRIPT LOAD brought; false if there is no room.
    pub(crate) fn loaded(&mut self, name: &str, text: &[u8]) -> bool {
        if self.texts.get(name).is_some_and(|script| script.is_loaded) {
            return true;
        }
        let bytes = self.loaded_bytes + text.len() + BESIDE_BYTES;
        if bytes > LOADED_BYTES_MAX {
            return false;
        }
        self.loaded_bytes = bytes;
        self.evaluated.retain(|known| **known != *name);
        self.texts.insert(name.into(), Script { text: text.into(), is_loaded: true });
        true
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// All texts, and whether SCRIPT LOAD brought them; the others in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (bool, &[u8])> {
        let loaded = self.texts.values().filter(|script| script.is_loaded);
        let evaluated = self.evaluated.iter().filter_map(|name| self.texts.get(name));
        loaded.chain(evaluated).map(|script| (script.is_loaded, &*script.text))
    }
}
