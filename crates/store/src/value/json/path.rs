//! Paths into a document, in both dialects of RedisJSON.
//! Owns: what a path is made of. Never: reading one (`parse.rs`), following one (`select.rs`).
//!
//! `$...` is JSONPath, RFC 9535 with the freedoms of RedisJSON; it names any number of values. Anything else is the
//! older dialect: the same behind an understood `$.`, but replies have the form of one value.

use regex_lite::Regex;

use super::Node;

mod compare;
mod parse;
mod select;

pub(crate) use parse::PathError;
pub(crate) use select::{Selection, TooMuch, select};

/// Longest path, bytes: one that a person or a program would write is far shorter.
pub(crate) const PATH_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of filters and parentheses within a path: reading one recurses that far.
const FILTER_NESTING_MAX: usize = 64;
/// Most patterns that a path may hold: each is made ready when the path is read.
const PATTERNS_MAX: usize = 32;
/// Most memory of a pattern that was made ready, bytes: guards against `a{1000}{1000}`.
const PATTERN_BYTES_MAX: usize = 32 * 1024;
/// Most states of a pattern of that size.
const STATES_MAX: usize = 1024;

/// A path that was read.
pub(crate) struct Path {
    /// True for the older dialect.
    pub(crate) is_legacy: bool,
    segments: Vec<Segment>,
}

/// One step of a path, from any number of values to others.
struct Segment {
    reach: Reach,
    selectors: Vec<Selector>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Selects among what is directly in a value.
    Children,
    /// Selects among what is directly in a value, or in anything in it.
    Descendants,
}

/// What a step selects.
enum Selector {
    Name(Box<[u8]>),
    Wildcard,
    /// An element, counted from the end if negative.
    Index(i64),
    Slice(Slice),
    Filter(Condition),
}

/// `[start:end:step]`.
#[derive(Clone, Copy, Debug)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
}

/// What must hold of an element or a member.
enum Condition {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    /// The path leads somewhere; of a literal, that it is `true`.
    Holds(Operand),
    Compared(Operand, Comparison, Operand),
    Matched(Operand, Pattern, Extent),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

/// One side of a comparison.
enum Operand {
    Literal(Node),
    Query(Query),
    /// `length(...)`: the characters of a text, or how many values a container holds.
    Length(Box<Self>),
    /// `count(...)`: how many values a path names.
    Count(Query),
    /// `value(...)`: the only value that a path names.
    Value(Query),
}

/// A path within a filter.
struct Query {
    /// `$`, not `@`.
    is_from_root: bool,
    segments: Vec<Segment>,
}

/// How much of a text a pattern has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Any part: `=~`, and `search(...)`.
    Part,
    /// All of it: `match(...)`.
    Whole,
}

/// The right side of `=~`, or the second argument of `match` and `search`.
enum Pattern {
    /// A literal, made ready; `None` if it is no regular expression, so that nothing matches it.
    Ready(Option<ReadyPattern>),
    Query(Query),
}

/// A regular expression made ready.
struct ReadyPattern {
    regex: Regex,
    /// About how many states it has: what a byte of text costs.
    states: usize,
}

impl ReadyPattern {
    /// `None` if it is no regular expression, or too large a one.
    fn make(pattern: &str, extent: Extent) -> Option<Self> {
        let framed;
        let pattern = match extent {
            Extent::Part => pattern,
            Extent::Whole => {
                framed = format!("^(?:{pattern})$");
                &framed
            }
        };
        let regex =
            regex_lite::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().ok()?;
        // Every sign is a state at most, as often as the counts around it say; the greatest size bounds them all.
        let counts = pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        let counts = counts.filter_map(|(count, _)| {
            count.split(',').filter_map(|digits| digits.trim().parse::<usize>().ok()).max()
        });
        let repeated =
            counts.fold(pattern.len(), |states, count| states.saturating_mul(count.max(1)));
        Some(Self { regex, states: repeated.min(STATES_MAX) })
    }
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// Where it is not one.
    pub(crate) fn read(hasher: &crate::table::Hasher, text: &[u8]) -> Result<Self, PathError> {
        parse::path(hasher, text)
    }

    /// True if it names the whole document.
    pub(crate) const fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// True if it can name one value only.
    pub(crate) fn is_definite(&self) -> bool {
        self.segments.iter().all(|segment| {
            let is_one = matches!(*segment.selectors, [Selector::Name(_) | Selector::Index(_)]);
            segment.reach == Reach::Children && is_one
        })
    }

    /// The path without its last step, and the name that the step selects if it is a name.
    pub(crate) fn split_last(mut self) -> Option<(Self, Option<Box<[u8]>>)> {
        let mut last = self.segments.pop()?;
        let name = match last.selectors.pop() {
            Some(Selector::Name(name)) => Some(name),
            _ => None,
        };
        Some((self, name))
    }
}
