//! JSON.NUMINCRBY, JSON.NUMMULTBY, JSON.NUMPOWBY: arithmetic in place.
//!
//! Two integers give an integer or, where 64 bits do not hold it, an error; with a fraction on either side the result is
//! a double. Powers are computed by the crate `libm`, so that every replica comes to the same bits (ADR 0013).

use std::collections::BTreeMap;

use keystead_resp::{Args, Protocol, ReplyWriter};

use crate::command::Writer;
use crate::command::json::edit::{Edit, Order};
use crate::command::json::read_argument;
use crate::error::{CommandError, JsonError};
use crate::number::float::FloatText;
use crate::table::Hasher;
use crate::value::json::Node;
use crate::value::json::print::printed;

#[derive(Clone, Copy)]
struct Operation {
    of_integers: fn(i64, i64) -> Option<i64>,
    of_doubles: fn(f64, f64) -> f64,
    event: &'static str,
}

pub(crate) fn numincrby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operation = Operation {
        of_integers: i64::checked_add,
        of_doubles: |one, other| one + other,
        event: "json.numincrby",
    };
    run(writer, args, reply, operation)
}

pub(crate) fn nummultby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operation = Operation {
        of_integers: i64::checked_mul,
        of_doubles: |one, other| one * other,
        event: "json.nummultby",
    };
    run(writer, args, reply, operation)
}

pub(crate) fn numpowby(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operation = Operation {
        of_integers: |base, exponent| base.checked_pow(u32::try_from(exponent).ok()?),
        of_doubles: libm::pow,
        event: "json.numpowby",
    };
    run(writer, args, reply, operation)
}

fn run(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    operation: Operation,
) -> Result<(), CommandError> {
    let edit = Edit {
        key: &args[1],
        path: &args[2],
        order: Order::FirstToLast,
        event: operation.event,
        nothing: JsonError::NoNumber,
    };
    // Read only where a number is to be changed, as in RedisJSON: otherwise nobody learns that it is none.
    let mut operand = None;
    // A path may name a value twice (`$[0,0]`), and then each time is a change of what the last one left.
    let mut results = BTreeMap::<*const Node, Node>::new();
    let plan = |hasher: &Hasher, node: &Node, _| {
        if node.as_double().is_none() {
            return Ok(None);
        }
        if operand.is_none() {
            operand = Some(read_argument(hasher, &args[3])?);
        }
        let operand = operand.as_ref().filter(|operand| operand.as_double().is_some());
        let operand = operand.ok_or(JsonError::NotANumber)?;
        let place = std::ptr::from_ref(node);
        let result = operation.result(results.get(&place).unwrap_or(node), operand)?;
        results.insert(place, result.clone());
        Ok(Some(result))
    };
    let edited = edit.run(writer, plan, |document, _, location, value: Node| {
        (document.replace(location, value.clone()), value)
    })?;
    if reply.protocol() == Protocol::Resp3 {
        edited.answer(reply, write_number);
        return Ok(());
    }
    if edited.is_legacy() {
        edited.answer(reply, |value, reply| reply.bulk(&printed(value)));
        return Ok(());
    }
    let results = edited.results().iter().map(|result| result.clone().unwrap_or(Node::Null));
    reply.bulk(&printed(&Node::array(results.collect())));
    Ok(())
}

impl Operation {
    fn result(self, one: &Node, other: &Node) -> Result<Node, CommandError> {
        if let (Node::Integer(one), Node::Integer(other)) = (one, other) {
            let result = (self.of_integers)(*one, *other);
            return result.map(Node::Integer).ok_or_else(|| JsonError::Overflow.into());
        }
        let (Some(one), Some(other)) = (one.as_double(), other.as_double()) else {
            return Err(JsonError::NotANumber.into());
        };
        let result = (self.of_doubles)(one, other);
        if result.is_finite() { Ok(Node::Double(result)) } else { Err(JsonError::NotFinite.into()) }
    }
}

/// Writes a number as RESP3 has it.
pub(super) fn write_number(value: &Node, reply: &mut ReplyWriter<'_>) {
    match value {
        Node::Integer(number) => reply.integer(*number),
        _ => reply.double_text(FloatText::of(value.as_double().unwrap_or(0.0)).as_str()),
    }
}
