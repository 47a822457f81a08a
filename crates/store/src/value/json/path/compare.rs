//! Whether a filter's condition holds.
//! Owns: what compares with what. Never: selects.
//!
//! As in RedisJSON: values of different types never compare, be it `==` or `!=`; a number is its worth, with a
//! fraction or without; a side that names several values holds if one of them does; a pattern matches anywhere in a text.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::value::json::{Node, Numbers};

use super::select::{TooMuch, Walk};
use super::{Comparison, Condition, Operand, Pattern, Query, ReadyPattern};

/// Steps of a pattern over a text that cost one look: each byte takes as many as the pattern has states.
const STEPS_PER_LOOK: usize = 16;
/// Looks that making a pattern ready costs.
const LOOKS_PER_PATTERN: u64 = 512;

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
            Condition::Holds(Operand::Literal(value)) => Ok(matches!(value, Node::Bool(true))),
            Condition::Holds(Operand::Query(query)) => Ok(!self.nodes(query, current)?.is_empty()),
            Condition::Compared(left, comparison, right) => {
                let lefts = self.operand(left, current)?;
                let rights = self.operand(right, current)?;
                for left in &lefts {
                    for right in &rights {
                        if self.compare(left, *comparison, right)? {
                            return Ok(true);
                        }
                    }
                }
                // What is not there is in nothing.
                Ok(*comparison == Comparison::NotIn && (lefts.is_empty() || rights.is_empty()))
            }
            Condition::Matched(left, pattern) => self.matches(left, pattern, current),
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
    ) -> Result<SmallVec<[&'x Node; 2]>, TooMuch>
    where
        'd: 'x,
    {
        match operand {
            Operand::Literal(value) => Ok(SmallVec::from_slice(&[value])),
            Operand::Query(query) => {
                let nodes = self.nodes(query, current)?.into_iter();
                Ok(nodes.map(|node| -> &'x Node { node }).collect())
            }
        }
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
        pattern: &Pattern,
        current: &'d Node,
    ) -> Result<bool, TooMuch> {
        let texts = self.operand(left, current)?;
        let texts: SmallVec<[&str; 2]> = texts.iter().filter_map(|node| text_of(node)).collect();
        let query = match pattern {
            Pattern::Ready(None) => return Ok(false),
            Pattern::Ready(Some(pattern)) => return self.matches_any(pattern, &texts),
            Pattern::Query(query) => query,
        };
        for pattern in self.nodes(query, current)? {
            let Some(pattern) = text_of(pattern) else { continue };
            // Mostly it is one pattern, asked for again and again.
            let last = self.last_pattern.take().filter(|(text, _)| **text == *pattern);
            let ready = match last {
                Some((_, ready)) => ready,
                None => {
                    self.look(LOOKS_PER_PATTERN)?;
                    ReadyPattern::make(pattern)
                }
            };
            let is_matched = match &ready {
                Some(ready) => self.matches_any(ready, &texts)?,
                None => false,
            };
            self.last_pattern = Some((pattern.into(), ready));
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
