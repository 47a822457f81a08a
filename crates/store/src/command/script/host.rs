//! What a script may ask of the store.
//! Owns: which commands, which keys, what a command counts as work. Never: Lua.
//!
//! A script runs in one shard. A key whose slot another shard serves could not be seen here, so it is refused.

use keystead_resp::{Args, Protocol, ReplyWriter, Span};
use keystead_script::Host;
use keystead_types::{ApplyContext, LogIndex, Slot};

use crate::command::{Command, Handler, Reader, flags, in_transaction, resolve};
use crate::entry::Entry;
use crate::error::CommandError;
use crate::keyspace::Keyspace;
use crate::number::parse_integer;
use crate::store;

/// Bytes of a value that count as an instruction of Lua where a command goes through the whole value.
const SCANNED_BYTES_PER_WORK: usize = 16;
/// Bytes by which the store grew that count as one.
const GROWN_BYTES_PER_WORK: usize = 32;
/// Work for each key or element that a command looks at.
const ELEMENT_WORK: usize = 20;
/// Commands that go through whole values though their replies are short, sorted.
const SCANS: [&str; 32] = [
    "bitcount",
    "bitop",
    "bitpos",
    "copy",
    "georadius",
    "georadius_ro",
    "georadiusbymember",
    "georadiusbymember_ro",
    "geosearch",
    "geosearchstore",
    "linsert",
    "lpos",
    "lrem",
    "ltrim",
    "pfcount",
    "pfmerge",
    "sdiff",
    "sdiffstore",
    "sinter",
    "sintercard",
    "sinterstore",
    "sort",
    "sort_ro",
    "sunion",
    "sunionstore",
    "zdiff",
    "zdiffstore",
    "zinter",
    "zintercard",
    "zinterstore",
    "zunion",
    "zunionstore",
];

/// The store behind a script.
pub(super) struct StoreHost<'a> {
    pub(super) access: Access<'a>,
}

/// What the store may be used for.
pub(super) enum Access<'a> {
    /// A log entry is applied.
    Write {
        /// Where the keys are.
        keyspace: &'a mut Keyspace,
        /// Time and chance of the entry.
        ctx: &'a ApplyContext,
        /// True if the script says that it does not write.
        is_read_only: bool,
    },
    /// A read, beside others.
    Read {
        /// Where the keys are.
        reader: &'a Reader<'a>,
    },
}

impl Host for StoreHost<'_> {
    fn call(&mut self, command: &[Vec<u8>], protocol: Protocol, reply: &mut Vec<u8>) -> usize {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        let Some(args) = args_of(command, &mut bytes, &mut spans) else { return 0 };
        let mut writer = ReplyWriter::new(reply, protocol);
        let found = find(args).and_then(|row| self.permit(row, args).map(|()| row));
        let before = self.keyspace().counts().entry_bytes;
        let mut work = found.as_ref().map_or(0, |row| self.work(row, args));
        if let Err(error) = found.and_then(|row| self.run(row, args, &mut writer)) {
            writer.truncate(0);
            writer.error(&error);
        }
        let grown = self.keyspace().counts().entry_bytes.saturating_sub(before);
        work += usize::try_from(grown).unwrap_or(usize::MAX) / GROWN_BYTES_PER_WORK;
        work
    }

    fn check(&mut self, command: &[Vec<u8>]) -> Result<bool, String> {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        // Who sends a command was looked at when it came; whoever may run a script may run what is in it.
        match args_of(command, &mut bytes, &mut spans).map(resolve) {
            Some(Ok(_) | Err(CommandError::Arity { .. })) => Ok(true),
            _ => Err("ERR Invalid command passed to redis.acl_check_cmd()".to_owned()),
        }
    }
}

/// The words as arguments over one buffer; `None` beyond what offsets of 32 bits name, which no script has the memory for.
fn args_of<'a>(
    command: &[Vec<u8>],
    bytes: &'a mut Vec<u8>,
    spans: &'a mut Vec<Span>,
) -> Option<Args<'a>> {
    for word in command {
        let start = u32::try_from(bytes.len()).ok()?;
        spans.push(Span { start, len: u32::try_from(word.len()).ok()? });
        bytes.extend_from_slice(word);
    }
    Some(Args::new(bytes, spans))
}

fn find(args: Args<'_>) -> Result<&'static Command, CommandError> {
    resolve(args).map_err(|error| CommandError::Text {
        text: match error {
            CommandError::Arity { .. } => {
                "ERR Wrong number of args calling Redis command from script"
            }
            _ => "ERR Unknown Redis command called from script",
        },
    })
}

impl StoreHost<'_> {
    const fn keyspace(&self) -> &Keyspace {
        match &self.access {
            Access::Write { keyspace, .. } => keyspace,
            Access::Read { reader } => reader.keyspace,
        }
    }

    fn run(
        &mut self,
        row: &'static Command,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<(), CommandError> {
        match &mut self.access {
            Access::Write { keyspace, ctx, .. } => store::run(keyspace, ctx, row, args, reply),
            Access::Read { reader } => match row.handler {
                Handler::Session(kind) if !kind.looks_into_slot() => {
                    let ctx = ApplyContext { index: LogIndex(0), now: reader.now, seed: 0 };
                    in_transaction::run(&ctx, kind, args, reply)
                }
                _ => store::look(reader, row, args, reply),
            },
        }
    }

    fn permit(&self, row: &'static Command, args: Args<'_>) -> Result<(), CommandError> {
        const WRITES: &str = "ERR Write commands are not allowed from read-only scripts.";
        let refused = |text: &'static str| Err(CommandError::Text { text });
        // FLUSHALL concerns every shard, and a script runs in one.
        let is_flush = matches!(row.handler, Handler::Gather(kind) if kind.is_write());
        if row.flags & flags::NOSCRIPT != 0 || is_flush {
            return refused("ERR This Redis command is not allowed from script");
        }
        let may_write = matches!(self.access, Access::Write { is_read_only: false, .. });
        let publishes = row.flags & flags::PUBLISHES != 0;
        if (row.is_write() || publishes) && !may_write {
            return refused(WRITES);
        }
        if row.keys(args).any(|key| !self.keyspace().serves(Slot::of_key(key))) {
            return refused("ERR Script attempted to access a non local key in a cluster node");
        }
        Ok(())
    }

    /// Bytes of the entry under a key.
    fn bytes_of(&self, key: &[u8]) -> usize {
        let keyspace = self.keyspace();
        let database = match &self.access {
            Access::Write { keyspace, .. } => keyspace.database(keyspace.selected()),
            Access::Read { reader } => reader.database,
        };
        database.entry(&keyspace.hasher, Slot::of_key(key), key).map_or(0, Entry::bytes)
    }

    /// What the command counts for beside its arguments and its reply.
    fn work(&self, row: &'static Command, args: Args<'_>) -> usize {
        let keyspace = self.keyspace();
        let keys = usize::try_from(keyspace.counts().keys).unwrap_or(usize::MAX);
        let size = || row.keys(args).map(|key| self.bytes_of(key)).sum::<usize>();
        match row.name {
            "keys" => keys.saturating_mul(ELEMENT_WORK),
            "scan" => scan_count(args).min(keys).saturating_mul(ELEMENT_WORK),
            name if name.ends_with("scan") => scan_count(args).min(size()) * ELEMENT_WORK,
            name if SCANS.binary_search(&name).is_ok() => size() / SCANNED_BYTES_PER_WORK,
            _ => 0,
        }
    }
}

/// How many elements a SCAN looks at.
fn scan_count(args: Args<'_>) -> usize {
    const COUNT_USUAL: usize = 10;
    let mut words = args.iter().skip_while(|word| !word.eq_ignore_ascii_case(b"COUNT"));
    let count = words.nth(1).and_then(parse_integer).and_then(|count| usize::try_from(count).ok());
    count.unwrap_or(COUNT_USUAL)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_sorted_and_in_the_table() {
        assert!(super::SCANS.is_sorted());
        for name in super::SCANS {
            let is_missing = crate::command::find(name.as_bytes()).is_none();
            assert!(!is_missing || name.starts_with("sort"), "{name}");
        }
    }
}
