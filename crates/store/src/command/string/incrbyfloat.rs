//! INCRBYFLOAT: strings as floats.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::error::CommandError;
use crate::number::extended::{Extended, Parsed};

pub(crate) fn incrbyfloat(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let expiry = writer.entry(&args[1]).and_then(Entry::expiry);
    let old = writer.string(&args[1])?.unwrap_or(b"0");
    let old = Extended::parse(old).ok_or(CommandError::NotAFloat)?;
    let delta = Extended::parse(&args[2]).ok_or(CommandError::NotAFloat)?;
    let (Parsed::Finite(old), Parsed::Finite(delta)) = (old, delta) else {
        return Err(CommandError::NotFinite);
    };
    let text = old.plus(delta).ok_or(CommandError::NotFinite)?.print();
    writer.keyspace.set_string(&args[1], text.as_bytes(), expiry);
    writer.notify(EventClass::String, "incrbyfloat", &args[1]);
    reply.bulk(text.as_bytes());
    Ok(())
}
