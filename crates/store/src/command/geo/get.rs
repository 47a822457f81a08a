//! GEOPOS, GEODIST, GEOHASH: where members are.

use keystead_resp::{Args, ReplyWriter};

use super::cell::Place;
use super::{put_distance, put_place, unit};
use crate::command::Reader;
use crate::error::CommandError;
use crate::value::sorted_set::SortedSet;

pub(crate) fn geopos(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    each_member(reader, args, reply, |place, reply| match place {
        Some(place) => put_place(reply, place),
        None => reply.null_array(),
    })
}

pub(crate) fn geohash(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    each_member(reader, args, reply, |place, reply| match place {
        Some(place) => reply.bulk(&place.letters()),
        None => reply.null(),
    })
}

fn each_member(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    answer: impl Fn(Option<Place>, &mut ReplyWriter<'_>),
) -> Result<(), CommandError> {
    let set = reader.kind::<SortedSet>(&args[1])?;
    let names = args.from(2);
    reply.array(names.len());
    for name in names.iter() {
        let score = set.and_then(|set| set.score(&reader.keyspace.hasher, name));
        answer(score.map(Place::of_score), reply);
    }
    Ok(())
}

pub(crate) fn geodist(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let metres = match (args.get(4), args.len()) {
        (None, _) => 1.0,
        (Some(name), 5) => unit(name)?,
        _ => return Err(CommandError::Syntax),
    };
    let set = reader.kind::<SortedSet>(&args[1])?;
    let place =
        |name| set.and_then(|set| set.score(&reader.keyspace.hasher, name)).map(Place::of_score);
    match (place(&args[2]), place(&args[3])) {
        (Some(a), Some(b)) => put_distance(reply, a.distance(b) / metres),
        _ => reply.null(),
    }
    Ok(())
}
