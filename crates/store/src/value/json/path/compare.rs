//! Whether a filter's condition holds.
//! Owns: what compares with what. Never: selects.
//!
//! As in RedisJSON: values of different types never compare, be it `==` or `!=`; a number is its worth, with a
//! fraction or without; a side that names several values holds if one of them does; a pattern matches anywhere in a text.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::value::json::{Node, Numbers};

use super::select::{TooMuch, Walk};
use super::{Comparison, Condition, Extent, Operand, Pattern, Query, ReadyPattern};

/// Steps of a pattern over a text that cost one look: each byte takes as many as the pattern has states.
const STEPS_PER_LOOK: usize = 16;
/// Bytes of a text that are counted for one look.
const BYTES_PER_LOOK: usize = 64;
/// Looks that making a pattern ready costs.
const LOOKS_PER_PATTERN: u64 = 512;

/// A value of one side of a comparison.
enum Side<'x> {
    /// It stands in the document or in the path.
    Held(&'x Node),
    /// A function made it.
    Made(Node),
}

impl Side<'_> {
    const fn node(&self) -> &Node {
        match self {
            Self::Held(node) => node,
            Self::Made(node) => node,
        }
    }
}

impl<'d> Walk<'d, '_> {
    /// True if the condition holds of `current`.
    pub(super) fn holds(
        &mut self,
        condition: &Condition,
        current: &'d Node,
    ) -> Result<bool, TooMuch> {
        self.look(1)?;
        match condition {
            Condition::Any(conditions) => {
                for condition in conditions {
                    if self.holds(condition, current)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::All(conditions) => {
                for condition in conditions {
                    if !self.holds(condition, current)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Not(condition) => Ok(!self.holds(condition, current)?),
            Condition::Holds(Operand::Query(query)) => Ok(!self.nodes(query, current)?.is_empty()),
            Condition::Holds(operand) => {
                let sides = self.operand(operand, current)?;
                Ok(sides.iter().any(|side| matches!(side.node(), Node::Bool(true))))
            }
            Condition::Compared(left, comparison, right) => {
                let lefts = self.operand(left, current)?;
                let rights = self.operand(right, current)?;
                for left in &lefts {
                    for right in &rights {
                        if self.compare(left.node(), *comparison, right.node())? {
                            return Ok(true);
                        }
                    }
                }
                // What is not there is in nothing.
                Ok(*comparison == Comparison::NotIn && (lefts.is_empty() || rights.is_empty()))
            }
            Condition::Matched(left, pattern, extent) => {
                self.matches(left, (pattern, *extent), current)
            }
        }
    }

    fn nodes(
        &mut self,
        query: &Query,
        current: &'d Node,
    ) -> Result<SmallVec<[&'d Node; 2]>, TooMuch> {
        let start = if query.is_from_root { self.root } else { current };
        self.follow_query(&query.segments, start)
    }

    /// The values of one side.
    fn operand<'x>(
        &mut self,
        operand: &'x Operand,
        current: &'d Node,
    ) -> Result<SmallVec<[Side<'x>; 2]>, TooMuch>
    where
        'd: 'x,
    {
        let made = |number: usize| SmallVec::from_iter([Side::Made(Node::unsigned(number as u64))]);
        Ok(match operand {
            Operand::Literal(value) => SmallVec::from_iter([Side::Held(value)]),
            Operand::Query(query) => {
                let nodes = self.nodes(query, current)?.into_iter();
                nodes.map(|node| -> Side<'x> { Side::Held(node) }).collect()
            }
            Operand::Count(query) => made(self.nodes(query, current)?.len()),
            Operand::Value(query) => match self.nodes(query, current)?[..] {
                [node] => SmallVec::from_iter([Side::Held(node)]),
                _ => SmallVec::new(),
            },
            Operand::Length(argument) => {
                let sides = self.operand(argument, current)?;
                for side in &sides {
                    self.look(
                        (side.node().as_text().map_or(0, <[u8]>::len) / BYTES_PER_LOOK) as u64,
                    )?;
                }
                match &sides[..] {
                    [side] => length(side.node()).map_or_else(SmallVec::new, made),
                    _ => SmallVec::new(),
                }
            }
        })
    }

    fn compare(
        &mut self,
        left: &Node,
        comparison: Comparison,
        right: &Node,
    ) -> Result<bool, TooMuch> {
        self.look(1)?;
        match comparison {
            Comparison::Equal => self.are_equal(left, right),
            Comparison::Unequal => Ok(are_alike(left, right) && !self.are_equal(left, right)?),
            Comparison::In => self.is_in(left, right),
            Comparison::NotIn => Ok(!self.is_in(left, right)?),
            Comparison::Less => Ok(order(left, right).is_some_and(Ordering::is_lt)),
            Comparison::LessOrEqual => Ok(order(left, right).is_some_and(Ordering::is_le)),
            Comparison::Greater => Ok(order(left, right).is_some_and(Ordering::is_gt)),
            Comparison::GreaterOrEqual => Ok(order(left, right).is_some_and(Ordering::is_ge)),
        }
    }

    fn are_equal(&mut self, left: &Node, right: &Node) -> Result<bool, TooMuch> {
        left.equals(right, (self.hasher, Numbers::ByWorth), &mut || self.look(1))
    }

    fn is_in(&mut self, value: &Node, array: &Node) -> Result<bool, TooMuch> {
        for element in array.as_array().into_iter().flatten() {
            if self.are_equal(value, element)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn matches(
        &mut self,
        left: &Operand,
        (pattern, extent): (&Pattern, Extent),
        current: &'d Node,
    ) -> Result<bool, TooMuch> {
        let sides = self.operand(left, current)?;
        let texts: SmallVec<[&str; 2]> =
            sides.iter().filter_map(|side| text_of(side.node())).collect();
        let query = match pattern {
            Pattern::Ready(None) => return Ok(false),
            Pattern::Ready(Some(pattern)) => return self.matches_any(pattern, &texts),
            Pattern::Query(query) => query,
        };
        for pattern in self.nodes(query, current)? {
            let Some(pattern) = text_of(pattern) else { continue };
            // Mostly it is one pattern, asked for again and again.
            let last = self.last_pattern.take();
            let last = last.filter(|(text, was, _)| **text == *pattern && *was == extent);
            let ready = match last {
                Some((_, _, ready)) => ready,
                None => {
                    self.look(LOOKS_PER_PATTERN)?;
                    ReadyPattern::make(pattern, extent)
                }
            };
            let is_matched = match &ready {
                Some(ready) => self.matches_any(ready, &texts)?,
                None => false,
            };
            self.last_pattern = Some((pattern.into(), extent, ready));
            if is_matched {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn matches_any(&mut self, pattern: &ReadyPattern, texts: &[&str]) -> Result<bool, TooMuch> {
        for text in texts {
            self.look((text.len() * pattern.states / STEPS_PER_LOOK + 1) as u64)?;
            if pattern.regex.is_match(text) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What `length` makes of a value; `None` of what has none.
fn length(value: &Node) -> Option<usize> {
    match value {
        Node::Text(_) => text_of(value).map(|text| text.chars().count()),
        Node::Array(_) | Node::Object(_) => Some(value.child_count()),
        _ => None,
    }
}

fn text_of(node: &Node) -> Option<&str> {
    std::str::from_utf8(node.as_text()?).ok()
}

/// True if the two are of one type, all numbers being of one.
fn are_alike(left: &Node, right: &Node) -> bool {
    let are_numbers = left.as_double().is_some() && right.as_double().is_some();
    are_numbers || std::mem::discriminant(left) == std::mem::discriminant(right)
}

/// Which of two numbers or texts comes first.
fn order(left: &Node, right: &Node) -> Option<Ordering> {
    match (left, right) {
        (Node::Integer(left), Node::Integer(right)) => Some(left.cmp(right)),
        (Node::Unsigned(left), Node::Unsigned(right)) => Some(left.cmp(right)),
        (Node::Text(left), Node::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        _ => left.as_double()?.partial_cmp(&right.as_double()?),
    }
}
