//! Commands: the one table, how a command is found in it, and what a command's function is given.
//! Owns: [`Command`] and its parts, [`Reader`] and [`Writer`]. Never: sessions; rows that the gateway
//! implements say so with [`Handler::Session`].
//!
//! `rows/<family>.rs` hold the rows, `<family>/<verb>.rs` the functions.

use std::sync::atomic::{AtomicU64, Ordering};

use keystead_resp::{Args, ReplyWriter};
use keystead_types::{ApplyContext, DatabaseId, Slot, UnixMillis};

use crate::chance::{self, Chance};
use crate::database::Database;
use crate::effect::EventClass;
use crate::entry::{Entry, Value};
use crate::error::{CommandError, WrongType};
use crate::keyspace::{Change, Keyspace};
use crate::table::Hasher;
use crate::value::Held;

mod bitmap;
pub mod database;
pub mod describe;
mod differences;
pub mod flags;
pub(crate) mod gather;
pub(crate) mod geo;
mod hash;
mod hyperloglog;
pub(crate) mod in_transaction;
mod json;
mod key;
mod keys;
pub(crate) mod list;
mod options;
mod page;
mod part_scan;
mod rows;
mod script;
mod set;
pub(crate) mod slot_keys;
pub(crate) mod sorted_set;
mod stream;
mod string;
mod table;
pub(crate) mod wait;

pub use differences::{Difference, differences, reason_to_differ};
pub use gather::parse_scan;
pub use keys::{Begin, Find, KeyIter, KeySpec, OptionKey};
pub use page::reference;
pub use slot_keys::slot_named;
pub use table::{TABLE, find, resolve};
pub use wait::{Patience, WaitCommand};

/// One row of the command table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Lower case; a subcommand's is `container|sub`, as Redis writes it.
    pub name: &'static str,
    /// Arguments with the name: exactly n, or at least n if it stands as -n.
    pub arity: i32,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Bits of [`flags`] for ACL categories beyond those that follow from flags and group.
    pub extra_categories: u32,
    /// What the command is about.
    pub group: Group,
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// Hints for clients, as Redis names them.
    pub tips: &'static [&'static str],
    /// First version of Redis that has it.
    pub since: &'static str,
    /// Cost in words.
    pub complexity: &'static str,
    /// Arguments in words, as the reference page writes them.
    pub syntax: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Rows of its subcommands, if it is a container.
    pub subcommands: &'static [Self],
    /// Who runs it.
    pub handler: Handler,
}

/// A function that reads.
pub type ReadFn = fn(&Reader<'_>, Args<'_>, &mut ReplyWriter<'_>) -> Result<(), CommandError>;
/// A function that writes.
pub type WriteFn = fn(&mut Writer<'_>, Args<'_>, &mut ReplyWriter<'_>) -> Result<(), CommandError>;

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// The store, under a shared lock.
    Read(ReadFn),
    /// The store, when the command's log entry is applied.
    Write(WriteFn),
    /// The store, when the command's log entry is applied; who finds nothing may wait.
    Wait(WaitCommand),
    /// All shards; the node puts their answers together.
    Gather(GatherCommand),
    /// The gateway: it concerns a connection, the node or the cluster.
    Session(SessionCommand),
    /// Nobody: it has no place in this server. Why, and what to use instead, as the end of a sentence.
    Refused(&'static str),
}

/// Commands that need every shard but no atomicity over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the command of that name")]
pub enum GatherCommand {
    DbSize,
    FlushAll,
    FlushDb,
    FunctionDelete,
    FunctionDump,
    FunctionFlush,
    FunctionList,
    FunctionLoad,
    FunctionRestore,
    FunctionStats,
    Keys,
    RandomKey,
    Scan,
    ScriptExists,
    ScriptFlush,
    ScriptLoad,
    SwapDb,
}

impl GatherCommand {
    /// True if it changes data and so stands in every shard's log.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            Self::FlushAll
                | Self::FlushDb
                | Self::FunctionDelete
                | Self::FunctionFlush
                | Self::FunctionLoad
                | Self::FunctionRestore
                | Self::ScriptFlush
                | Self::ScriptLoad
                | Self::SwapDb
        )
    }

    /// True if it changes the libraries of functions, which the first shard decides for all.
    #[must_use]
    pub const fn changes_libraries(self) -> bool {
        matches!(
            self,
            Self::FunctionDelete | Self::FunctionFlush | Self::FunctionLoad | Self::FunctionRestore
        )
    }

    /// How the replies of the shards become one.
    #[must_use]
    pub const fn joining(self) -> Joining {
        match self {
            Self::DbSize => Joining::Sum,
            Self::Keys => Joining::Concatenation,
            Self::RandomKey => Joining::AnyOne,
            Self::Scan => Joining::Page,
            Self::ScriptExists => Joining::Conjunction,
            Self::FlushAll
            | Self::FlushDb
            | Self::FunctionDelete
            | Self::FunctionDump
            | Self::FunctionFlush
            | Self::FunctionList
            | Self::FunctionLoad
            | Self::FunctionRestore
            | Self::FunctionStats
            | Self::ScriptFlush
            | Self::ScriptLoad
            | Self::SwapDb => Joining::Alike,
        }
    }

    /// True if every shard would answer alike, so that one is asked.
    #[must_use]
    pub const fn asks_one(self) -> bool {
        matches!(self, Self::FunctionDump | Self::FunctionList | Self::FunctionStats)
    }
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joining {
    /// All are alike: any of them.
    Alike,
    /// Any that is not absent.
    AnyOne,
    /// One array of the elements of all.
    Concatenation,
    /// An array of 1 where all of them have 1.
    Conjunction,
    /// The sum of numbers.
    Sum,
    /// One shard was asked; at its end, its cursor leads to the next shard.
    Page,
}

/// Commands that the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each is the command of that name, a container first, then its subcommands"
)]
pub enum SessionCommand {
    Acl,
    AclCat,
    AclDryRun,
    AclGenPass,
    AclGetUser,
    AclHelp,
    AclList,
    AclLog,
    AclUsers,
    AclWhoAmI,
    Asking,
    Auth,
    Client,
    ClientCaching,
    ClientGetName,
    ClientGetRedir,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientPause,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientTracking,
    ClientTrackingInfo,
    ClientUnblock,
    ClientUnpause,
    Cluster,
    ClusterCountKeysInSlot,
    ClusterGetKeysInSlot,
    ClusterHelp,
    ClusterInfo,
    ClusterKeySlot,
    ClusterLinks,
    ClusterMyId,
    ClusterMyShardId,
    ClusterNodes,
    ClusterReplicas,
    ClusterShards,
    ClusterSlots,
    ClusterSync,
    Command,
    CommandCount,
    CommandDocs,
    CommandGetKeys,
    CommandGetKeysAndFlags,
    CommandHelp,
    CommandInfo,
    CommandList,
    Config,
    ConfigGet,
    ConfigHelp,
    ConfigResetStat,
    ConfigRewrite,
    ConfigSet,
    Debug,
    Discard,
    Echo,
    Exec,
    Function,
    FunctionHelp,
    FunctionKill,
    Hello,
    Info,
    JsonDebug,
    JsonDebugHelp,
    LastSave,
    Latency,
    LatencyDoctor,
    LatencyGraph,
    LatencyHelp,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Lolwut,
    Memory,
    MemoryDoctor,
    MemoryHelp,
    MemoryMallocStats,
    MemoryPurge,
    MemoryStats,
    Module,
    ModuleHelp,
    ModuleList,
    Monitor,
    Multi,
    Object,
    ObjectHelp,
    Ping,
    PSubscribe,
    PUnsubscribe,
    Publish,
    PubSub,
    PubSubChannels,
    PubSubHelp,
    PubSubNumPat,
    PubSubNumSub,
    PubSubShardChannels,
    PubSubShardNumSub,
    Quit,
    ReadOnly,
    ReadWrite,
    Reset,
    Role,
    Script,
    ScriptDebug,
    ScriptHelp,
    ScriptKill,
    Select,
    Shutdown,
    SlowLog,
    SlowLogGet,
    SlowLogHelp,
    SlowLogLen,
    SlowLogReset,
    SPublish,
    SSubscribe,
    Subscribe,
    SUnsubscribe,
    Time,
    Unsubscribe,
    Unwatch,
    Wait,
    WaitAof,
    Watch,
    XGroup,
    XGroupHelp,
    XInfo,
    XInfoHelp,
}

impl SessionCommand {
    /// True for those that change what the connection listens to.
    #[must_use]
    pub const fn changes_subscriptions(self) -> bool {
        matches!(
            self,
            Self::Subscribe
                | Self::Unsubscribe
                | Self::PSubscribe
                | Self::PUnsubscribe
                | Self::SSubscribe
                | Self::SUnsubscribe
        )
    }

    /// True for those that a shard answers, though no key stands in them: the shard of the slot they name.
    #[must_use]
    pub const fn looks_into_slot(self) -> bool {
        matches!(self, Self::ClusterCountKeysInSlot | Self::ClusterGetKeysInSlot)
    }
}

/// What a command is about; the `group` of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the group of that name")]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    HyperLogLog,
    Json,
    List,
    PubSub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    /// The name in COMMAND DOCS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::HyperLogLog => "hyperloglog",
            Self::Json => "json",
            Self::List => "list",
            Self::PubSub => "pubsub",
            Self::Scripting => "scripting",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }
}

impl Command {
    /// True if `count` arguments, the name included, are what the command takes.
    #[must_use]
    pub const fn accepts(&self, count: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { count == arity } else { count >= arity }
    }

    /// True if the command may change data.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.flags & flags::WRITE != 0
    }

    /// True if the command only reads data.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.flags & flags::READONLY != 0
    }

    /// The keys among `args`, in the order in which they stand; no allocation.
    #[must_use]
    pub const fn keys<'a>(&self, args: Args<'a>) -> KeyIter<'a> {
        KeyIter::new(self.keys, args)
    }
}

/// A command that only reads, on its way to the store: what whoever took it in has found out is not looked up again.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The database.
    pub database: DatabaseId,
    /// Its row, for these arguments (see [`resolve`]).
    pub row: &'static Command,
    /// The command line.
    pub args: Args<'a>,
    /// A key among the arguments, as it stands there, and its slot.
    pub key: Option<(&'a [u8], Slot)>,
}

/// What a reading function is given.
pub struct Reader<'a> {
    pub(crate) keyspace: &'a Keyspace,
    /// The database that is read.
    pub(crate) database: &'a Database,
    pub(crate) now: UnixMillis,
    chance: &'a AtomicU64,
    /// A key of which the slot is known.
    known: Option<(&'a [u8], Slot)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        keyspace: &'a Keyspace,
        database: DatabaseId,
        now: UnixMillis,
        chance: &'a AtomicU64,
    ) -> Self {
        Self { keyspace, database: keyspace.database(database), now, chance, known: None }
    }

    /// The same for a command of which one key's slot is known.
    pub(crate) const fn knowing(self, known: Option<(&'a [u8], Slot)>) -> Self {
        Self { known, ..self }
    }

    fn slot_of(&self, key: &[u8]) -> Slot {
        match self.known {
            // The same bytes at the same place: to compare them costs nothing.
            Some((known, slot)) if std::ptr::eq(known, key) => slot,
            _ => Slot::of_key(key),
        }
    }

    /// What is visible under `key`, which counts as a use of it.
    pub(crate) fn entry(&self, key: &[u8]) -> Option<&'a Entry> {
        let place = (self.slot_of(key), key);
        let entry = self.database.visible(&self.keyspace.hasher, place, self.now)?;
        self.keyspace.uses.note_read(entry, self.now);
        Some(entry)
    }

    /// The same without being a use, for commands that only look at how a key is kept.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<&'a Entry> {
        self.database.visible(&self.keyspace.hasher, (self.slot_of(key), key), self.now)
    }

    /// The string under `key`.
    pub(crate) fn string(&self, key: &[u8]) -> Result<Option<&'a [u8]>, WrongType> {
        string_of(self.entry(key))
    }

    /// The collection of kind `K` under `key`.
    pub(crate) fn kind<K: Held>(&self, key: &[u8]) -> Result<Option<&'a K>, WrongType> {
        kind_of(self.entry(key))
    }

    /// The next number of a sequence that the entry's seed (or the store, for plain reads) begins.
    pub(crate) fn random(&self) -> u64 {
        let before = self.chance.fetch_add(chance::STEP, Ordering::Relaxed);
        chance::mixed(before.wrapping_add(chance::STEP))
    }
}

/// What a writing function is given.
pub struct Writer<'a> {
    pub(crate) keyspace: &'a mut Keyspace,
    pub(crate) ctx: &'a ApplyContext,
}

impl Writer<'_> {
    /// Changes the collection under `key`, or an empty new one, which is kept if `change` changed it and left something.
    pub(crate) fn edit<K: Held, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut K, &Hasher) -> (Change, R),
    ) -> Result<R, WrongType> {
        // One look for what is there; a change that was not made is handed back for an empty one.
        let mut change = Some(change);
        let edited = self.keyspace.edit(self.ctx.now, key, |entry, hasher| {
            match (entry.collection_mut().and_then(K::of_mut), change.take()) {
                (Some(held), Some(change)) => {
                    let (changed, result) = change(held, hasher);
                    (changed, Ok(result))
                }
                _ => (Change::Unchanged, Err(WrongType)),
            }
        });
        if let Some(result) = edited {
            return result;
        }
        let Some(change) = change else { return Err(WrongType) };
        let mut held = K::new();
        let (changed, result) = change(&mut held, &self.keyspace.hasher);
        if changed == Change::Changed && !held.is_empty() {
            self.keyspace.insert(Entry::collection(key, held, None));
        }
        Ok(result)
    }

    /// Puts `held` under `key`, whatever was there before, without a time to expire; if it is empty, nothing stays there.
    pub(crate) fn replace<K: Held>(&mut self, key: &[u8], held: K) {
        if held.is_empty() {
            drop(self.keyspace.take(self.ctx.now, key));
        } else {
            self.keyspace.insert(Entry::collection(key, held, None));
        }
    }

    pub(crate) const fn now(&self) -> UnixMillis {
        self.ctx.now
    }

    /// Tells that `event`, as Redis names it, happened to `key`. Costs nothing unless somebody asked for its class.
    pub(crate) fn notify(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        self.keyspace.effects.notify(class, event, key);
    }

    /// As [`notify`](Self::notify) behind a change that may have left the key without content, and so without being
    /// (INV-K3): then `del` follows, as in Redis.
    pub(crate) fn notify_shrunk(&mut self, class: EventClass, event: &'static str, key: &[u8]) {
        self.notify(class, event, key);
        self.notify_if_gone(key);
    }

    /// Tells `del` if the key is not there any more.
    pub(crate) fn notify_if_gone(&mut self, key: &[u8]) {
        if self.entry(key).is_none() {
            self.notify(EventClass::Generic, "del", key);
        }
    }

    /// The numbers that the entry's seed begins for a command on `key`, of which the collection has `len` parts.
    pub(crate) fn chance(&self, key: &[u8], len: usize) -> Chance {
        Chance::new(self.ctx.seed, self.keyspace.hasher.hash(key) ^ len as u64)
    }

    /// Calls `read` with a reader of the state as it is now.
    pub(crate) fn reading<R>(&self, read: impl FnOnce(&Reader<'_>) -> R) -> R {
        let chance = AtomicU64::new(self.ctx.seed);
        read(&Reader::new(self.keyspace, self.keyspace.selected(), self.ctx.now, &chance))
    }

    /// What is visible under `key`.
    pub(crate) fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.keyspace.get(self.ctx.now, key)
    }

    /// The string under `key`.
    pub(crate) fn string(&self, key: &[u8]) -> Result<Option<&[u8]>, WrongType> {
        string_of(self.entry(key))
    }

    /// The collection of kind `K` under `key`.
    pub(crate) fn kind<K: Held>(&self, key: &[u8]) -> Result<Option<&K>, WrongType> {
        kind_of(self.entry(key))
    }
}

fn string_of(entry: Option<&Entry>) -> Result<Option<&[u8]>, WrongType> {
    match entry.map(Entry::value) {
        None => Ok(None),
        Some(Value::String(bytes)) => Ok(Some(bytes)),
        Some(Value::Collection(_)) => Err(WrongType),
    }
}

fn kind_of<K: Held>(entry: Option<&Entry>) -> Result<Option<&K>, WrongType> {
    entry.map_or(Ok(None), |entry| entry.as_kind().map(Some).ok_or(WrongType))
}
