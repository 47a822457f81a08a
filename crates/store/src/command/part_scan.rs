//! A step of HSCAN and of its relatives: walking over the parts of a collection.
//! Owns: the options, the cursor, where a step ends. Never: replies; what a part is.
//!
//! What is not a table answers whole. In a table the cursor is the upper 48 bits of the next part's hash, with the
//! guarantee of SCAN (see `crate::scan`): a step ends only between two cursors.

use keystead_resp::Args;

use super::gather::{parse_count, parse_cursor};
use crate::error::CommandError;
use crate::scan::glob_matches;

const HASH_BITS_LEFT_OUT: u32 = 16;

/// Where a step begins.
#[derive(Clone, Copy)]
pub(super) struct PartCursor(u64);

impl PartCursor {
    pub(super) fn parse(text: &[u8]) -> Result<Self, CommandError> {
        parse_cursor(text).map(Self)
    }

    /// The lowest hash that the step looks at.
    pub(super) const fn hash(self) -> u64 {
        self.0 << HASH_BITS_LEFT_OUT
    }

    /// The parts of a table for one step, and the cursor of the next, 0 if there is none. `parts` begin at
    /// [`hash`](Self::hash).
    pub(super) fn step<T>(
        self,
        parts: impl Iterator<Item = T>,
        count: usize,
        hash: impl Fn(&T) -> u64,
    ) -> (Vec<T>, u64) {
        // Past the last cursor there is nothing, not a new beginning.
        if self.0 >> (u64::BITS - HASH_BITS_LEFT_OUT) != 0 {
            return (Vec::new(), 0);
        }
        step(parts, count, |part| hash(part) >> HASH_BITS_LEFT_OUT)
    }
}

/// About `count` parts, all of those at the last one's place among them, and the place of the next part, 0 if there is none.
pub(super) fn step<T>(
    parts: impl Iterator<Item = T>,
    count: usize,
    place: impl Fn(&T) -> u64,
) -> (Vec<T>, u64) {
    let mut found = Vec::new();
    for part in parts {
        let next = place(&part);
        if found.len() >= count && found.last().is_none_or(|last| place(last) != next) {
            return (found, next);
        }
        found.push(part);
    }
    (found, 0)
}

/// Options behind the cursor.
pub(super) struct PartScan<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many parts a step visits.
    pub(super) count: usize,
    /// False if only names are wanted.
    pub(super) has_values: bool,
}

impl<'a> PartScan<'a> {
    /// Reads the options; `bare` is the one by which only names are wanted, if the command has such.
    pub(super) fn parse(args: Args<'a>, bare: Option<&str>) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, count: 10, has_values: true };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            if bare.is_some_and(|bare| option.eq_ignore_ascii_case(bare.as_bytes())) {
                options.has_values = false;
            } else if option.eq_ignore_ascii_case(b"COUNT") {
                options.count = parse_count(rest.next().ok_or(CommandError::Syntax)?)?;
            } else if option.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = Some(rest.next().ok_or(CommandError::Syntax)?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// True if the pattern, if there is one, matches `name`.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_matches(pattern, name))
    }
}
