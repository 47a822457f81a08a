//! The store: the doors through which a node uses it.
//! Owns: running a command of the table, transactions, watches, dumps, statistics.
//! Never: routes; a store does not know which slots its shard serves. Called by `node`.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

use keystead_resp::{Args, ReplyWriter};
use keystead_types::limits::DATABASES_MAX;
use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{ApplyContext, DatabaseId, Slot, UnixMillis};

use crate::chance;
use crate::command::{
    self, Command, Handler, Query, Reader, SessionCommand, Writer, database, gather,
    in_transaction, slot_keys,
};
use crate::digest::{self, Digest};
use crate::effect::{Effect, Outcome, Wanted};
use crate::entry::Value;
use crate::error::{CommandError, WrongType};
use crate::functions::Functions;
use crate::keyspace::Keyspace;
use crate::scan::{ScanCursor, ScanOptions};
use crate::snapshot::DumpStep;
use crate::watch::WatchId;

mod waiting;

pub use waiting::Waited;

/// What every replica of a store must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Secret seed of the hash tables, the same in the whole cluster: SCAN cursors survive a failover.
    pub hash_seed: u64,
    /// True if the store has all 16384 slots, since the cluster was founded with one shard: then SORT may look at any key.
    pub has_every_slot: bool,
}

/// The keys of one shard.
///
/// All methods are synchronous and bounded by the size of what they touch; none blocks or does I/O.
pub struct Store {
    pub(crate) keyspace: Keyspace,
    /// Chance for reads, which need not agree between replicas (RANDOMKEY, HRANDFIELD).
    read_chance: AtomicU64,
    /// Times that keys were removed to make room; no part of the state.
    pub(crate) evictions: u64,
}

/// Counts of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys, expired ones included until they are removed.
    pub keys: u64,
    /// Keys with a time to expire.
    pub keys_with_expiry: u64,
    /// Hashes in which at least one field expires.
    pub hashes_with_field_expiry: u64,
    /// Keys and fields removed because their time was up, since the process started or loaded.
    pub expired: u64,
    /// Bytes of keys and values, with what the allocator rounds them up by.
    pub entry_bytes: u64,
    /// Bytes of the tables over them.
    pub table_bytes: u64,
    /// Bytes of the index of expiry; approximate.
    pub index_bytes: u64,
    /// Bytes that a running dump holds back for its next step.
    pub dump_pending_bytes: u64,
    /// Watches registered.
    pub watches: u64,
    /// Clients that wait.
    pub waiters: u64,
    /// Changes of keys, one per key and command, since the process started or loaded.
    pub changes: u64,
    /// Keys removed to make room, since the process started or loaded.
    pub evicted: u64,
}

/// What a database of a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseStats {
    /// Which one.
    pub database: DatabaseId,
    /// Keys, expired ones included until they are removed.
    pub keys: u64,
    /// Keys with a time to expire.
    pub keys_with_expiry: u64,
}

/// A string in the store, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringRef<'a>(&'a [u8]);

impl Deref for StringRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(config: StoreConfig) -> Self {
        Self::from_keyspace(Keyspace::new(config))
    }

    pub(crate) const fn from_keyspace(keyspace: Keyspace) -> Self {
        Self { keyspace, read_chance: AtomicU64::new(0), evictions: 0 }
    }

    /// A number of a sequence that need not agree between replicas, still to be mixed.
    pub(crate) fn draw_any(&self) -> u64 {
        self.read_chance.fetch_add(chance::STEP, Ordering::Relaxed).wrapping_add(chance::STEP)
    }

    /// Says which slots the shard serves, by their numbers; all of them unless it says so. A script may touch their keys.
    pub fn serve(&mut self, slots: std::ops::Range<u16>) {
        self.keyspace.serve(slots);
    }

    /// Selects the database on which commands that are applied, transactions and watches work from now on. SELECT does the
    /// same. Which one is selected is no part of the state, so whoever applies says so before each run of commands.
    ///
    /// # Panics
    /// If there can be no such database: the number is below [`DATABASES_MAX`].
    pub fn select(&mut self, database: DatabaseId) {
        assert!(database.0 < DATABASES_MAX, "INV-K4: {database} of at most {DATABASES_MAX}");
        self.keyspace.select(database);
    }

    /// The selected database.
    #[must_use]
    pub const fn selected(&self) -> DatabaseId {
        self.keyspace.selected()
    }

    /// Runs any command on keys, reads included, in the selected database, and writes its reply.
    ///
    /// Deterministic: the same state, context and command give the same state and reply everywhere.
    /// A command that is not one on keys (PING, MULTI) gets the answer it has inside a transaction,
    /// or an error.
    pub fn apply(
        &mut self,
        ctx: &ApplyContext,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Outcome {
        let outcome = self.apply_one(ctx, args, reply);
        self.serve_waiters(ctx);
        outcome
    }

    /// As [`apply`](Self::apply) for one of several commands that are applied as one: who waits is not served yet.
    // One call less for each command: 30 of the 1,300 instructions of a SET (`cargo xtask bench instructions`).
    #[inline(always)]
    fn apply_one(
        &mut self,
        ctx: &ApplyContext,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Outcome {
        let before = self.keyspace.changes();
        let position = reply.position();
        let result =
            command::resolve(args).and_then(|row| run(&mut self.keyspace, ctx, row, args, reply));
        if let Err(error) = &result {
            reply.truncate(position);
            reply.error(error);
        }
        let changes = self.keyspace.changes() - before;
        Outcome { is_error: result.is_err(), is_aborted: false, changes }
    }

    /// Runs the commands of a MULTI as one, unless one of `watches` is dirty, and ends these watches.
    ///
    /// The reply is an array of the commands' replies, or the absent array if it was aborted. A
    /// command that fails leaves its error in the array and does not stop the others, as in Redis. What SELECT among
    /// them selected stays selected.
    pub fn apply_transaction(
        &mut self,
        ctx: &ApplyContext,
        commands: &[Args<'_>],
        watches: &[WatchId],
        reply: &mut ReplyWriter<'_>,
    ) -> Outcome {
        let is_aborted = watches.iter().any(|id| self.keyspace.is_watch_dirty(*id, ctx.now))
            && !is_made(Mistake::WatchIgnored);
        for id in watches {
            self.unwatch(*id);
        }
        if is_aborted {
            reply.null_array();
            return Outcome { is_aborted, ..Outcome::default() };
        }
        reply.array(commands.len());
        let mut outcome = Outcome::default();
        for args in commands {
            outcome.changes += self.apply_one(ctx, *args, reply).changes;
        }
        self.serve_waiters(ctx);
        outcome
    }

    /// Runs a command that only reads (a row with [`flags::READONLY`](command::flags::READONLY)) in a database as
    /// of `now`, and writes its reply; for any other command the reply is an error.
    pub fn read(
        &self,
        database: DatabaseId,
        now: UnixMillis,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) {
        match command::resolve(args) {
            Ok(row) => self.answer(now, &Query { database, row, args, key: None }, reply),
            Err(error) => reply.error(&error),
        }
    }

    /// As [`read`](Self::read) for whoever has looked the command up already.
    pub fn answer(&self, now: UnixMillis, query: &Query<'_>, reply: &mut ReplyWriter<'_>) {
        let position = reply.position();
        let reader =
            Reader::new(&self.keyspace, query.database, now, &self.read_chance).knowing(query.key);
        if let Err(error) = look(&reader, query.row, query.args, reply) {
            reply.truncate(position);
            reply.error(&error);
        }
    }

    /// The string under `key` of a database, whose slot the caller knows already; no parsing, no reply.
    ///
    /// # Errors
    /// [`WrongType`] if the key holds something else.
    pub fn get(
        &self,
        database: DatabaseId,
        now: UnixMillis,
        (slot, key): (Slot, &[u8]),
    ) -> Result<Option<StringRef<'_>>, WrongType> {
        let database = self.keyspace.database(database);
        let entry = database.visible(&self.keyspace.hasher, (slot, key), now);
        match entry.map(crate::entry::Entry::value) {
            None => Ok(None),
            Some(Value::String(bytes)) => Ok(Some(StringRef(bytes))),
            Some(_) => Err(WrongType),
        }
    }

    /// The earliest time at which a key, a field, an abandoned watch or waiter is to be removed by
    /// [`expire_due`](Self::expire_due).
    #[must_use]
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        let Keyspace { watches, waiters, .. } = &self.keyspace;
        let first = [self.keyspace.next_expiry(), watches.next_expiry(), waiters.next_expiry()];
        first.into_iter().flatten().min()
    }

    /// Removes what is due by `ctx.now`, the earliest first, at most `limit` keys, fields, watches and waiters;
    /// returns how many. What is due is invisible to clients already: this frees its memory.
    pub fn expire_due(&mut self, ctx: &ApplyContext, limit: usize) -> usize {
        let mut removed = self.keyspace.remove_due(ctx.now, limit);
        removed += self.keyspace.watches.remove_old(ctx.now, limit - removed);
        removed += self.keyspace.waiters.remove_old(ctx.now, limit - removed);
        self.serve_waiters(ctx);
        removed
    }

    /// Watches `keys` of the selected database under `id`, together with what `id` watches already.
    pub fn watch<'k>(
        &mut self,
        ctx: &ApplyContext,
        id: WatchId,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) {
        for key in keys {
            self.keyspace.watch(id, ctx.now, key);
        }
    }

    /// Ends a watch; nothing happens if there is none.
    pub fn unwatch(&mut self, id: WatchId) {
        self.keyspace.watches.remove(id);
    }

    /// Removes every key of every database: what FLUSHALL does to this store.
    pub fn flush(&mut self) {
        self.keyspace.clear_all();
    }

    /// Says whether scripts that are applied from now on may take memory; until it says so, they may. No part of the state.
    pub const fn deny_memory(&mut self, is_full: bool) {
        self.keyspace.is_full = is_full;
    }

    /// Changes of the libraries of functions that led to those that are here.
    #[must_use]
    pub const fn libraries_version(&self) -> u64 {
        self.keyspace.functions.version()
    }

    /// All libraries of functions with their version, for [`adopt_libraries`](Self::adopt_libraries) of other stores.
    #[must_use]
    pub fn libraries(&self) -> Vec<u8> {
        self.keyspace.functions.to_bytes()
    }

    /// Takes the libraries of another store in place of its own, if they are of a later version; else, and if these are no
    /// libraries, nothing happens.
    pub fn adopt_libraries(&mut self, bytes: &[u8]) {
        if let Some(libraries) = Functions::from_bytes(bytes)
            && libraries.version() > self.libraries_version()
        {
            self.keyspace.functions = libraries;
        }
    }

    /// Says which effects are wanted from now on; none were before.
    pub const fn want(&mut self, wanted: Wanted) {
        self.keyspace.effects.want(wanted);
    }

    /// The wanted effects since the last call, in the order in which they came about. Not part of the state.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        self.keyspace.effects.take()
    }

    /// How many of them there are by now: what comes next is behind so many.
    #[must_use]
    pub const fn effect_count(&self) -> usize {
        self.keyspace.effects.len()
    }

    /// Begins a dump of the state as it is now; a dump that was running is given up.
    pub fn begin_dump(&mut self) {
        self.keyspace.begin_dump();
    }

    /// Appends about `bytes_target` bytes of the running dump to `out` (whole slots, so it may be more);
    /// [`DumpStep::Done`] if that was all, or if no dump is running.
    pub fn dump_step(&mut self, out: &mut Vec<u8>, bytes_target: usize) -> DumpStep {
        self.keyspace.dump_step(out, bytes_target.max(1))
    }

    /// Gives up the running dump and frees what it holds back.
    pub fn abort_dump(&mut self) {
        self.keyspace.abort_dump();
    }

    /// One number for the whole state; O(keys). See [`Digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest::of_keyspace(&self.keyspace)
    }

    /// The store's counts; O(slots).
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = self.keyspace.counts();
        Stats {
            keys: counts.keys,
            keys_with_expiry: counts.timed_keys,
            hashes_with_field_expiry: counts.timed_hashes,
            expired: self.keyspace.expired(),
            entry_bytes: counts.entry_bytes,
            table_bytes: self.keyspace.table_bytes(),
            index_bytes: self.keyspace.index_bytes(),
            dump_pending_bytes: self.keyspace.dump_pending_bytes(),
            watches: self.keyspace.watches.len() as u64,
            waiters: self.keyspace.waiters.len() as u64,
            changes: self.keyspace.changes(),
            evicted: self.keyspace.evicted,
        }
    }

    /// The databases that hold keys, in order.
    pub fn database_stats(&self) -> impl Iterator<Item = DatabaseStats> + '_ {
        let filled = self.keyspace.databases().filter(|(_, database)| database.counts.keys > 0);
        filled.map(|(id, database)| DatabaseStats {
            database: id,
            keys: database.counts.keys,
            keys_with_expiry: database.counts.timed_keys,
        })
    }

    /// Number of keys in all databases, expired ones included until they are removed; O(databases).
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.keyspace.counts().keys
    }

    /// Visits keys of a database from `cursor` on: one step of SCAN over this store.
    ///
    /// Returns where the next step begins, or `None` after the database's last key. A key that is there
    /// from the first step to the last is visited at least once, whatever is written in between.
    pub fn scan(
        &self,
        (database, cursor): (DatabaseId, ScanCursor),
        now: UnixMillis,
        options: &ScanOptions<'_>,
        visit: impl FnMut(&[u8]),
    ) -> Option<ScanCursor> {
        let keys = (self.keyspace.database(database), &self.keyspace.hasher);
        crate::scan::scan_keys(keys, now, cursor, options, visit)
    }

    /// Calls `visit` for every visible key of a database that matches the glob `pattern`: KEYS over this store.
    pub fn keys(
        &self,
        database: DatabaseId,
        now: UnixMillis,
        pattern: &[u8],
        visit: impl FnMut(&[u8]),
    ) {
        crate::scan::matching_keys(self.keyspace.database(database), now, pattern, visit);
    }
}

/// Runs a command for an entry of the log, or for a script within one, in the selected database.
#[inline]
pub(crate) fn run(
    keyspace: &mut Keyspace,
    ctx: &ApplyContext,
    row: &'static Command,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match row.handler {
        Handler::Write(run) => run(&mut Writer { keyspace, ctx }, args, reply),
        Handler::Wait(kind) => kind.run(&mut Writer { keyspace, ctx }, args, reply),
        Handler::Gather(kind) => gather::apply(&mut Writer { keyspace, ctx }, kind, args, reply),
        Handler::Session(SessionCommand::Select) => {
            keyspace.select(database::selected(&args[1])?);
            reply.ok();
            Ok(())
        }
        Handler::Session(kind @ (SessionCommand::Publish | SessionCommand::SPublish)) => {
            let is_sharded = kind == SessionCommand::SPublish;
            keyspace.effects.publish(&args[1], &args[2], is_sharded);
            // Who listens is no part of the state, so no replica knows a number that all would answer.
            reply.integer(0);
            Ok(())
        }
        Handler::Session(kind) if !kind.looks_into_slot() => {
            in_transaction::run(ctx, kind, args, reply)
        }
        _ => {
            let chance = AtomicU64::new(ctx.seed);
            let selected = keyspace.selected();
            look(&Reader::new(keyspace, selected, ctx.now, &chance), row, args, reply)
        }
    }
}

/// Runs a command that only reads.
#[inline]
pub(crate) fn look(
    reader: &Reader<'_>,
    row: &'static Command,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Result<(), CommandError> {
    match row.handler {
        Handler::Read(run) => run(reader, args, reply),
        Handler::Wait(kind) => kind.read(reader, args, reply),
        Handler::Gather(kind) => gather::read(reader, kind, args, reply),
        Handler::Session(kind) => slot_keys::read(reader, kind, args, reply),
        Handler::Refused(why) => Err(CommandError::Refused { command: row.name, why }),
        Handler::Write(_) => Err(CommandError::NotInTransaction),
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("keys", &self.key_count()).finish_non_exhaustive()
    }
}
