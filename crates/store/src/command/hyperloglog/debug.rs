//! PFDEBUG: looking into a sketch.

use keystead_resp::{Args, ReplyWriter};

use super::count::sketch;
use super::sketch::{Encoding, Run};
use crate::command::Writer;
use crate::entry::Entry;
use crate::error::CommandError;

pub(crate) fn pfdebug(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = &args[2];
    let text = "ERR The specified key does not exist";
    let mut sketch = sketch(writer, key)?.ok_or(CommandError::Text { text })?;
    let is = |name: &[u8]| args[1].eq_ignore_ascii_case(name);
    if is(b"ENCODING") {
        reply.simple(match sketch.encoding() {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        });
    } else if is(b"DECODE") {
        if sketch.encoding() != Encoding::Sparse {
            return Err(CommandError::Text { text: "ERR HLL encoding is not sparse" });
        }
        let runs = sketch.runs().map(|run| match run {
            Run::Zeros { len } => format!("z:{len}"),
            Run::ManyZeros { len } => format!("Z:{len}"),
            Run::Values { value, len } => format!("v:{value},{len}"),
        });
        reply.bulk(runs.collect::<Vec<_>>().join(" ").as_bytes());
    } else if is(b"GETREG") || is(b"TODENSE") {
        let is_changed = sketch.make_dense()?;
        if is_changed {
            let expiry = writer.entry(key).and_then(Entry::expiry);
            writer.keyspace.set_string(key, sketch.as_bytes(), expiry);
        }
        if is(b"TODENSE") {
            reply.integer(i64::from(is_changed));
        } else {
            let registers = sketch.registers()?;
            reply.array(registers.len());
            registers.into_iter().for_each(|register| reply.integer(register.into()));
        }
    } else {
        return Err(CommandError::UnknownPfdebug { name: args[1].into() });
    }
    Ok(())
}
