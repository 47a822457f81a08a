//! A shard's state on this node, and the machine that applies its log.
//!
//! Owns: the store under its lock, decoding runs of commands. Never: decides who leads.
//! INV-N4: a lease is honoured only for the state that it was given for: it ends before another takes its place.
//! Read by gateway threads under the shared lock; written by the worker's thread alone.

mod room;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use keystead_replication::{DumpStep, GroupCell, Machine, Part, Replies, Role};
use keystead_resp::{Args, Protocol, ReplyWriter, RunDecoder, Span, encode};
use keystead_store::command::Query;
use keystead_store::{
    CommandError, DatabaseStats, Effect, Fate, Loader, Store, StoreConfig, Waited, WaiterId,
    Wanted, WatchId,
};
use keystead_types::{ApplyContext, DatabaseId, Monotonic, ShardId, UnixMillis};
use parking_lot::RwLock;

use crate::core::Core;
use crate::events;
use crate::eviction::Eviction;
use crate::internal;
use crate::pubsub::Bus;
use crate::served;
use crate::tracking::{Origin, Tracking};

use room::Room;

/// A shard on this node, for whoever reads it.
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// What its group shows of itself.
    pub cell: Arc<GroupCell>,
    store: RwLock<Store>,
    config: StoreConfig,
    commands_applied: AtomicU64,
    /// Numbers of its slots; all of them where nobody says so.
    slots: OnceLock<Range<u16>>,
    /// The node; none in tests of the machine alone.
    core: OnceLock<Weak<Core>>,
    /// Where events are told.
    bus: OnceLock<Arc<Bus>>,
}

impl Shard {
    /// A shard without keys.
    #[must_use]
    pub fn new(id: ShardId, config: StoreConfig) -> Arc<Self> {
        let store = RwLock::new(Store::new(config));
        Arc::new(Self {
            id,
            cell: Arc::default(),
            store,
            config,
            commands_applied: AtomicU64::new(0),
            slots: OnceLock::new(),
            core: OnceLock::new(),
            bus: OnceLock::new(),
        })
    }

    /// Says which slots the shard serves; once, before its state is made.
    pub(crate) fn set_slots(&self, slots: Range<u16>) {
        let _is_first = self.slots.set(slots).is_ok();
    }

    /// Says what node this is on, where events are told; once.
    pub(crate) fn set_core(&self, core: &Arc<Core>) {
        let _is_first = self.core.set(Arc::downgrade(core)).is_ok();
        let _is_first = self.bus.set(Arc::clone(&core.bus)).is_ok();
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.core.get().and_then(Weak::upgrade)
    }

    /// Where events of what is applied now are told: nowhere on a replica that follows.
    fn told_bus(&self) -> Option<&Arc<Bus>> {
        self.bus.get().filter(|_| self.cell.role() == Role::Leader)
    }

    /// Who is told of changed keys, on every replica.
    fn tracking(&self) -> Option<&Tracking> {
        self.bus.get().map(|bus| bus.tracking())
    }

    /// How much memory keys may take.
    fn eviction(&self) -> Option<&Eviction> {
        self.bus.get().map(|bus| bus.eviction())
    }

    /// Bytes of keys and values here, whoever leads; O(1).
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.store.read().held_bytes()
    }

    /// The libraries of functions here and their version, if it is another than `known`; whoever leads.
    pub(crate) fn libraries_behind(&self, known: u64) -> Option<(u64, Vec<u8>)> {
        let store = self.store.read();
        let version = store.libraries_version();
        (version != known).then(|| (version, store.libraries()))
    }

    /// The state was replaced by one that other entries led to, which were not told.
    fn drop_copies(&self) {
        if let Some(tracking) = self.tracking() {
            tracking.clear();
        }
    }

    /// Answers a command that only reads, if this node may at `now`; false if it may not.
    pub fn try_read(
        &self,
        now: Monotonic,
        unix: UnixMillis,
        query: &Query<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> bool {
        // ORDER: the lease is looked at under the lock. Whoever puts another state in place ends the lease
        // before it takes the lock, so a lease that is seen here stands for the state that is read here (INV-N4).
        let store = self.store.read();
        if !self.cell.may_read(now) {
            return false;
        }
        store.answer(self.cell.read_time(unix), query, reply);
        true
    }

    /// Looks at the store, if this node may at `now`.
    pub fn with_store<T>(
        &self,
        now: Monotonic,
        unix: UnixMillis,
        look: impl FnOnce(&Store, UnixMillis) -> T,
    ) -> Option<T> {
        // ORDER: as in `try_read`.
        let store = self.store.read();
        self.cell.may_read(now).then(|| look(&store, self.cell.read_time(unix)))
    }

    /// The store's counts, whether or not this node leads.
    #[must_use]
    pub fn stats(&self) -> keystead_store::Stats {
        self.store.read().stats()
    }

    /// What the databases hold, whether or not this node leads.
    #[must_use]
    pub fn database_stats(&self) -> Vec<DatabaseStats> {
        self.store.read().database_stats().collect()
    }

    /// Commands applied through the log since the process began.
    #[must_use]
    pub fn commands_applied(&self) -> u64 {
        self.commands_applied.load(Ordering::Relaxed)
    }

    /// Begins loading a state from a snapshot.
    #[must_use]
    pub fn loader(&self) -> Loader {
        Loader::new(self.config)
    }
}

/// Ends a shard's lease if its thread panics while this is held.
struct CloseOnPanic<'a>(&'a GroupCell);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

/// The machine of one shard.
pub(crate) struct ShardMachine {
    shard: Arc<Shard>,
    spans: Vec<Span>,
    room: Room,
}

impl ShardMachine {
    /// A machine over `shard`, with `store` as its state.
    #[must_use]
    pub(crate) fn new(shard: Arc<Shard>, mut store: Store) -> Self {
        if let Some(slots) = shard.slots.get() {
            store.serve(slots.clone());
        }
        // INV-N4: the lease of the state that goes ends first.
        shard.cell.close();
        *shard.store.write() = store;
        shard.drop_copies();
        Self { shard, spans: Vec::new(), room: Room::default() }
    }

    /// A machine over `shard` without keys.
    #[must_use]
    pub(crate) fn empty(shard: Arc<Shard>) -> Self {
        let store = Store::new(shard.config);
        Self::new(shard, store)
    }
}

impl Machine for ShardMachine {
    type Loaded = Store;

    fn apply(
        &mut self,
        context: &ApplyContext,
        commands: &[u8],
        parts: &[Part],
        replies: &mut Replies,
    ) {
        let mut store = self.shard.store.write();
        // Dropped before the lock is let go of: nobody reads what a panic left half done.
        let closing = CloseOnPanic(&self.shard.cell);
        let bus = self.shard.told_bus();
        let classes = bus.map_or(0, |bus| bus.event_flags().classes());
        let tracking = self.shard.tracking().filter(|tracking| tracking.is_active());
        let (has_messages, has_touches) = (bus.is_some(), tracking.is_some());
        let has_served = bus.is_some();
        store.want(Wanted { classes, has_messages, has_touches, has_served });
        let evictions = self.room.begin(&mut store, self.shard.eviction(), context.now);
        let mut origins = Vec::new();
        // Which database is selected is no part of the state: what a snapshot began in, or a panic left, counts for nothing.
        store.select(DatabaseId::FIRST);
        store.deny_memory(false);
        let mut count = 0;
        if parts.is_empty() {
            let mut nobody = ReplyWriter::discard();
            count += apply_run(&mut store, context, commands, &mut self.spans, &mut nobody);
        }
        let mut rest = commands;
        for part in parts {
            let (own, behind) = rest.split_at(part.bytes as usize);
            rest = behind;
            let mut reply = ReplyWriter::new(&mut replies.bytes, protocol_of(part.form));
            count += apply_run(&mut store, context, own, &mut self.spans, &mut reply);
            replies.ends.push(replies.bytes.len());
            if has_touches {
                origins.push((store.effect_count(), origin_of(part.form)));
            }
        }
        self.shard.commands_applied.fetch_add(count, Ordering::Relaxed);
        self.room.end(&store, self.shard.eviction(), evictions);
        let effects = store.take_effects();
        if effects.is_empty() {
            return;
        }
        drop(closing);
        // Readers need not wait for what is told to others.
        drop(store);
        if let Some(bus) = bus {
            events::tell(bus, &effects);
            let has_served = effects.iter().any(|effect| matches!(effect, Effect::Served { .. }));
            if let Some(core) = self.shard.core().filter(|_| has_served) {
                served::tell(&core, &effects);
            }
        }
        if let Some(tracking) = tracking {
            tracking.tell(self.shard.id, &effects, &origins);
        }
    }

    fn read(&mut self, now: UnixMillis, commands: &[u8], parts: &[Part], replies: &mut Replies) {
        let store = self.shard.store.read();
        let mut rest = commands;
        for part in parts {
            let (own, behind) = rest.split_at(part.bytes as usize);
            rest = behind;
            let mut reply = ReplyWriter::new(&mut replies.bytes, protocol_of(part.form));
            let mut run = RunDecoder::new(own);
            let mut database = DatabaseId::FIRST;
            while let Some(args) = next_command(&mut run, &mut self.spans) {
                match internal::selected(args) {
                    Some(selected) => database = selected,
                    None => store.read(database, now, args, &mut reply),
                }
            }
            replies.ends.push(replies.bytes.len());
        }
    }

    fn begin_dump(&mut self) {
        self.shard.store.write().begin_dump();
    }

    fn dump_step(&mut self, out: &mut Vec<u8>, bytes_target: usize) -> DumpStep {
        match self.shard.store.write().dump_step(out, bytes_target) {
            keystead_store::DumpStep::More => DumpStep::More,
            keystead_store::DumpStep::Done => DumpStep::Done,
        }
    }

    fn abort_dump(&mut self) {
        self.shard.store.write().abort_dump();
    }

    fn install(&mut self, state: Store) {
        *self.shard.store.write() = state;
        self.shard.drop_copies();
    }

    fn digest(&self) -> u128 {
        self.shard.store.read().digest().0
    }

    fn admit(&mut self, commands: &mut Vec<u8>, parts: &mut [Part]) {
        if let Some(eviction) = self.shard.eviction()
            && self.room.is_lacking(eviction)
        {
            room::refuse(commands, parts, &mut self.spans);
        }
    }

    fn make_room(&mut self, now: UnixMillis, commands: &mut Vec<u8>) {
        if let Some(eviction) = self.shard.eviction() {
            self.room.make(&self.shard.store, eviction, now, commands);
        }
    }

    fn upkeep(&mut self, now: UnixMillis, commands: &mut Vec<u8>) {
        self.make_room(now, commands);
        if let Some(eviction) = self.shard.eviction() {
            self.room.age(&self.shard.store, eviction, now);
        }
        let store = self.shard.store.read();
        if store.next_expiry().is_some_and(|due| due <= now) {
            let limit = internal::EXPIRE_KEYS_MAX.to_string();
            encode::command(commands, [internal::EXPIRE, limit.as_bytes()]);
        }
        let mut homes = store.waiting_homes().peekable();
        if homes.peek().is_some()
            && let Some(core) = self.shard.core()
        {
            for (home, life) in served::gone(&core, homes) {
                let [home, life] = [home, life].map(|number| number.to_string());
                encode::command(commands, [internal::SUSPEND, home.as_bytes(), life.as_bytes()]);
            }
        }
    }
}

/// A part that the door asked on its own account: nobody but the door may be told. The upper one of the protocol's bits.
pub(crate) const FORM_OWN: u32 = 0x80;

/// How replies are to be written, and in the bits above who asks, as it travels through the log's waiters.
pub(crate) const fn form_of(protocol: Protocol, origin: Origin) -> u32 {
    let protocol = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    origin.bits() << PROTOCOL_BITS | protocol
}

const PROTOCOL_BITS: u32 = 8;
const _: () = assert!(PROTOCOL_BITS + Origin::BITS == u32::BITS, "both fit exactly");

pub(crate) const fn protocol_of(form: u32) -> Protocol {
    if form & (FORM_OWN - 1) == 3 { Protocol::Resp3 } else { Protocol::Resp2 }
}

const fn origin_of(form: u32) -> Origin {
    Origin::from_bits(form >> PROTOCOL_BITS)
}

/// The next command of a run that was checked before it was proposed.
fn next_command<'r: 's, 's>(
    run: &mut RunDecoder<'r>,
    spans: &'s mut Vec<Span>,
) -> Option<Args<'s>> {
    run.next(spans)
        .unwrap_or_else(|error| panic!("INV-N3: a run in the log is not canonical: {error}"))
}

/// Applies the commands of a run one after the other; returns how many (a transaction counts as one).
fn apply_run(
    store: &mut Store,
    context: &ApplyContext,
    commands: &[u8],
    spans: &mut Vec<Span>,
    reply: &mut ReplyWriter<'_>,
) -> u64 {
    let mut run = RunDecoder::new(commands);
    let mut count = 0;
    while let Some(args) = next_command(&mut run, spans) {
        let name = &args[0];
        if name == internal::MULTI {
            // What SELECT selects among its commands is for the connection to remember, not for who comes next.
            let before = store.selected();
            apply_transaction(store, context, commands, &mut run, reply);
            store.select(before);
        } else if name.starts_with(internal::PREFIX) {
            if let Some(database) = internal::selected(args) {
                store.select(database);
                continue;
            }
            if name == internal::FULL {
                store.deny_memory(args.get(1) == Some(b"1"));
                continue;
            }
            apply_internal(store, context, args, reply);
        } else {
            // Effects (blocked clients, publications) come with the commands that have them.
            let _outcome = store.apply(context, args, reply);
        }
        count += 1;
    }
    count
}

/// Applies a transaction whose MULTI was just read; reads on to its EXEC.
fn apply_transaction(
    store: &mut Store,
    context: &ApplyContext,
    commands: &[u8],
    run: &mut RunDecoder<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let mut queued: Vec<(usize, usize, Vec<Span>)> = Vec::new();
    loop {
        let (start, mut spans) = (run.offset(), Vec::new());
        let mut ahead = RunDecoder::new(&commands[start..]);
        let args =
            next_command(&mut ahead, &mut spans).expect("INV-N3: a MULTI in the log has its EXEC");
        if &args[0] == internal::EXEC {
            let watches: Vec<WatchId> = args.from(1).iter().filter_map(watch_id).collect();
            let held: Vec<Args<'_>> = queued
                .iter()
                .map(|(from, to, spans)| Args::new(&commands[*from..*to], spans))
                .collect();
            let _outcome = store.apply_transaction(context, &held, &watches, reply);
            skip_command(run);
            return;
        }
        queued.push((start, start + ahead.offset(), spans));
        skip_command(run);
    }
}

fn skip_command(run: &mut RunDecoder<'_>) {
    let mut spans = Vec::new();
    assert!(next_command(run, &mut spans).is_some(), "INV-N3: the command was just looked at");
}

fn apply_internal(
    store: &mut Store,
    context: &ApplyContext,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let first = args.get(1).unwrap_or_default();
    match &args[0] {
        internal::AWAIT | internal::UNAWAIT | internal::ALIVE => {
            return apply_to_waiters(store, context, args, reply);
        }
        internal::SUSPEND => {
            if let (Some(home), Some(life)) = (number(first), args.get(2).and_then(number)) {
                store.suspend(context, home, life);
            }
        }
        internal::WATCH => {
            if let Some(id) = watch_id(first) {
                store.watch(context, id, args.from(2).iter());
            }
        }
        internal::UNWATCH => {
            args.from(1).iter().filter_map(watch_id).for_each(|id| store.unwatch(id))
        }
        internal::EVICT => {
            if let Some(database) = internal::database(first) {
                store.evict(context, database, args.from(2).iter());
            }
        }
        internal::LIBRARIES if args.len() > 1 => store.adopt_libraries(first),
        internal::LIBRARIES => return reply.bulk(&store.libraries()),
        internal::OUT_OF_MEMORY if args.len() > 1 => {
            args.from(2).iter().filter_map(watch_id).for_each(|id| store.unwatch(id));
            return reply.error(CommandError::TransactionOutOfMemory);
        }
        internal::OUT_OF_MEMORY => return reply.error(CommandError::OutOfMemory),
        internal::EXPIRE => {
            let limit = number(first).and_then(|limit| usize::try_from(limit).ok());
            store.expire_due(context, limit.unwrap_or(0).min(internal::EXPIRE_KEYS_MAX));
        }
        _ => {}
    }
    reply.ok();
}

/// Applies what concerns waiters and has an answer of its own.
fn apply_to_waiters(
    store: &mut Store,
    context: &ApplyContext,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) {
    let read = |at: usize| args.get(at).and_then(number);
    let id_at = |at: usize| Some(WaiterId { home: read(1)?, life: read(2)?, number: read(at)? });
    match &args[0] {
        internal::AWAIT => {
            let protocol = if read(4) == Some(3) { Protocol::Resp3 } else { Protocol::Resp2 };
            let command = args.from(internal::AWAIT_WORDS);
            match id_at(3) {
                Some(id) if !command.is_empty() => {
                    if store.wait(context, (id, protocol), command, reply) == Waited::Waits {
                        reply.raw(internal::WAITS);
                    }
                }
                _ => reply.integer(0),
            }
        }
        internal::UNAWAIT => {
            let fate = id_at(3).map_or(Fate::Unknown, |id| store.withdraw(id));
            put_fate(&fate, reply);
        }
        _ => {
            reply.array(args.len().saturating_sub(3));
            for at in 3..args.len() {
                let fate = id_at(at).map_or(Fate::Unknown, |id| store.confirm(context, id));
                put_fate(&fate, reply);
            }
        }
    }
}

fn put_fate(fate: &Fate, reply: &mut ReplyWriter<'_>) {
    match fate {
        Fate::Waits => reply.integer(1),
        Fate::Served(answer) => reply.bulk(answer),
        Fate::Unknown => reply.integer(0),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn watch_id(digits: &[u8]) -> Option<WatchId> {
    number(digits).map(WatchId)
}

#[cfg(test)]
mod tests {
    use keystead_types::LogIndex;

    use super::*;

    fn run(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            encode::command(&mut bytes, words);
        }
        bytes
    }

    fn machine() -> ShardMachine {
        let config = StoreConfig { hash_seed: 3, has_every_slot: false };
        ShardMachine::empty(Shard::new(ShardId(1), config))
    }

    /// INV-R1, for entries in which several connections stand, each with a database of its own.
    #[test]
    fn runs_of_several_databases_share_an_entry_and_leave_the_next_one_alone() {
        let (mut leader, mut follower) = (machine(), machine());
        let runs = [
            (0, run(&["SET k zero"])),
            (3, run(&["SET k three", "GET k"])),
            (3, run(&["MULTI", "GET k", "SELECT 4", "SET k four", "EXEC", "GET k"])),
            (0, run(&["GET k"])),
            // What only a peer gone wrong would send: nothing leads back.
            (0, run(&["KEYSTEAD.SELECT 9", "SELECT 8", "SET k lost"])),
            (0, run(&["MULTI", "SELECT 7", "EXEC", "SET k late"])),
        ];
        let (mut entry, mut parts) = (Vec::new(), Vec::new());
        for (database, commands) in &runs {
            let start = entry.len();
            internal::write_run(&mut entry, DatabaseId(*database), commands);
            let bytes = u32::try_from(entry.len() - start).unwrap();
            parts.push(Part { ticket: 0, bytes, form: 2 });
        }
        let context = ApplyContext { index: LogIndex(1), now: UnixMillis(1), seed: 1 };
        let mut replies = Replies::default();
        leader.apply(&context, &entry, &parts, &mut replies);
        follower.apply(&context, &entry, &[], &mut Replies::default());
        assert_eq!(leader.digest(), follower.digest(), "INV-R1: leader and follower differ");

        let mut start = 0;
        let replies: Vec<String> = replies
            .ends
            .iter()
            .map(|end| {
                let own = replies.bytes[std::mem::replace(&mut start, *end)..*end].to_vec();
                String::from_utf8(own).unwrap()
            })
            .collect();
        let three = "$5\r\nthree\r\n";
        assert_eq!(replies[1], format!("+OK\r\n{three}"));
        assert_eq!(replies[2], format!("*3\r\n{three}+OK\r\n+OK\r\n{three}"));
        assert_eq!(replies[3], "$4\r\nzero\r\n");

        let next = run(&["GET k"]);
        let parts = [Part { ticket: 0, bytes: u32::try_from(next.len()).unwrap(), form: 2 }];
        let mut replies = Replies::default();
        leader.apply(&context, &next, &parts, &mut replies);
        assert_eq!(replies.bytes, b"$4\r\nzero\r\n", "an entry begins in the first database");
        let mut reads = Vec::new();
        internal::write_run(&mut reads, DatabaseId(3), &next);
        let parts = [Part { ticket: 0, bytes: u32::try_from(reads.len()).unwrap(), form: 2 }];
        let mut replies = Replies::default();
        leader.read(UnixMillis(1), &reads, &parts, &mut replies);
        assert_eq!(replies.bytes, three.as_bytes());
    }
}
