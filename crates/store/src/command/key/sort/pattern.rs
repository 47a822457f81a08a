//! Patterns of SORT: the key, or the field of a hash, that goes with a member.
//! Owns: how a pattern is read, and which ones may be asked. Never: the order.
//!
//! Keys that a pattern names stand nowhere among the arguments, so nobody can tell beforehand where they are. A store
//! that has some of the slots therefore takes a pattern only if every key that it can name is in the slot of the key
//! that is sorted: its `{hash tag}` stands before the `*`. The answer then follows from keys and not from how slots
//! were dealt out to shards. This is the rule of Redis 7.4 in cluster mode; Redis 7.0 takes no pattern there at all.

use keystead_types::Slot;

use crate::command::Reader;
use crate::entry::Value;
use crate::error::CommandError;
use crate::value::Held;
use crate::value::hash::Hash;

/// What is asked for each member.
#[derive(Clone, Copy)]
pub(super) enum Pattern<'a> {
    /// `#`: itself.
    Member,
    /// A text without `*`: names nothing.
    Nothing,
    /// What lies under a key.
    Key(KeyPattern<'a>),
}

/// `before*after`, or `before*after->field`.
#[derive(Clone, Copy)]
pub(super) struct KeyPattern<'a> {
    before: &'a [u8],
    after: &'a [u8],
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    /// Reads what stands behind `option`; all keys that it names must lie in `slot`, if one is given.
    pub(super) fn parse(
        text: &'a [u8],
        slot: Option<Slot>,
        option: &'static str,
    ) -> Result<Self, CommandError> {
        const ARROW: &[u8] = b"->";
        // Redis looks for the signs as C does, up to a zero byte.
        let shown = text.split(|byte| *byte == 0).next().unwrap_or_default();
        if shown == b"#" {
            return Ok(Self::Member);
        }
        let Some(star) = shown.iter().position(|byte| *byte == b'*') else {
            return Ok(Self::Nothing);
        };
        let behind = star + 1;
        let arrow = shown[behind..].windows(ARROW.len()).position(|pair| pair == ARROW);
        let arrow = arrow.map(|at| behind + at).filter(|at| at + ARROW.len() < shown.len());
        let pattern = KeyPattern {
            before: &text[..star],
            after: &text[behind..arrow.unwrap_or(text.len())],
            field: arrow.map(|at| &text[at + ARROW.len()..]),
        };
        if slot.is_some() && pattern.slot() != slot {
            return Err(CommandError::SortPattern { option });
        }
        Ok(Self::Key(pattern))
    }
}

impl KeyPattern<'_> {
    /// What the pattern names for `member`: a string, or a field's value; `key` is room to put its name together.
    pub(super) fn find<'e>(
        &self,
        reader: &Reader<'e>,
        member: &[u8],
        key: &mut Vec<u8>,
    ) -> Option<&'e [u8]> {
        key.clear();
        for part in [self.before, member, self.after] {
            key.extend_from_slice(part);
        }
        let entry = reader.entry(key)?;
        match (entry.value(), self.field) {
            (Value::String(bytes), None) => Some(bytes),
            (Value::Collection(collection), Some(name)) => {
                let hash = Hash::of(collection)?;
                let field = hash.get_live(&reader.keyspace.hasher, reader.now, name)?;
                Some(field.value)
            }
            _ => None,
        }
    }

    /// The slot of every key that it can name; `None` if they may lie in several.
    fn slot(&self) -> Option<Slot> {
        let open = self.before.iter().position(|byte| *byte == b'{')?;
        let len = self.before[open + 1..].iter().position(|byte| *byte == b'}')?;
        // An empty tag is none: the whole key counts.
        (len > 0).then(|| Slot::of_key(self.before))
    }
}
