//! ZSCORE, ZMSCORE, ZRANK, ZREVRANK: what is known of members.

use keystead_resp::{Args, ReplyWriter};

use super::put_score;
use crate::command::Reader;
use crate::error::CommandError;
use crate::value::sorted_set::{Direction, SortedSet};

pub(crate) fn zscore(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let set = reader.kind::<SortedSet>(&args[1])?;
    put_member(reader, set, &args[2], reply);
    Ok(())
}

pub(crate) fn zmscore(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let set = reader.kind::<SortedSet>(&args[1])?;
    let names = args.from(2);
    reply.array(names.len());
    for name in names.iter() {
        put_member(reader, set, name, reply);
    }
    Ok(())
}

fn put_member(
    reader: &Reader<'_>,
    set: Option<&SortedSet>,
    name: &[u8],
    reply: &mut ReplyWriter<'_>,
) {
    match set.and_then(|set| set.score(&reader.keyspace.hasher, name)) {
        Some(score) => put_score(reply, score),
        None => reply.null(),
    }
}

pub(crate) fn zrank(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    rank(reader, args, reply, Direction::Up)
}

pub(crate) fn zrevrank(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    rank(reader, args, reply, Direction::Down)
}

fn rank(
    reader: &Reader<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    direction: Direction,
) -> Result<(), CommandError> {
    let has_score = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(b"WITHSCORE") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let set = reader.kind::<SortedSet>(&args[1])?;
    let found = set.and_then(|set| {
        let (rank, score) = set.rank(&reader.keyspace.hasher, &args[2])?;
        Some((if direction == Direction::Up { rank } else { set.len() - 1 - rank }, score))
    });
    match found {
        None if has_score => reply.null_array(),
        None => reply.null(),
        Some((rank, score)) => {
            if has_score {
                reply.array(2);
            }
            reply.integer(rank as i64);
            if has_score {
                put_score(reply, score);
            }
        }
    }
    Ok(())
}
