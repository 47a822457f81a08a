//! The sorted set family.

pub(super) mod add;
mod bound;
pub(super) mod combine;
pub(super) mod count;
pub(super) mod get;
pub(crate) mod pop;
pub(super) mod random;
pub(super) mod range;
pub(super) mod remove;
pub(super) mod scan;
pub(super) mod wait;

use keystead_resp::ReplyWriter;

use crate::command::Writer;
use crate::effect::EventClass;
use crate::number::float::FloatText;
use crate::value::Kind;
use crate::value::sorted_set::SortedSet;

/// Answers a score.
pub(super) fn put_score(reply: &mut ReplyWriter<'_>, score: f64) {
    if !reply.is_discarding() {
        reply.double_text(FloatText::of(score).as_str());
    }
}

/// Puts a set under a key whatever was there, says that `event` happened to it, and answers its size.
pub(super) fn store(
    writer: &mut Writer<'_>,
    (key, event): (&[u8], &'static str),
    set: SortedSet,
    reply: &mut ReplyWriter<'_>,
) {
    reply.integer(set.len() as i64);
    if !set.is_empty() {
        writer.replace(key, set);
        writer.notify(EventClass::SortedSet, event, key);
    } else if writer.entry(key).is_some() {
        writer.replace(key, set);
        writer.notify(EventClass::Generic, "del", key);
    }
}
