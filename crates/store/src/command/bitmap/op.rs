//! BITOP: AND, OR, XOR, NOT of whole strings, and DIFF, DIFF1, ANDOR, ONE as the Redis 8.2 documentation has them.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// What only the first has.
    Diff,
    /// What others have and the first has not.
    Diff1,
    /// What the first and some other have.
    AndOr,
    /// What exactly one has.
    One,
}

impl Operation {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        [
            (&b"AND"[..], Self::And),
            (b"OR", Self::Or),
            (b"XOR", Self::Xor),
            (b"NOT", Self::Not),
            (b"DIFF", Self::Diff),
            (b"DIFF1", Self::Diff1),
            (b"ANDOR", Self::AndOr),
            (b"ONE", Self::One),
        ]
        .into_iter()
        .find_map(|(name, operation)| word.eq_ignore_ascii_case(name).then_some(operation))
        .ok_or(CommandError::Syntax)
    }

    /// Refuses a number of sources that the operation makes no sense for.
    const fn check(self, sources: usize) -> Result<(), CommandError> {
        let operation = match self {
            Self::Not if sources != 1 => return Err(CommandError::BitopNot),
            Self::Diff if sources < 2 => "DIFF",
            Self::Diff1 if sources < 2 => "DIFF1",
            Self::AndOr if sources < 2 => "ANDOR",
            _ => return Ok(()),
        };
        Err(CommandError::BitopTwoSources { operation })
    }

    /// True if more must be known of the sources so far than one byte holds.
    const fn is_of_two(self) -> bool {
        matches!(self, Self::Diff | Self::Diff1 | Self::AndOr | Self::One)
    }
}

pub(crate) fn bitop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operation = Operation::parse(&args[1])?;
    let sources = args.from(3);
    operation.check(sources.len())?;
    let result = combine(writer, operation, sources)?;
    reply.integer(result.len() as i64);
    if result.is_empty() {
        let now = writer.now();
        if writer.keyspace.take(now, &args[2]).is_some() {
            writer.notify(EventClass::Generic, "del", &args[2]);
        }
    } else {
        writer.keyspace.set_string(&args[2], &result, None);
        writer.notify(EventClass::String, "set", &args[2]);
    }
    Ok(())
}

/// The result is as long as the longest source; shorter ones go on with zeros.
fn combine(
    writer: &Writer<'_>,
    operation: Operation,
    sources: Args<'_>,
) -> Result<Vec<u8>, CommandError> {
    let mut len = 0;
    for key in sources.iter() {
        len = len.max(writer.string(key)?.map_or(0, <[u8]>::len));
    }
    let mut result = Vec::with_capacity(len);
    // Of those behind the first: what any of them has. For ONE: what several have.
    let mut others = if operation.is_of_two() { vec![0; len] } else { Vec::new() };
    for (at, key) in sources.iter().enumerate() {
        let source = writer.string(key)?.unwrap_or_default();
        if at == 0 {
            result.extend_from_slice(source);
            result.resize(len, 0);
            continue;
        }
        let padded = source.iter().copied().chain(std::iter::repeat(0));
        if operation.is_of_two() {
            for ((byte, others), other) in result.iter_mut().zip(&mut others).zip(padded) {
                if operation == Operation::One {
                    *others |= *byte & other;
                    *byte |= other;
                } else {
                    *others |= other;
                }
            }
            continue;
        }
        for (byte, other) in result.iter_mut().zip(padded) {
            match operation {
                Operation::And => *byte &= other,
                Operation::Or => *byte |= other,
                Operation::Xor => *byte ^= other,
                _ => {}
            }
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for (byte, others) in result.iter_mut().zip(others) {
        match operation {
            Operation::Diff1 => *byte = !*byte & others,
            Operation::AndOr => *byte &= others,
            _ => *byte &= !others,
        }
    }
    Ok(result)
}
