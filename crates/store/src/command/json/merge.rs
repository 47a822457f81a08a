//! JSON.MERGE: a patch applied to values (RFC 7396).
//!
//! Where nothing is there to be merged with, the patch is stored as it stands, its nulls too, as in RedisJSON. Of
//! places within each other the inner one is merged first.

use keystead_resp::{Args, ReplyWriter};

use crate::command::Writer;
use crate::command::json::place::{Place, Wanted};
use crate::command::json::set::Target;
use crate::command::json::{read_path, read_value, written};
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::table::Hasher;
use crate::value::json::{Json, Location, Node};

pub(crate) fn merge(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let key = &args[1];
    written(writer, key)?;
    let patch = read_value(&writer.keyspace.hasher, &args[3])?;
    let path = read_path(&writer.keyspace.hasher, &args[2])?;
    match Target::find(writer, key, path, (Wanted::Any, &patch))? {
        Target::In(Place::Nowhere) => {
            reply.null();
            return Ok(());
        }
        Target::In(Place::At(mut locations)) => {
            locations.sort_unstable();
            locations.dedup();
            writer.edit(key, |document: &mut Json, hasher| {
                for mut location in locations.into_iter().rev() {
                    merge_at(document, hasher, &mut location, &patch);
                }
                (Change::Changed, ())
            })?;
        }
        target => target.fill(writer, key, patch),
    }
    writer.notify(EventClass::Module, "json.merge", key);
    reply.ok();
    Ok(())
}

/// Merges a patch into the value at a location, which is as before afterwards.
fn merge_at(document: &mut Json, hasher: &Hasher, location: &mut Location, patch: &Node) {
    let Node::Object(changes) = patch else {
        document.replace(location, patch.clone());
        return;
    };
    if document.at(location).and_then(Node::as_object).is_none() {
        document.replace(location, Node::Object(Box::default()));
    }
    for (_, name, change) in changes.iter() {
        let members = document.at(location).and_then(Node::as_object);
        let place = members.and_then(|members| members.place_of(hasher, name));
        match (place, change) {
            (None, Node::Null) => {}
            (Some(place), Node::Null) => document.remove_children(hasher, location, &[place]),
            (Some(place), _) => {
                location.push(place);
                merge_at(document, hasher, location, change);
                location.pop();
            }
            (None, Node::Object(_)) => {
                document.put_member(hasher, location, name, Node::Object(Box::default()));
                let members = document.at(location).and_then(Node::as_object);
                let made = members.and_then(|members| members.place_of(hasher, name));
                location.push(made.expect("the member was put there just now"));
                merge_at(document, hasher, location, change);
                location.pop();
            }
            (None, _) => {
                document.put_member(hasher, location, name, change.clone());
            }
        }
    }
}
