//! Trimming: removing the oldest entries.
//! Owns: how much goes, and what becomes of entries that groups still need. Never: parses XTRIM.
//!
//! As in Redis, `~` removes whole blocks only, and a limit is looked at before each block.

use super::{Stream, StreamId};

/// Up to where entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threshold {
    /// As long as there are more than this.
    Length(u64),
    /// Those with a lower id.
    Id(StreamId),
}

/// What becomes of an entry's records in groups when it is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum References {
    /// They stay.
    #[default]
    Keep,
    /// They go, too.
    Delete,
    /// The entry goes only if every group has read and acknowledged it.
    Acknowledged,
}

/// What to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trim {
    /// Up to where.
    pub(crate) threshold: Threshold,
    /// True if more may stay, so that only whole blocks go.
    pub(crate) is_approximate: bool,
    /// Most entries to remove; `None` for all.
    pub(crate) limit: Option<u64>,
    /// What becomes of records in groups.
    pub(crate) references: References,
}

impl Trim {
    /// True if this many more entries may be removed.
    fn allows(&self, removed: u64) -> bool {
        self.limit.is_none_or(|limit| removed <= limit)
    }
}

impl Stream {
    /// Trims; returns how many entries were removed.
    pub(crate) fn trim(&mut self, trim: &Trim) -> u64 {
        if trim.references == References::Acknowledged && !trim.is_approximate {
            return self.trim_acknowledged(trim);
        }
        let mut removed = 0;
        while let Some((live, last)) = self.0.blocks.first_block() {
            let len = self.len();
            let goes_whole = match trim.threshold {
                Threshold::Length(max) if len <= max => break,
                Threshold::Length(max) => len - live >= max,
                Threshold::Id(min) => last < min,
            };
            if !trim.allows(removed + live) {
                break;
            }
            let ids = match trim.references {
                References::Keep => Vec::new(),
                _ => self.0.blocks.first_block_ids(),
            };
            if !goes_whole {
                if !trim.is_approximate {
                    removed += self.trim_first_block(trim);
                }
                break;
            }
            match trim.references {
                References::Keep => {}
                References::Delete => ids.iter().for_each(|id| self.delete_references(*id)),
                References::Acknowledged if ids.iter().any(|id| self.is_needed(*id)) => break,
                References::Acknowledged => {}
            }
            removed += self.0.blocks.remove_first_block();
        }
        removed
    }

    /// Removes what is to go from the first block, of which something stays.
    fn trim_first_block(&mut self, trim: &Trim) -> u64 {
        let mut excess = match trim.threshold {
            Threshold::Length(max) => self.len() - max,
            Threshold::Id(_) => u64::MAX,
        };
        let mut gone = Vec::new();
        let removed = self.0.blocks.delete_in_first_block(|id| {
            let goes = match trim.threshold {
                Threshold::Length(_) => excess > 0,
                Threshold::Id(min) => id < min,
            };
            excess -= u64::from(goes);
            if goes && trim.references == References::Delete {
                gone.push(id);
            }
            goes.then_some(true)
        });
        gone.into_iter().for_each(|id| self.delete_references(id));
        removed
    }

    /// Removes, one by one, the entries up to the threshold that no group needs.
    fn trim_acknowledged(&mut self, trim: &Trim) -> u64 {
        let mut excess = match trim.threshold {
            Threshold::Length(max) => self.len().saturating_sub(max),
            Threshold::Id(_) => u64::MAX,
        };
        let limit = trim.limit.unwrap_or(u64::MAX);
        let (mut gone, mut has_kept) = (Vec::new(), false);
        for entry in self.from(StreamId::MIN) {
            let is_past = matches!(trim.threshold, Threshold::Id(min) if entry.id >= min);
            if is_past || excess == 0 || gone.len() as u64 >= limit {
                break;
            }
            if self.is_needed(entry.id) {
                has_kept = true;
            } else {
                excess -= 1;
                gone.push((entry.id, has_kept));
            }
        }
        for (id, is_gap) in &gone {
            // Behind an entry that stays there is a gap now, as after XDEL: a lag cannot be counted across it.
            if *is_gap {
                self.delete(*id);
            } else {
                self.0.blocks.delete(*id);
            }
        }
        gone.len() as u64
    }
}
