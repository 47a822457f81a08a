//! SELECT and SWAPDB, and how a command names a database.
//! Owns: the checks of such a number, which are those of Redis, and where it stands. Never: how many databases clients may
//! use: that is a setting of each node, and no replica may depend on it. A store has as many as there can be.

use keystead_resp::{Args, encode};
use keystead_types::DatabaseId;
use keystead_types::limits::DATABASES_MAX;

use crate::error::CommandError;
use crate::number::parse_integer;

use super::{Command, flags};

/// A number that no store has a database of.
const NOWHERE: &[u8] = b"2147483647";

/// The database that SELECT names.
///
/// # Errors
/// In the words of Redis.
pub fn selected(text: &[u8]) -> Result<DatabaseId, CommandError> {
    named(text)?.ok_or(CommandError::DbOutOfRange)
}

/// The database of this number, in the words of Redis if it is none; `None` if it is a number that no database has.
pub(crate) fn named(text: &[u8]) -> Result<Option<DatabaseId>, CommandError> {
    let number = parse_integer(text).ok_or(CommandError::NotAnInteger)?;
    let out_of_range =
        CommandError::OutOfRangeBetween { min: i32::MIN.into(), max: i32::MAX.into() };
    let number = i32::try_from(number).map_err(|_| out_of_range)?;
    Ok(u16::try_from(number).ok().filter(|number| *number < DATABASES_MAX).map(DatabaseId))
}

/// The databases that SWAPDB names.
pub(crate) fn swapped(args: Args<'_>) -> Result<(DatabaseId, DatabaseId), CommandError> {
    let one = named(&args[1]).map_err(|_| CommandError::FirstDatabase)?;
    let other = named(&args[2]).map_err(|_| CommandError::SecondDatabase)?;
    one.zip(other).ok_or(CommandError::DbOutOfRange)
}

/// The command with every number of a database that is `databases` or more replaced by one that no store has, so that it is
/// answered as where there are only so many; `None` if it is good as it is.
#[must_use]
pub fn bounded(row: &Command, args: Args<'_>, databases: u16) -> Option<Vec<u8>> {
    if row.flags & flags::NAMES_DATABASE == 0 {
        return None;
    }
    let is_beyond = |at: usize| {
        let number = args.get(at).and_then(|text| named(text).ok().flatten());
        is_number_at(row, args, at) && number.is_some_and(|number| number.0 >= databases)
    };
    (1..args.len()).any(is_beyond).then(|| {
        let words = args.iter().enumerate();
        let words: Vec<&[u8]> =
            words.map(|(at, word)| if is_beyond(at) { NOWHERE } else { word }).collect();
        let mut out = Vec::new();
        encode::command(&mut out, words);
        out
    })
}

/// True if the number of a database stands there.
fn is_number_at(row: &Command, args: Args<'_>, at: usize) -> bool {
    match row.name {
        "select" => at == 1,
        "move" => at == 2,
        "swapdb" => at == 1 || at == 2,
        // What stands behind an option that is none is refused before it counts.
        "copy" => at >= 4 && args[at - 1].eq_ignore_ascii_case(b"DB"),
        _ => false,
    }
}
