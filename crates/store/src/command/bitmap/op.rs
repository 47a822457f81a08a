//! BITOP: AND, OR, XOR, NOT of whole strings.

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
}

impl Operation {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        [(&b"AND"[..], Self::And), (b"OR", Self::Or), (b"XOR", Self::Xor), (b"NOT", Self::Not)]
            .into_iter()
            .find_map(|(name, operation)| word.eq_ignore_ascii_case(name).then_some(operation))
            .ok_or(CommandError::Syntax)
    }
}

pub(crate) fn bitop(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let operation = Operation::parse(&args[1])?;
    let sources = args.from(3);
    if operation == Operation::Not && sources.len() != 1 {
        return Err(CommandError::BitopNot);
    }
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
    for (at, key) in sources.iter().enumerate() {
        let source = writer.string(key)?.unwrap_or_default();
        if at == 0 {
            result.extend_from_slice(source);
            result.resize(len, 0);
            continue;
        }
        let padded = source.iter().copied().chain(std::iter::repeat(0));
        for (byte, other) in result.iter_mut().zip(padded) {
            match operation {
                Operation::And => *byte &= other,
                Operation::Or => *byte |= other,
                Operation::Xor => *byte ^= other,
                Operation::Not => {}
            }
        }
    }
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    Ok(result)
}
