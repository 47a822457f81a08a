//! Commands that only nodes put into the log, and how transactions and databases stand in it.
//!
//! Owns: their names and forms, how a run says in which database it works. Never: reachable by clients: the command table does not know them.
//!
//! ```text
//! KEYSTEAD.WATCH id key [key ...]     registers a watch over keys of one shard
//! KEYSTEAD.UNWATCH id [id ...]        forgets watches
//! KEYSTEAD.EXPIRE limit               removes what has expired by the entry's time, at most `limit` keys
//! KEYSTEAD.SELECT database            what follows works on this database; has no reply
//! KEYSTEAD.EVICT database key ...     removes keys that the leader chose, to make room
//! KEYSTEAD.LIBRARIES [libraries]      takes libraries of functions over if they are later; without any, answers its own
//! KEYSTEAD.FULL 1|0                   scripts behind it may take no memory, or may again; has no reply
//! KEYSTEAD.OOM [EXEC id ...]          does nothing and says why: stands for a command, or a transaction, that needed memory
//! MULTI, commands, EXEC [id ...]      a transaction; aborted if a watch with one of the ids is dirty
//!
//! KEYSTEAD.AWAIT home life number resp command     runs a command that may wait; +WAITS if its client waits now
//! KEYSTEAD.UNAWAIT home life number                forgets a waiter; answered with what became of it
//! KEYSTEAD.ALIVE home life number [number ...]     a sign of life of waiters; answered with an array of what became of each
//! KEYSTEAD.SUSPEND home life                       has waiters of earlier lives passed over until they give a sign
//! ```
//! What became of a waiter: 1, it waits; a string, the answer that it was served; 0, it is not known.
//!
//! An entry begins in the first database, and so does every run in it: a run of another one stands between two
//! KEYSTEAD.SELECT, the second of which leads back. So a run of the first database costs not a byte for it.

use keystead_resp::{Args, encode};
use keystead_types::DatabaseId;
use keystead_types::limits::DATABASES_MAX;

/// Compares all replicas of all shards: never in a log, but a question to the node itself, asked as a run of the
/// metadata group that only reads. Its argument is how long to wait for replicas that are behind, milliseconds.
pub const SYNC: &[u8] = b"KEYSTEAD.SYNC";
/// Gives libraries of functions to a shard; without any, asks a shard for its own. In front of a command, as a question to
/// the node itself asked as a run of the metadata group: have the first shard run it, and all others take over what comes of it.
pub const LIBRARIES: &[u8] = b"KEYSTEAD.LIBRARIES";
/// Registers a watch.
pub const WATCH: &[u8] = b"KEYSTEAD.WATCH";
/// Forgets watches.
pub const UNWATCH: &[u8] = b"KEYSTEAD.UNWATCH";
/// Runs a command, and has its client wait if there is nothing.
pub const AWAIT: &[u8] = b"KEYSTEAD.AWAIT";
/// Forgets a waiter.
pub const UNAWAIT: &[u8] = b"KEYSTEAD.UNAWAIT";
/// Gives a sign of life of waiters.
pub const ALIVE: &[u8] = b"KEYSTEAD.ALIVE";
/// Has waiters passed over.
pub const SUSPEND: &[u8] = b"KEYSTEAD.SUSPEND";
/// The words of [`AWAIT`] before the command that may wait.
pub const AWAIT_WORDS: usize = 5;
/// Most bytes that these words take in a run.
pub const AWAIT_BYTES_MAX: usize = 256;
/// The answer to [`AWAIT`] if the client waits; no command that may wait answers so.
pub const WAITS: &[u8] = b"+WAITS\r\n";
/// Removes what has expired.
pub const EXPIRE: &[u8] = b"KEYSTEAD.EXPIRE";
/// Keys removed by one entry at most: bounds how long other commands wait behind it.
pub const EXPIRE_KEYS_MAX: usize = 1000;
/// Removes keys to make room.
pub const EVICT: &[u8] = b"KEYSTEAD.EVICT";
/// Keys removed by one entry at most to make room: bounds how long other commands wait behind it.
pub const EVICT_KEYS_MAX: usize = 2000;
/// Stands for what was refused because memory is full.
pub const OUT_OF_MEMORY: &[u8] = b"KEYSTEAD.OOM";
/// Says whether scripts behind it find memory full.
pub const FULL: &[u8] = b"KEYSTEAD.FULL";
/// What all of them begin with.
pub const PREFIX: &[u8] = b"KEYSTEAD.";
/// Opens a transaction in the log.
pub const MULTI: &[u8] = b"MULTI";
/// Closes a transaction in the log.
pub const EXEC: &[u8] = b"EXEC";
/// Says on which database what follows works.
const SELECT: &[u8] = b"KEYSTEAD.SELECT";
/// What [`write_run`] adds to a run of another database than the first at most, bytes.
const SELECTS_BYTES_MAX: usize = 80;

/// The bytes that a run may have in the log.
pub(crate) const fn run_bytes_max(commands: &[u8], database: DatabaseId) -> usize {
    commands.len() + if database.0 == DatabaseId::FIRST.0 { 0 } else { SELECTS_BYTES_MAX }
}

/// Appends a run as it stands in the log.
pub(crate) fn write_run(out: &mut Vec<u8>, database: DatabaseId, commands: &[u8]) {
    if database == DatabaseId::FIRST {
        return out.extend_from_slice(commands);
    }
    encode::command(out, [SELECT, database.0.to_string().as_bytes()]);
    out.extend_from_slice(commands);
    encode::command(out, [SELECT, b"0"]);
}

/// The database that the command leads to, if it is one that does.
pub(crate) fn selected(args: Args<'_>) -> Option<DatabaseId> {
    if &args[0] != SELECT {
        return None;
    }
    database(args.get(1)?)
}

/// The database of that number, if there may be one.
pub(crate) fn database(digits: &[u8]) -> Option<DatabaseId> {
    let number: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number < DATABASES_MAX).then_some(DatabaseId(number))
}

#[cfg(test)]
mod tests {
    use keystead_resp::RunDecoder;

    use super::*;

    #[test]
    fn a_run_leads_back_to_the_first_database_and_costs_nothing_there() {
        let mut set = Vec::new();
        encode::command(&mut set, [&b"SET"[..], b"k", b"v"]);
        let mut log = Vec::new();
        write_run(&mut log, DatabaseId::FIRST, &set);
        assert_eq!(log, set);
        let other = DatabaseId(DATABASES_MAX - 1);
        write_run(&mut log, other, &set);
        assert!(log.len() - set.len() <= run_bytes_max(&set, other));
        let (mut run, mut spans, mut seen) = (RunDecoder::new(&log), Vec::new(), Vec::new());
        while let Some(args) = run.next(&mut spans).unwrap() {
            seen.push(selected(args));
        }
        assert_eq!(seen, [None, Some(other), None, Some(DatabaseId::FIRST)]);
    }

    #[test]
    fn what_a_peer_may_send_instead_of_a_number_selects_nothing() {
        for words in [&["KEYSTEAD.SELECT"][..], &["KEYSTEAD.SELECT", "1024"], &["SELECT", "1"]] {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            encode::command(&mut bytes, words.iter().map(|word| word.as_bytes()));
            let args = RunDecoder::new(&bytes).next(&mut spans).unwrap().unwrap();
            assert_eq!(selected(args), None, "{words:?}");
        }
    }
}
