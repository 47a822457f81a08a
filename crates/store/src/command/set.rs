//! The set family, a file per command or tight group.

pub(super) mod change;
pub(super) mod combine;
pub(super) mod get;
pub(super) mod pop;
pub(super) mod random;
pub(super) mod scan;

use keystead_resp::ReplyWriter;

use crate::value::set::Member;

/// Writes a member as a bulk string.
fn put(reply: &mut ReplyWriter<'_>, member: Member<'_>) {
    match member {
        Member::Int(number) => reply.bulk_integer(number),
        Member::Bytes(bytes) => reply.bulk(bytes),
    }
}
