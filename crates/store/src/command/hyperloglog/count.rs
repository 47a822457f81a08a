//! PFADD, PFCOUNT, PFMERGE.
//!
//! PFCOUNT is a read: it uses a cached cardinality and leaves none behind, which Redis does.

use keystead_resp::{Args, ReplyWriter};

use super::estimate::cardinality;
use super::sketch::{Encoding, REGISTERS, Sketch};
use crate::command::{Reader, Writer};
use crate::effect::EventClass;
use crate::error::CommandError;

pub(crate) fn pfadd(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let held = sketch(writer, &args[1])?;
    let mut is_changed = held.is_none();
    let mut sketch = held.unwrap_or_else(Sketch::new);
    for element in args.iter().skip(2) {
        is_changed |= sketch.add(element)?;
    }
    if is_changed {
        put(writer, &args[1], &mut sketch);
    }
    reply.integer(i64::from(is_changed));
    Ok(())
}

pub(crate) fn pfcount(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut registers = [0; REGISTERS];
    for key in args.iter().skip(1) {
        let Some(bytes) = reader.string(key)? else { continue };
        let sketch = Sketch::of(bytes)?;
        if let (2, Some(count)) = (args.len(), sketch.cached()) {
            reply.integer(count.cast_signed());
            return Ok(());
        }
        sketch.merge_into(&mut registers)?;
    }
    reply.integer(cardinality(&registers).cast_signed());
    Ok(())
}

pub(crate) fn pfmerge(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let mut registers = [0; REGISTERS];
    let mut is_dense = false;
    for key in args.iter().skip(1) {
        let Some(sketch) = sketch(writer, key)? else { continue };
        is_dense |= sketch.encoding() == Encoding::Dense;
        sketch.merge_into(&mut registers)?;
    }
    let mut merged = sketch(writer, &args[1])?.unwrap_or_else(Sketch::new);
    if is_dense {
        merged.make_dense()?;
    }
    for (index, value) in registers.into_iter().enumerate().filter(|(_, value)| *value > 0) {
        merged.raise(index, value)?;
    }
    put(writer, &args[1], &mut merged);
    reply.ok();
    Ok(())
}

/// The sketch under `key`.
pub(super) fn sketch(writer: &Writer<'_>, key: &[u8]) -> Result<Option<Sketch>, CommandError> {
    writer.string(key)?.map(Sketch::of).transpose()
}

/// Stores a sketch that changed; its time to expire stays.
fn put(writer: &mut Writer<'_>, key: &[u8], sketch: &mut Sketch) {
    sketch.invalidate();
    let expiry = writer.entry(key).and_then(crate::entry::Entry::expiry);
    writer.keyspace.set_string(key, sketch.as_bytes(), expiry);
    writer.notify(EventClass::String, "pfadd", key);
}
