//! CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT: looking into one slot. DEBUG OBJECT comes by here, too: no key stands in its row.
//! Owns: their arguments and replies, which are about the selected database. Never: which shard serves the slot; the gateway has chosen it.

use keystead_resp::{Args, ReplyWriter};
use keystead_types::Slot;

use crate::error::CommandError;
use crate::number::parse_integer;

use super::key::object;
use super::{Reader, SessionCommand};

/// As many keys as there are.
const LIMIT_ALL: usize = usize::MAX;

/// The slot that the command looks into; `None` if it is not one, which the command itself answers.
#[must_use]
pub fn slot_named(args: Args<'_>) -> Option<Slot> {
    slot(parse_integer(args.get(2)?)?)
}

/// Answers those that a shard answers; `NotInTransaction` for any other that is about a connection.
pub(crate) fn read(
    reader: &Reader<'_>,
    kind: SessionCommand,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match kind {
        SessionCommand::ClusterCountKeysInSlot => {
            let number = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
            let slot = slot(number).ok_or(CommandError::InvalidSlot)?;
            let count = reader.database.slots.get(slot).map_or(0, crate::table::Table::len);
            reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
        SessionCommand::ClusterGetKeysInSlot => {
            let number = parse_integer(&args[2]).ok_or(CommandError::NotAnInteger)?;
            let limit = parse_integer(&args[3]).ok_or(CommandError::NotAnInteger)?;
            let slot = slot(number).filter(|_| limit >= 0);
            let slot = slot.ok_or(CommandError::InvalidSlotOrCount)?;
            let limit = usize::try_from(limit).unwrap_or(LIMIT_ALL);
            let table = reader.database.slots.get(slot);
            reply.array(table.map_or(0, crate::table::Table::len).min(limit));
            for entry in table.into_iter().flat_map(crate::table::Table::iter).take(limit) {
                reply.bulk(entry.key());
            }
        }
        SessionCommand::Debug => return object::debug(reader, args, reply),
        _ => return Err(CommandError::NotInTransaction),
    }
    Ok(())
}

fn slot(number: i64) -> Option<Slot> {
    Slot::new(u16::try_from(number).ok()?)
}
