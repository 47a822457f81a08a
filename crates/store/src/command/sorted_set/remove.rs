//! ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX: removing members.

use keystead_resp::{Args, ReplyWriter};

use super::bound::{Bounds, By};
use crate::command::Writer;
use crate::effect::EventClass;
use crate::error::CommandError;
use crate::keyspace::Change;
use crate::value::sorted_set::SortedSet;

pub(crate) fn zrem(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    let removed = writer.edit(&args[1], |set: &mut SortedSet, hasher| {
        let removed = args.iter().skip(2).filter(|name| set.remove(hasher, name)).count();
        (Change::of(removed > 0), removed)
    })?;
    if removed > 0 {
        writer.notify_shrunk(EventClass::SortedSet, "zrem", &args[1]);
    }
    reply.integer(removed as i64);
    Ok(())
}

pub(crate) fn zremrangebyrank(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    remove_range(writer, args, reply, (By::Rank, "zremrangebyrank"))
}

pub(crate) fn zremrangebyscore(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    remove_range(writer, args, reply, (By::Score, "zremrangebyscore"))
}

pub(crate) fn zremrangebylex(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    remove_range(writer, args, reply, (By::Name, "zremrangebylex"))
}

fn remove_range(
    writer: &mut Writer<'_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    (by, event): (By, &'static str),
) -> Result<(), CommandError> {
    let bounds = Bounds::parse(by, &args[2], &args[3])?;
    let removed = writer.edit(&args[1], |set: &mut SortedSet, hasher| {
        let removed = set.remove_ranks(hasher, bounds.ranks(set));
        (Change::of(removed > 0), removed)
    })?;
    if removed > 0 {
        writer.notify_shrunk(EventClass::SortedSet, event, &args[1]);
    }
    reply.integer(removed as i64);
    Ok(())
}
