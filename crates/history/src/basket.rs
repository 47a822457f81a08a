//! A key into which many put things, each with a mark of its own, and from which many take some: was each put in
//! once, and given out once?
//! Owns: that judgement. Never: an order of things; where it counts and nothing is taken, see [`Ledger`](crate::Ledger).
//!
//! - What was put in and acknowledged, or was seen, stands in every later read, unless it was taken. One of unknown outcome
//!   stands there once or not at all.
//! - What nobody put in, or what was refused, is neither seen nor given out.
//! - A thing is given out once, and is not seen afterwards.
//! - A take of unknown outcome may have taken any one thing: so many may be missing, and no more.
//!
//! Who wants to take and finds nothing has read that there is nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::linear::Outcome;

/// What clients did to a basket.
#[derive(Clone, Debug, Default)]
pub struct Basket {
    puts: BTreeMap<u64, (u64, Outcome<()>)>,
    takes: Vec<Take>,
    /// When takes of unknown outcome were called.
    unknown_takes: Vec<u64>,
    reads: Vec<Read>,
    /// Of reads that were forgotten: since when a thing was certainly in, and since when it was certainly out again.
    known: Known,
}

#[derive(Clone, Debug)]
struct Take {
    called: u64,
    returned: u64,
    thing: u64,
}

#[derive(Clone, Debug)]
struct Read {
    called: u64,
    returned: u64,
    things: BTreeSet<u64>,
    /// One that it has more than once.
    twice: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    seen: BTreeMap<u64, u64>,
    gone: BTreeMap<u64, u64>,
}

/// What cannot be true of a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BasketViolation {
    /// Things that were in are neither there nor taken.
    #[error(
        "{missing} things that were in are missing in a later read, {thing} among them, and at most {unknown} takes of \
         unknown outcome can have taken them"
    )]
    Lost {
        /// One of them.
        thing: u64,
        /// How many.
        missing: usize,
        /// Takes of unknown outcome until then.
        unknown: usize,
    },
    /// A put took effect more than once.
    #[error("{thing} is in there twice")]
    Twice {
        /// The thing.
        thing: u64,
    },
    /// A thing was given out more than once.
    #[error("{thing} was taken twice")]
    TakenTwice {
        /// The thing.
        thing: u64,
    },
    /// What nobody put in, or had not yet, or was told had not happened.
    #[error("{thing} was found, which nobody had put in, or which had been refused")]
    Stranger {
        /// The thing.
        thing: u64,
    },
    /// A thing was found after it had been out.
    #[error("{thing} was found again after it had been taken")]
    Back {
        /// The thing.
        thing: u64,
    },
}

impl Basket {
    /// Notes a put that was not refused. Things are told apart by their number: each is put in once.
    ///
    /// # Panics
    /// If the thing was noted before.
    pub fn put(&mut self, thing: u64, called: u64, outcome: Outcome<()>) {
        let before = self.puts.insert(thing, (called, outcome));
        assert!(before.is_none(), "{thing} was put in twice by whoever brings the history");
    }

    /// Notes a take that was not refused, with what it was given, if anything.
    pub fn take(&mut self, called: u64, outcome: Outcome<Option<u64>>) {
        match outcome {
            Outcome::Unknown => self.unknown_takes.push(called),
            Outcome::Returned { at, output: None } => self.read(called, at, &[]),
            Outcome::Returned { at, output: Some(thing) } => {
                self.takes.push(Take { called, returned: at, thing });
            }
        }
    }

    /// Notes what a read found.
    pub fn read(&mut self, called: u64, returned: u64, found: &[u64]) {
        let mut things = BTreeSet::new();
        let twice = found.iter().copied().find(|thing| !things.insert(*thing));
        self.reads.push(Read { called, returned, things, twice });
    }

    /// Judges what was noted.
    ///
    /// # Errors
    /// The first [`BasketViolation`] found.
    pub fn judge(&self) -> Result<(), BasketViolation> {
        let takes = self.judge_takes()?;
        self.reads.iter().try_for_each(|read| self.judge_read(read))?;
        let known = self.known();
        self.reads.iter().try_for_each(|read| self.judge_missing(read, &takes, &known))?;
        // Whoever was found missing for good is not found again.
        let found_later = |thing: &u64, since: u64| {
            self.reads.iter().any(|read| read.called > since && read.things.contains(thing))
                || takes.get(thing).is_some_and(|take| take.called > since)
        };
        match known.gone.iter().find(|(thing, since)| found_later(thing, **since)) {
            Some((&thing, _)) => Err(BasketViolation::Back { thing }),
            None => Ok(()),
        }
    }

    /// Forgets all reads. Of a basket that was judged, and of which only later reads are to come, what it keeps says
    /// all that they said.
    pub fn settle(&mut self) {
        self.known = self.known();
        self.reads.clear();
    }

    /// Each thing is given out once, and only if somebody put it in.
    fn judge_takes(&self) -> Result<BTreeMap<u64, &Take>, BasketViolation> {
        let mut takes = BTreeMap::new();
        for take in &self.takes {
            let thing = take.thing;
            if !self.may_be_in(thing, take.returned) {
                return Err(BasketViolation::Stranger { thing });
            }
            if takes.insert(thing, take).is_some() {
                return Err(BasketViolation::TakenTwice { thing });
            }
        }
        Ok(takes)
    }

    fn judge_read(&self, read: &Read) -> Result<(), BasketViolation> {
        if let Some(thing) = read.twice {
            return Err(BasketViolation::Twice { thing });
        }
        match read.things.iter().find(|thing| !self.may_be_in(**thing, read.returned)) {
            Some(&thing) => Err(BasketViolation::Stranger { thing }),
            None => Ok(()),
        }
    }

    /// What was in before the read, and is not found by it, was taken.
    fn judge_missing(
        &self,
        read: &Read,
        takes: &BTreeMap<u64, &Take>,
        known: &Known,
    ) -> Result<(), BasketViolation> {
        let was_taken = |thing: &u64| takes.get(thing).is_some_and(|t| t.called <= read.returned);
        let mut missing = known
            .seen
            .iter()
            .filter(|(thing, since)| **since < read.called && !read.things.contains(thing))
            .filter(|(thing, _)| !was_taken(thing))
            .map(|(thing, _)| *thing);
        let unknown = self.unknown_takes.iter().filter(|called| **called <= read.returned).count();
        let Some(thing) = missing.next() else { return Ok(()) };
        let missing = 1 + missing.count();
        if missing > unknown {
            return Err(BasketViolation::Lost { thing, missing, unknown });
        }
        Ok(())
    }

    fn may_be_in(&self, thing: u64, until: u64) -> bool {
        self.puts.get(&thing).is_some_and(|(called, _)| *called <= until)
    }

    /// Since when each thing was certainly in, and since when certainly out again.
    fn known(&self) -> Known {
        let Known { mut seen, mut gone } = self.known.clone();
        for (&thing, (_, outcome)) in &self.puts {
            if let Outcome::Returned { at, .. } = outcome {
                lower(&mut seen, thing, *at);
            }
        }
        for read in &self.reads {
            read.things.iter().for_each(|&thing| lower(&mut seen, thing, read.returned));
        }
        for take in &self.takes {
            lower(&mut gone, take.thing, take.returned);
        }
        for read in &self.reads {
            let missing = seen
                .iter()
                .filter(|(thing, since)| **since < read.called && !read.things.contains(thing));
            missing.for_each(|(&thing, _)| lower(&mut gone, thing, read.returned));
        }
        Known { seen, gone }
    }
}

/// Notes a time unless an earlier one is known.
fn lower(times: &mut BTreeMap<u64, u64>, thing: u64, at: u64) {
    let time = times.entry(thing).or_insert(at);
    *time = at.min(*time);
}
