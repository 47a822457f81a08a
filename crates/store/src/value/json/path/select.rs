//! Following a path through a document.
//! Owns: the order of what is found (that of the document, a value before what is in it), and how much is looked at.
//! Never: changes a document.
//!
//! A path of a few bytes can ask for more than there is: `$..*..*..*` finds a value once for every choice of values
//! around it. So each look at a value takes one of a number of looks that grows with the document; when they are used
//! up the path is refused. What a command goes on to do with what was found takes looks, too. The number depends on the
//! document and nothing else, so replicas refuse alike.

use std::cell::Cell;

use smallvec::SmallVec;
use thiserror::Error;

use crate::table::Hasher;
use crate::value::Kind;
use crate::value::json::{Json, Location, Node};

use super::{Extent, Path, Reach, ReadyPattern, Segment, Selector, Slice};

/// Looks that finding a value costs: remembering it takes memory, too.
const LOOKS_PER_FOUND: u64 = 4;
/// Looks that any document has.
const LOOKS_MIN: u64 = 4 << 20;
/// Looks for every 16 bytes of a document, which is what a value takes at least.
const LOOKS_PER_VALUE: u64 = 32;

/// A path looked at more than it may.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "ERR the path looks at too many values: over {looks_max} for a document of this size; use fewer `..` and `*`"
)]
pub(crate) struct TooMuch {
    /// How often it may.
    pub(crate) looks_max: u64,
}

/// What a path found.
pub(crate) struct Selection<'d> {
    found: Vec<Found<'d>>,
    trail: Vec<Step>,
    document: &'d Json,
    looks_max: u64,
    looks_left: Cell<u64>,
}

/// A value, and the last step to it.
#[derive(Clone, Copy)]
struct Found<'d> {
    node: &'d Node,
    /// Its place in the trail; `None` for the root.
    step: Option<usize>,
}

/// A step, and the one before it.
#[derive(Clone, Copy)]
struct Step {
    before: Option<usize>,
    step: usize,
}

/// Finds what a path names.
///
/// # Errors
/// If it looks at too much.
pub(crate) fn select<'d>(
    path: &Path,
    document: &'d Json,
    hasher: &Hasher,
) -> Result<Selection<'d>, TooMuch> {
    let values = document.bytes() as u64 / size_of::<Node>() as u64;
    let looks_max = LOOKS_MIN.saturating_add(values.saturating_mul(LOOKS_PER_VALUE));
    let root = document.root();
    let mut walk = Walk {
        root,
        hasher,
        looks_max,
        looks_left: looks_max,
        trail: Some(Vec::new()),
        last_pattern: None,
    };
    let found = walk.follow(&path.segments, root);
    document.note_looks(looks_max - walk.looks_left);
    let (trail, looks_left) = (walk.trail.unwrap_or_default(), Cell::new(walk.looks_left));
    Ok(Selection { found: found?, trail, document, looks_max, looks_left })
}

impl<'d> Selection<'d> {
    /// How many values were found; one that was found twice counts twice.
    pub(crate) const fn len(&self) -> usize {
        self.found.len()
    }

    /// True if nothing was found.
    pub(crate) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Takes looks for what is done with what was found.
    ///
    /// # Errors
    /// If there are not as many left.
    pub(crate) fn look(&self, times: u64) -> Result<(), TooMuch> {
        match self.looks_left.get().checked_sub(times) {
            Some(left) => {
                self.looks_left.set(left);
                self.document.note_looks(times);
                Ok(())
            }
            None => Err(TooMuch { looks_max: self.looks_max }),
        }
    }

    /// The first value.
    pub(crate) fn first(&self) -> Option<&'d Node> {
        self.found.first().map(|found| found.node)
    }

    /// The values in order.
    pub(crate) fn nodes(&self) -> impl ExactSizeIterator<Item = &'d Node> {
        self.found.iter().map(|found| found.node)
    }

    /// The ways to the values, in the same order.
    pub(crate) fn locations(&self) -> impl ExactSizeIterator<Item = Location> {
        self.found.iter().map(|found| {
            let steps = std::iter::successors(found.step.map(|at| self.trail[at]), |step| {
                step.before.map(|at| self.trail[at])
            });
            let mut location: Location = steps.map(|step| step.step).collect();
            location.reverse();
            location
        })
    }
}

/// Following one path and those within its filters.
pub(super) struct Walk<'d, 'h> {
    pub(super) root: &'d Node,
    pub(super) hasher: &'h Hasher,
    looks_max: u64,
    looks_left: u64,
    /// Where steps are written down; within filters they are not.
    trail: Option<Vec<Step>>,
    /// The pattern of the document that was made ready last.
    pub(super) last_pattern: Option<(Box<str>, Extent, Option<ReadyPattern>)>,
}

impl<'d> Walk<'d, '_> {
    /// Takes looks.
    pub(super) const fn look(&mut self, times: u64) -> Result<(), TooMuch> {
        match self.looks_left.checked_sub(times) {
            Some(left) => {
                self.looks_left = left;
                Ok(())
            }
            None => Err(TooMuch { looks_max: self.looks_max }),
        }
    }

    /// What is found within a filter, from `start` on.
    pub(super) fn follow_query(
        &mut self,
        segments: &[Segment],
        start: &'d Node,
    ) -> Result<SmallVec<[&'d Node; 2]>, TooMuch> {
        let trail = self.trail.take();
        let found = self.follow(segments, start);
        self.trail = trail;
        Ok(found?.into_iter().map(|found| found.node).collect())
    }

    fn follow(&mut self, segments: &[Segment], start: &'d Node) -> Result<Vec<Found<'d>>, TooMuch> {
        let mut found = vec![Found { node: start, step: None }];
        for segment in segments {
            let mut next = Vec::new();
            for from in found {
                match segment.reach {
                    Reach::Children => self.choose(&segment.selectors, from, &mut next)?,
                    Reach::Descendants => self.descend(&segment.selectors, from, &mut next)?,
                }
            }
            found = next;
        }
        Ok(found)
    }

    /// Chooses in a value and in everything in it, a value before what is in it.
    fn descend(
        &mut self,
        selectors: &[Selector],
        from: Found<'d>,
        next: &mut Vec<Found<'d>>,
    ) -> Result<(), TooMuch> {
        let mut waiting = vec![from];
        while let Some(at) = waiting.pop() {
            self.choose(selectors, at, next)?;
            let first = waiting.len();
            self.look(at.node.child_count() as u64)?;
            at.node.each_child(|step, child| {
                if child.child_count() > 0 {
                    let step = self.step(at, step);
                    waiting.push(Found { node: child, step });
                }
            });
            waiting[first..].reverse();
        }
        Ok(())
    }

    /// Appends what the selectors choose of what is directly in a value.
    fn choose(
        &mut self,
        selectors: &[Selector],
        from: Found<'d>,
        next: &mut Vec<Found<'d>>,
    ) -> Result<(), TooMuch> {
        for selector in selectors {
            self.look(1)?;
            match selector {
                Selector::Name(name) => {
                    let members = from.node.as_object();
                    if let Some(step) = members.and_then(|all| all.place_of(self.hasher, name)) {
                        self.take(from, step, next)?;
                    }
                }
                Selector::Wildcard => {
                    self.look(from.node.child_count() as u64 * LOOKS_PER_FOUND)?;
                    from.node.each_child(|step, child| self.remember(from, (step, child), next));
                }
                Selector::Index(index) => {
                    let len = from.node.as_array().map_or(0, |elements| elements.len());
                    if let Some(step) = element(*index, len) {
                        self.take(from, step, next)?;
                    }
                }
                Selector::Slice(slice) => {
                    let len = from.node.as_array().map_or(0, |elements| elements.len());
                    for step in slice.steps(len) {
                        self.take(from, step, next)?;
                    }
                }
                Selector::Filter(condition) => {
                    let mut children = SmallVec::<[(usize, &'d Node); 8]>::new();
                    self.look(from.node.child_count() as u64)?;
                    from.node.each_child(|step, child| children.push((step, child)));
                    for (step, child) in children {
                        if self.holds(condition, child)? {
                            self.take(from, step, next)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        from: Found<'d>,
        step: usize,
        next: &mut Vec<Found<'d>>,
    ) -> Result<(), TooMuch> {
        self.look(LOOKS_PER_FOUND)?;
        if let Some(child) = from.node.child(step) {
            self.remember(from, (step, child), next);
        }
        Ok(())
    }

    fn remember(
        &mut self,
        from: Found<'d>,
        (step, node): (usize, &'d Node),
        next: &mut Vec<Found<'d>>,
    ) {
        let step = self.step(from, step);
        next.push(Found { node, step });
    }

    /// Writes a step down.
    fn step(&mut self, from: Found<'d>, step: usize) -> Option<usize> {
        let trail = self.trail.as_mut()?;
        trail.push(Step { before: from.step, step });
        Some(trail.len() - 1)
    }
}

/// The element that an index means, counted from the end if it is negative.
fn element(index: i64, len: usize) -> Option<usize> {
    let place = usize::try_from(index.unsigned_abs()).ok()?;
    let place = if index < 0 { len.checked_sub(place)? } else { place };
    (place < len).then_some(place)
}

impl Slice {
    /// The elements of `len` that it means, in its order (RFC 9535, section 2.3.4.2).
    fn steps(self, len: usize) -> impl Iterator<Item = usize> {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let placed = |place: i64| if place < 0 { len.saturating_add(place) } else { place };
        let (first, end) = if self.step > 0 {
            let start = placed(self.start.unwrap_or(0)).clamp(0, len);
            (start, placed(self.end.unwrap_or(len)).clamp(0, len))
        } else {
            let start = placed(self.start.unwrap_or(len - 1)).clamp(-1, len - 1);
            (start, self.end.map_or(-1, placed).clamp(-1, len - 1))
        };
        let next = move |at: &i64| at.checked_add(self.step);
        let is_before_end = move |at: &i64| match self.step {
            0 => false,
            1.. => *at < end,
            _ => *at > end,
        };
        std::iter::successors(Some(first), next)
            .take_while(is_before_end)
            .filter_map(|at| usize::try_from(at).ok())
    }
}
