//! The one list of commands, and finding a row in it.
//! Owns: [`TABLE`], [`find`], [`resolve`]. Never: runs a command.

use keystead_resp::Args;

use crate::error::{Bytes, CommandError};

use super::{Command, rows};

/// Every command, in the order of the families; containers hold their subcommands.
pub static TABLE: &[Command] = &ROWS;

const FAMILIES: &[&[Command]] = &[
    rows::string::ROWS,
    rows::bitmap::ROWS,
    rows::key::ROWS,
    rows::hash::ROWS,
    rows::sorted_set::ROWS,
    rows::geo::ROWS,
    rows::field_expiry::ROWS,
    rows::stream::ROWS,
    rows::set::ROWS,
    rows::hyperloglog::ROWS,
    rows::list::ROWS,
    rows::json::ROWS,
    rows::script::ROWS,
    rows::server::ROWS,
    rows::inspect::ROWS,
    rows::acl::ROWS,
    rows::refused::ROWS,
    rows::connection::ROWS,
    rows::cluster::ROWS,
    rows::transaction::ROWS,
    rows::pubsub::ROWS,
];
const ROW_COUNT: usize = row_count();
static ROWS: [Command; ROW_COUNT] = joined();

/// Buckets of the index of names: enough that a name is found at the first or second look.
const BUCKETS: usize = 2048;
const EMPTY: u16 = u16::MAX;
/// Longest name of a command in the table.
const NAME_BYTES_MAX: usize = 24;
static INDEX: [u16; BUCKETS] = index();

/// The row of a command, in any case; `None` if there is none. No allocation.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut bucket = bucket_of(name);
    loop {
        let row = INDEX[bucket];
        if row == EMPTY {
            return None;
        }
        let row = &ROWS[usize::from(row)];
        if name.eq_ignore_ascii_case(row.name.as_bytes()) {
            return Some(row);
        }
        bucket = (bucket + 1) % BUCKETS;
    }
}

/// The row that runs this command line: its subcommand's if it is a container, arity checked.
///
/// # Errors
/// Unknown command or subcommand, or a wrong number of arguments, in the words of Redis.
pub fn resolve(args: Args<'_>) -> Result<&'static Command, CommandError> {
    let name = args.get(0).unwrap_or_default();
    let Some(mut row) = find(name) else { return Err(unknown(args)) };
    if let (Some(sub), false) = (args.get(1), row.subcommands.is_empty()) {
        let prefix = row.name.len() + 1;
        let found = row
            .subcommands
            .iter()
            .find(|candidate| sub.eq_ignore_ascii_case(&candidate.name.as_bytes()[prefix..]));
        row = found.ok_or_else(|| CommandError::UnknownSubcommand {
            container: row.name,
            name: sub.into(),
        })?;
    }
    if !row.accepts(args.len()) {
        return Err(CommandError::Arity { command: row.name });
    }
    Ok(row)
}

/// Quotes the arguments until 128 bytes are full, as Redis does.
fn unknown(args: Args<'_>) -> CommandError {
    const QUOTED_BYTES_MAX: usize = 128;
    let mut quoted = Vec::new();
    for arg in args.iter().skip(1) {
        if quoted.len() >= QUOTED_BYTES_MAX {
            break;
        }
        let room = QUOTED_BYTES_MAX - quoted.len();
        quoted.push(b'\'');
        quoted.extend_from_slice(&arg[..arg.len().min(room)]);
        quoted.extend_from_slice(b"' ");
    }
    let name = args.get(0).unwrap_or_default();
    CommandError::UnknownCommand { name: name.into(), args: Bytes(quoted.into()) }
}

/// FNV-1a over the name in lower case.
#[inline]
const fn bucket_of(name: &[u8]) -> usize {
    let mut hash = 0xcbf2_9ce4_u32;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at].to_ascii_lowercase() as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 16)) as usize % BUCKETS
}

const fn row_count() -> usize {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
}

const fn joined() -> [Command; ROW_COUNT] {
    let mut all = [FAMILIES[0][0]; ROW_COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            all[at] = FAMILIES[family][row];
            at += 1;
            row += 1;
        }
        family += 1;
    }
    all
}

#[expect(clippy::cast_possible_truncation, reason = "asserted: there are fewer than 65535 rows")]
const fn index() -> [u16; BUCKETS] {
    assert!(ROW_COUNT < EMPTY as usize, "the index of names holds at most 65534 rows");
    let all = joined();
    let mut buckets = [EMPTY; BUCKETS];
    let mut row = 0;
    while row < ROW_COUNT {
        assert!(all[row].name.len() <= NAME_BYTES_MAX, "raise NAME_BYTES_MAX");
        let mut bucket = bucket_of(all[row].name.as_bytes());
        while buckets[bucket] != EMPTY {
            bucket = (bucket + 1) % BUCKETS;
        }
        buckets[bucket] = row as u16;
        row += 1;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_found_by_its_name_in_any_case() {
        for row in TABLE {
            let found = find(row.name.to_ascii_uppercase().as_bytes()).expect("found");
            assert_eq!(found.name, row.name);
        }
        assert!(find(b"nosuch").is_none());
        assert!(find(b"").is_none());
        assert!(find(&[b'a'; 100]).is_none());
    }

    #[test]
    fn names_are_found_at_the_first_or_second_look() {
        for (row, command) in ROWS.iter().enumerate() {
            let first = bucket_of(command.name.as_bytes());
            let at = INDEX.iter().position(|found| usize::from(*found) == row).expect("indexed");
            let looks = (at + BUCKETS - first) % BUCKETS + 1;
            assert!(looks <= 3, "{} is found at look {looks}", command.name);
        }
    }

    #[test]
    fn names_are_lower_case_and_stand_once() {
        let names: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(names.iter().all(|name| !name.bytes().any(|b| b.is_ascii_uppercase())));
    }

    #[test]
    fn subcommands_carry_the_name_of_their_container() {
        for row in TABLE {
            for sub in row.subcommands {
                assert_eq!(sub.name.split_once('|').map(|(c, _)| c), Some(row.name));
            }
        }
    }
}
