//! A key to which many append, each entry with a mark of its own: was each applied exactly once, and in order?
//! Owns: that judgement. Never: how entries are told apart in what was read; they come as numbers.
//!
//! - An acknowledged entry stands in every later read, once. One of unknown outcome stands there once or not at all.
//! - What nobody appended, or what was refused, stands in no read.
//! - An entry that was appended after another had been acknowledged stands behind it.
//! - Of two reads the shorter one is the beginning of the longer one, and the one that came later is not the shorter.

use std::collections::BTreeMap;

use crate::linear::Outcome;

/// What clients did to a list.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    appends: BTreeMap<u64, (u64, Outcome<()>)>,
    reads: Vec<Read>,
}

#[derive(Clone, Debug)]
struct Read {
    called: u64,
    returned: u64,
    entries: Vec<u64>,
}

/// What cannot be true of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerViolation {
    /// An acknowledged append is gone.
    #[error("entry {entry} was acknowledged, and a later read does not have it")]
    Lost {
        /// The entry.
        entry: u64,
    },
    /// An append took effect more than once.
    #[error("entry {entry} stands there twice")]
    Twice {
        /// The entry.
        entry: u64,
    },
    /// What nobody appended, or had not yet, or was told had not happened.
    #[error("entry {entry} was read, which nobody had appended, or which had been refused")]
    Stranger {
        /// The entry.
        entry: u64,
    },
    /// Two entries in an order that time forbids.
    #[error(
        "entry {later} stands before entry {earlier}, which had been acknowledged before the other was sent"
    )]
    OutOfOrder {
        /// The one that should stand first.
        earlier: u64,
        /// The one that does.
        later: u64,
    },
    /// Two reads that cannot be of the same list.
    #[error("two reads differ at position {position}: entries were replaced, or went away")]
    Diverged {
        /// From 0.
        position: usize,
    },
}

impl Ledger {
    /// Notes an append that was not refused. Entries are told apart by their number: each is appended once.
    ///
    /// # Panics
    /// If the entry was noted before.
    pub fn append(&mut self, entry: u64, called: u64, outcome: Outcome<()>) {
        let before = self.appends.insert(entry, (called, outcome));
        assert!(before.is_none(), "entry {entry} was appended twice by whoever brings the history");
    }

    /// Notes what a read found, in order.
    pub fn read(&mut self, called: u64, returned: u64, entries: Vec<u64>) {
        self.reads.push(Read { called, returned, entries });
    }

    /// Judges what was noted.
    ///
    /// # Errors
    /// The first [`LedgerViolation`] found.
    pub fn judge(&self) -> Result<(), LedgerViolation> {
        self.reads.iter().try_for_each(|read| self.judge_read(read))?;
        let mut by_length: Vec<&[u64]> = self.reads.iter().map(|read| &read.entries[..]).collect();
        by_length.sort_by_key(|entries| entries.len());
        for pair in by_length.windows(2) {
            let (shorter, longer) = (pair[0], pair[1]);
            if let Some(position) = (0..shorter.len()).find(|at| shorter[*at] != longer[*at]) {
                return Err(LedgerViolation::Diverged { position });
            }
        }
        self.judge_shrinking()
    }

    /// Forgets all reads but the longest. Of a ledger that was judged, and of which only later reads are to come, it
    /// says all that the others said.
    pub fn settle(&mut self) {
        let longest = self.reads.iter().enumerate().max_by_key(|(_, read)| read.entries.len());
        if let Some(at) = longest.map(|(at, _)| at) {
            let kept = self.reads.swap_remove(at);
            self.reads = vec![kept];
        }
    }

    fn judge_read(&self, read: &Read) -> Result<(), LedgerViolation> {
        let mut places = BTreeMap::new();
        for (place, &entry) in read.entries.iter().enumerate() {
            if places.insert(entry, place).is_some() {
                return Err(LedgerViolation::Twice { entry });
            }
            let is_known =
                self.appends.get(&entry).is_some_and(|(called, _)| *called <= read.returned);
            if !is_known {
                return Err(LedgerViolation::Stranger { entry });
            }
        }
        for (&entry, (_, outcome)) in &self.appends {
            if let Outcome::Returned { at, .. } = outcome
                && *at < read.called
                && !places.contains_key(&entry)
            {
                return Err(LedgerViolation::Lost { entry });
            }
        }
        self.judge_order(&read.entries)
    }

    /// Walking from the back, the earliest return seen must not lie before the call of what stands in front of it.
    fn judge_order(&self, entries: &[u64]) -> Result<(), LedgerViolation> {
        let mut earliest: Option<(u64, u64)> = None;
        for &later in entries.iter().rev() {
            let Some((called, outcome)) = self.appends.get(&later) else { continue };
            if let Some((returned, earlier)) = earliest
                && returned < *called
            {
                return Err(LedgerViolation::OutOfOrder { earlier, later });
            }
            if let Outcome::Returned { at, .. } = outcome
                && earliest.is_none_or(|(returned, _)| *at < returned)
            {
                earliest = Some((*at, later));
            }
        }
        Ok(())
    }

    /// No read may be shorter than one that had ended before it was called.
    fn judge_shrinking(&self) -> Result<(), LedgerViolation> {
        let mut ended: Vec<(u64, usize)> =
            self.reads.iter().map(|read| (read.returned, read.entries.len())).collect();
        ended.sort_unstable();
        let mut longest = 0;
        for (_, length) in &mut ended {
            longest = longest.max(*length);
            *length = longest;
        }
        for read in &self.reads {
            let before = ended.partition_point(|(returned, _)| *returned < read.called);
            let longest = before.checked_sub(1).map_or(0, |last| ended[last].1);
            if read.entries.len() < longest {
                return Err(LedgerViolation::Diverged { position: read.entries.len() });
            }
        }
        Ok(())
    }
}
