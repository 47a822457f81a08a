//! JSON.SET, JSON.MSET: values put into documents.
//!
//! JSON.MSET finds all its places before it changes anything: an error means that nothing was changed. A value whose
//! place cannot be made is left out, the others are set, and the reply is the absent value.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::command::json::place::{Place, Wanted, find, outermost};
use crate::command::json::{read_path, read_value, written};
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::error::{CommandError, JsonError};
use crate::keyspace::Change;
use crate::table::Hasher;
use crate::value::json::path::Path;
use crate::value::json::{Json, Node};

pub(crate) fn set(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let wanted = match (args.get(4), args.len()) {
        (None, _) => Wanted::Any,
        (Some(option), 5) if option.eq_ignore_ascii_case(b"NX") => Wanted::New,
        (Some(option), 5) if option.eq_ignore_ascii_case(b"XX") => Wanted::Present,
        _ => return Err(CommandError::Syntax),
    };
    let key = &args[1];
    written(writer, key)?;
    let value = read_value(&writer.keyspace.hasher, &args[3])?;
    let path = read_path(&writer.keyspace.hasher, &args[2])?;
    match Target::find(writer, key, path, (wanted, &value))? {
        Target::In(Place::Nowhere) => reply.null(),
        target => {
            target.fill(writer, key, value);
            writer.notify(EventClass::Module, "json.set", key);
            reply.ok();
        }
    }
    Ok(())
}

pub(crate) fn mset(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    if args.len() % 3 != 1 {
        return Err(CommandError::Arity { command: "json.mset" });
    }
    let mut values = Vec::with_capacity(args.len() / 3);
    for at in (1..args.len()).step_by(3) {
        let (key, path) = (&args[at], &args[at + 1]);
        written(writer, key)?;
        let value = read_value(&writer.keyspace.hasher, &args[at + 2])?;
        Target::find(
            writer,
            key,
            read_path(&writer.keyspace.hasher, path)?,
            (Wanted::Any, &value),
        )?;
        values.push((key, path, value));
    }
    let mut is_complete = true;
    for (key, path, value) in values {
        // Looked for again: a key that stands twice has been changed meanwhile. What cannot be done any more is left out.
        let path = read_path(&writer.keyspace.hasher, path)?;
        match Target::find(writer, key, path, (Wanted::Any, &value)) {
            Ok(Target::In(Place::Nowhere)) | Err(_) => is_complete = false,
            Ok(target) => {
                target.fill(writer, key, value);
                writer.notify(EventClass::Module, "json.mset", key);
            }
        }
    }
    if is_complete {
        reply.ok()
    } else {
        reply.null()
    }
    Ok(())
}

/// What a value becomes, or where in the document it goes.
pub(super) enum Target {
    /// A document, since there is none.
    Document,
    In(Place),
}

impl Target {
    pub(super) fn find(
        writer: &Writer<'_>,
        key: &[u8],
        path: Path,
        (wanted, value): (Wanted, &Node),
    ) -> Result<Self, CommandError> {
        match written(writer, key)? {
            Some(document) => {
                find(document, &writer.keyspace.hasher, path, (wanted, value)).map(Self::In)
            }
            None if !path.is_root() => Err(JsonError::NotAtRoot.into()),
            None if wanted == Wanted::Present => Ok(Self::In(Place::Nowhere)),
            None => Ok(Self::Document),
        }
    }

    /// Puts the value there. A document keeps its time to expire.
    pub(super) fn fill(self, writer: &mut Writer<'_>, key: &[u8], value: Node) {
        match self {
            Self::Document => {
                writer.keyspace.insert(Entry::collection(key, Json::of(value), None));
            }
            Self::In(place) => {
                let now = writer.now();
                writer.keyspace.edit(now, key, |entry, hasher| {
                    let held = entry.collection_mut().and_then(crate::value::Held::of_mut);
                    let is_filled = held.is_some_and(|held| fill(held, hasher, place, value));
                    (Change::of(is_filled), ())
                });
            }
        }
    }
}

fn fill(document: &mut Json, hasher: &Hasher, place: Place, value: Node) -> bool {
    match place {
        Place::Nowhere => false,
        Place::Member(location, name) => document.put_member(hasher, &location, &name, value),
        Place::At(locations) => {
            let mut locations = outermost(locations);
            let last = locations.pop();
            for location in &locations {
                document.replace(location, value.clone());
            }
            last.is_some_and(|location| document.replace(&location, value))
        }
    }
}
