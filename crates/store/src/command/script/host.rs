//! What a script may ask of the store.
//! Owns: which commands, which keys, what a command counts as work. Never: Lua.
//!
//! A script runs in one shard. A key whose slot another shard serves could not be seen here, so it is refused.

use keystead_resp::{Args, Protocol, ReplyWriter, Span};
use keystead_script::Host;
use keystead_types::{ApplyContext, LogIndex, Slot};

use crate::chance;
use crate::command::{Command, Handler, Reader, flags, in_transaction, resolve};
use crate::error::CommandError;
use crate::keyspace::Keyspace;
use crate::number::parse_integer;
use crate::store;
use crate::value::Collection;

/// Bytes of a value that count as an instruction of Lua where a command goes through the whole value.
const SCANNED_BYTES_PER_WORK: usize = 16;
/// Bytes that are copied or made for one.
const COPIED_BYTES_PER_WORK: usize = 32;
/// Work for each key or element that a command looks at.
const ELEMENT_WORK: usize = 20;
/// Values of a JSON document that are looked at for one.
const LOOKS_PER_WORK: u64 = 1;
/// Bytes of a payload that RESTORE reads for one.
const RESTORED_BYTES_PER_WORK: usize = 1;
/// Pending entries that XAUTOCLAIM may look at for each that it is to claim, and the work of it.
const CLAIM_LOOKS: usize = 10 * ELEMENT_WORK;
/// Work of PFSELFTEST.
const SELF_TEST_WORK: usize = 10_000_000;
/// Pairs of bytes that LCS compares for one.
const PAIRS_PER_WORK: usize = 4;
/// Commands that go through whole values though their replies are short, sorted.
const SCANS: [&str; 40] = [
    "bitcount",
    "bitop",
    "bitpos",
    "copy",
    "delex",
    "delifeq",
    "digest",
    "dump",
    "georadius",
    "georadius_ro",
    "georadiusbymember",
    "georadiusbymember_ro",
    "geosearch",
    "geosearchstore",
    "hrandfield",
    "json.debug|memory",
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
    "xpending",
    "zdiff",
    "zdiffstore",
    "zinter",
    "zintercard",
    "zinterstore",
    "zrangestore",
    "zunion",
    "zunionstore",
];
/// Commands that copy a string whose time or name they change, sorted.
const COPIES: [&str; 9] = [
    "expire",
    "expireat",
    "getex",
    "move",
    "persist",
    "pexpire",
    "pexpireat",
    "rename",
    "renamenx",
];
/// What replicas answer differently, sorted: a script that writes could write it down.
const OF_ONE_REPLICA: [&str; 3] = ["memory|usage", "object|freq", "object|idletime"];

/// The store behind a script.
pub(super) struct StoreHost<'a> {
    access: Access<'a>,
    /// Commands run so far: each has chance of its own.
    calls: u64,
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
        /// True if memory is full, and the script does not say that it may take more.
        is_full: bool,
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
        let row = match found {
            Ok(row) => row,
            Err(error) => {
                writer.error(&error);
                return 0;
            }
        };
        // Two looks at every key: only where something can come of them.
        let is_sized = row.is_write() || row.name.starts_with("json.");
        let sizes = |host: &Self| if is_sized { host.sizes(row, args) } else { Sizes::default() };
        let before = sizes(self);
        let work = self.work(row, args);
        if let Err(error) = self.run(row, args, &mut writer) {
            writer.truncate(0);
            writer.error(&error);
        }
        let after = sizes(self);
        let grown = after.bytes.saturating_sub(before.bytes) / COPIED_BYTES_PER_WORK;
        let looks = after.looks.saturating_sub(before.looks) / LOOKS_PER_WORK;
        work.saturating_add(grown).saturating_add(usize::try_from(looks).unwrap_or(usize::MAX))
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

/// What work is counted by. All of it follows from the content of values, never from the memory behind them, which
/// differs between replicas (INV-LUA3).
#[derive(Clone, Copy, Default)]
struct Sizes {
    /// Bytes of the values.
    bytes: usize,
    /// Elements in them.
    elements: usize,
    /// Values in JSON documents that were looked at so far.
    looks: u64,
}

impl<'a> StoreHost<'a> {
    pub(super) const fn new(access: Access<'a>) -> Self {
        Self { access, calls: 0 }
    }
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
            Access::Write { keyspace, ctx, .. } => {
                self.calls += 1;
                let seed =
                    chance::mixed(ctx.seed.wrapping_add(self.calls.wrapping_mul(chance::STEP)));
                store::run(keyspace, &ApplyContext { seed, ..**ctx }, row, args, reply)
            }
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
        if let Handler::Wait(kind) = row.handler
            && kind.has_block(args)
        {
            return Err(CommandError::BlockInScript { command: args[0].into() });
        }
        let may_write = matches!(self.access, Access::Write { is_read_only: false, .. });
        let publishes = row.flags & flags::PUBLISHES != 0;
        if (row.is_write() || publishes) && !may_write {
            return refused(WRITES);
        }
        if matches!(self.access, Access::Write { is_full: true, .. })
            && row.flags & flags::DENYOOM != 0
        {
            return Err(CommandError::OutOfMemory);
        }
        let applies = matches!(self.access, Access::Write { .. });
        if applies && OF_ONE_REPLICA.binary_search(&row.name).is_ok() {
            return refused(
                "ERR This command is answered differently by each replica, and not allowed from a script that may write; \
                 use EVAL_RO",
            );
        }
        if row.keys(args).any(|key| !self.keyspace().serves(Slot::of_key(key))) {
            return refused("ERR Script attempted to access a non local key in a cluster node");
        }
        Ok(())
    }

    /// What stands under the command's keys, together.
    fn sizes(&self, row: &'static Command, args: Args<'_>) -> Sizes {
        row.keys(args).map(|key| self.sizes_of(key)).fold(Sizes::default(), |sum, size| Sizes {
            bytes: sum.bytes.saturating_add(size.bytes),
            elements: sum.elements.saturating_add(size.elements),
            looks: sum.looks.saturating_add(size.looks),
        })
    }

    fn sizes_of(&self, key: &[u8]) -> Sizes {
        let keyspace = self.keyspace();
        let database = match &self.access {
            Access::Write { keyspace, .. } => keyspace.database(keyspace.selected()),
            Access::Read { reader } => reader.database,
        };
        let Some(entry) = database.entry(&keyspace.hasher, Slot::of_key(key), key) else {
            return Sizes::default();
        };
        let (elements, looks) = match entry.as_collection() {
            // To count the values of a document is to walk through it.
            Some(Collection::Json(document)) => (0, document.looks()),
            Some(Collection::Stream(_)) | None => (0, 0),
            Some(collection) => (usize::try_from(collection.part_count()).unwrap_or(usize::MAX), 0),
        };
        Sizes { bytes: entry.content_bytes(), elements, looks }
    }

    /// What the command counts for beside its arguments, its reply and what it leaves.
    fn work(&self, row: &'static Command, args: Args<'_>) -> usize {
        let keys = || usize::try_from(self.keyspace().counts().keys).unwrap_or(usize::MAX);
        let scanned = |sizes: Sizes| {
            let of_bytes = sizes.bytes / SCANNED_BYTES_PER_WORK;
            of_bytes.saturating_add(sizes.elements.saturating_mul(ELEMENT_WORK))
        };
        match row.name {
            "keys" => keys().saturating_mul(ELEMENT_WORK),
            "scan" => scan_count(args).min(keys()).saturating_mul(ELEMENT_WORK),
            "lcs" => {
                let [one, other] = [1, 2].map(|at| self.sizes_of(&args[at]).bytes);
                one.saturating_mul(other) / PAIRS_PER_WORK
            }
            "pfselftest" => SELF_TEST_WORK,
            "restore" => args[3].len() / RESTORED_BYTES_PER_WORK,
            "xautoclaim" => scan_count(args).saturating_mul(CLAIM_LOOKS).min(
                // As many as can be pending.
                self.sizes(row, args).bytes / SCANNED_BYTES_PER_WORK,
            ),
            // With a digest to compare (IFDEQ, IFDNE), all of the old value is read.
            "set" if compares_digest(args) => {
                self.sizes_of(&args[1]).bytes / SCANNED_BYTES_PER_WORK
            }
            name if name.ends_with("scan") => {
                scan_count(args).min(self.sizes(row, args).elements).saturating_mul(ELEMENT_WORK)
            }
            name if SCANS.binary_search(&name).is_ok() => scanned(self.sizes(row, args)),
            name if COPIES.binary_search(&name).is_ok() => {
                let sizes = self.sizes(row, args);
                if sizes.elements == 0 { sizes.bytes / COPIED_BYTES_PER_WORK } else { 0 }
            }
            _ => 0,
        }
    }
}

/// True for SET with IFDEQ or IFDNE.
fn compares_digest(args: Args<'_>) -> bool {
    let is_option =
        |word: &[u8]| word.eq_ignore_ascii_case(b"IFDEQ") || word.eq_ignore_ascii_case(b"IFDNE");
    args.iter().skip(3).any(is_option)
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
        for names in [&super::SCANS[..], &super::COPIES] {
            assert!(names.is_sorted());
            for name in names.iter().filter(|name| !name.contains('|')) {
                assert!(crate::command::find(name.as_bytes()).is_some(), "{name}");
            }
        }
        assert!(super::OF_ONE_REPLICA.is_sorted());
        let subcommands = crate::command::TABLE.iter().flat_map(|row| row.subcommands);
        let known = |name: &&str| subcommands.clone().any(|row| row.name == *name);
        assert!(super::OF_ONE_REPLICA.iter().all(known));
    }
}
