//! A node without replication, for tests and measurements of the gateway: shards are plain stores.
//! Owns: the stores, and when and how outcomes come back. Never: a log, a peer, an election.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keystead_gateway::Wake;
use keystead_node::pubsub::Bus;
use keystead_node::tracking::Origin;
use keystead_node::{
    Access, ClusterView, Door, NodeView, Outcome, Refusal, Run, ShardView, Standing, Status,
    Ticket, UnknownReason, internal,
};
use keystead_resp::{Args, Protocol, ReplyWriter, RunDecoder, Span};
use keystead_store::command::Query;
use keystead_store::{
    DatabaseStats, Effect, Fate, Store, StoreConfig, Waited, WaiterId, Wanted, WatchId,
};
use keystead_types::time::SystemClock;
use keystead_types::{
    ApplyContext, Clock, DatabaseId, LogIndex, Monotonic, NodeId, SLOT_COUNT, ShardId, Slot,
};
use parking_lot::{Mutex, RwLock};

/// What goes wrong with a run, if anything.
pub(crate) type Judge = Arc<dyn Fn(ShardId, &[u8]) -> Verdict + Send + Sync>;

/// What becomes of a run.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It is executed.
    Execute,
    /// It is refused.
    Refuse(Refusal),
    /// It is executed, but nobody learns of it.
    Lose(UnknownReason),
}

/// The stores of all shards, and the rules of the game.
pub(crate) struct LocalNode {
    shards: Arc<[ShardId]>,
    stores: Vec<RwLock<Store>>,
    /// Where changed keys are told.
    bus: Arc<Bus>,
    /// How this node hears of changes: `Leads` unless a test says otherwise.
    pub(crate) standing: Mutex<Standing>,
    /// The gateway's, too.
    pub(crate) clock: Arc<SystemClock>,
    index: AtomicU64,
    /// Reads go through the window like writes while this is set.
    pub(crate) refuses_reads: AtomicBool,
    /// Outcomes are kept back while this is set.
    pub(crate) holds_outcomes: AtomicBool,
    /// Seed of the order in which outcomes come back; 0: in the order of submission.
    pub(crate) shuffle: AtomicU64,
    /// Runs submitted so far.
    pub(crate) runs: AtomicU64,
    /// Calls of flush with something to do.
    pub(crate) flushes: AtomicU64,
    judge: Mutex<Judge>,
    wakes: Mutex<Vec<Wake>>,
    /// What clients that waited were served, by door.
    served: Mutex<Vec<(u64, Ticket, Vec<u8>)>>,
}

impl LocalNode {
    /// A node with that many shards.
    pub(crate) fn new(shards: u32) -> Arc<Self> {
        Self::with_bus(shards, Arc::default())
    }

    /// The same, telling changed keys on this bus.
    pub(crate) fn with_bus(shards: u32, bus: Arc<Bus>) -> Arc<Self> {
        let ids: Vec<ShardId> = (1..=shards).map(ShardId).collect();
        let store = |_| {
            let config = StoreConfig { hash_seed: 7, has_every_slot: shards == 1 };
            let mut store = Store::new(config);
            store.want(Wanted { has_served: true, ..Wanted::default() });
            RwLock::new(store)
        };
        Arc::new(Self {
            stores: ids.iter().map(store).collect(),
            shards: ids.into(),
            bus,
            standing: Mutex::new(Standing::Leads),
            clock: Arc::new(SystemClock::new()),
            index: AtomicU64::new(0),
            refuses_reads: AtomicBool::new(false),
            holds_outcomes: AtomicBool::new(false),
            shuffle: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            judge: Mutex::new(Arc::new(|_, _| Verdict::Execute)),
            wakes: Mutex::default(),
            served: Mutex::default(),
        })
    }

    /// A door for one io thread.
    pub(crate) fn door(self: &Arc<Self>, wake: Wake) -> LocalDoor {
        let mut wakes = self.wakes.lock();
        wakes.push(wake.clone());
        LocalDoor {
            node: Arc::clone(self),
            door: wakes.len() as u64,
            waits: BTreeMap::new(),
            wake,
            submitted: Vec::new(),
            ended: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Lets `judge` decide what becomes of runs from now on.
    pub(crate) fn set_judge(
        &self,
        judge: impl Fn(ShardId, &[u8]) -> Verdict + Send + Sync + 'static,
    ) {
        *self.judge.lock() = Arc::new(judge);
    }

    /// Lets outcomes come back again.
    pub(crate) fn release(&self) {
        self.holds_outcomes.store(false, Ordering::SeqCst);
        self.wakes.lock().iter().for_each(Wake::wake);
    }

    fn database_stats(&self) -> BTreeMap<DatabaseId, DatabaseStats> {
        let mut sum = BTreeMap::<_, DatabaseStats>::new();
        for store in &self.stores {
            for stats in store.read().database_stats() {
                let all = sum.entry(stats.database).or_default();
                all.database = stats.database;
                all.keys += stats.keys;
                all.keys_with_expiry += stats.keys_with_expiry;
            }
        }
        sum
    }

    fn store(&self, shard: ShardId) -> &RwLock<Store> {
        &self.stores[shard.0 as usize - 1]
    }

    /// Hands what was served to the doors.
    fn hand_out(&self, effects: &[Effect]) {
        for effect in effects {
            let Effect::Served { id, reply } = effect else { continue };
            self.served.lock().push((id.life, Ticket(id.number), reply.to_vec()));
            let door = usize::try_from(id.life).expect("a door's number") - 1;
            self.wakes.lock()[door].wake();
        }
    }

    /// The clients that wait in any shard.
    pub(crate) fn waiters(&self) -> u64 {
        self.stores.iter().map(|store| store.read().stats().waiters).sum()
    }

    fn first_slot(&self, shard: usize) -> u16 {
        let slot = (shard * usize::from(SLOT_COUNT)).div_ceil(self.shards.len());
        u16::try_from(slot).expect("a shard begins at one of 16384 slots")
    }

    /// Executes a run and tells of what it changed, as a shard's machine does.
    fn execute_run(&self, run: &Submitted, reply: &mut ReplyWriter<'_>) {
        let has_touches = self.bus.tracking().is_active();
        let wanted = Wanted { has_touches, has_served: true, ..Wanted::default() };
        self.store(run.shard).write().want(wanted);
        self.execute(run, reply);
        let effects = self.store(run.shard).write().take_effects();
        self.hand_out(&effects);
        self.bus.tracking().tell(run.shard, &effects, &[(effects.len(), run.origin)]);
    }

    fn execute(&self, run: &Submitted, reply: &mut ReplyWriter<'_>) {
        let commands = run.commands.as_slice();
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        let ctx = ApplyContext { index: LogIndex(index), now: self.clock.unix_now(), seed: index };
        let store = &mut *self.store(run.shard).write();
        store.select(run.database);
        let mut decoder = RunDecoder::new(commands);
        let mut spans = Vec::new();
        if !commands.starts_with(b"*1\r\n$5\r\nMULTI\r\n") {
            while let Some(args) = decoder.next(&mut spans).expect("a run is canonical") {
                Self::execute_one(store, &ctx, args, reply);
            }
            return;
        }
        let mut parts: Vec<(std::ops::Range<usize>, Vec<Span>)> = Vec::new();
        loop {
            let start = decoder.offset();
            let mut spans = Vec::new();
            if decoder.next(&mut spans).expect("a run is canonical").is_none() {
                break;
            }
            parts.push((start..decoder.offset(), spans));
        }
        let all: Vec<Args<'_>> =
            parts.iter().map(|(range, spans)| Args::new(&commands[range.clone()], spans)).collect();
        let (exec, queued) = all[1..].split_last().expect("EXEC ends a transaction");
        let watches: Vec<WatchId> = exec.from(1).iter().map(watch_id).collect();
        let _outcome = store.apply_transaction(&ctx, queued, &watches, reply);
    }

    /// Runs a command that may wait; true if its client waits now.
    fn wait(&self, id: WaiterId, run: &Submitted, reply: &mut Vec<u8>) -> bool {
        let index = self.index.fetch_add(1, Ordering::Relaxed) + 1;
        let ctx = ApplyContext { index: LogIndex(index), now: self.clock.unix_now(), seed: index };
        let store = &mut *self.store(run.shard).write();
        let (mut decoder, mut spans) = (RunDecoder::new(&run.commands), Vec::new());
        let args = decoder.next(&mut spans).expect("a run is canonical").expect("one command");
        let writer = &mut ReplyWriter::new(reply, run.protocol);
        let waited = store.wait(&ctx, (id, run.protocol), args, writer);
        self.hand_out(&store.take_effects());
        waited == Waited::Waits
    }

    fn execute_one(
        store: &mut Store,
        ctx: &ApplyContext,
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) {
        match &args[0] {
            name if name == internal::WATCH => {
                store.watch(ctx, watch_id(&args[1]), args.from(2).iter());
                reply.ok();
            }
            name if name == internal::UNWATCH => {
                store.unwatch(watch_id(&args[1]));
                reply.ok();
            }
            _ => {
                let _outcome = store.apply(ctx, args, reply);
            }
        }
    }
}

fn watch_id(text: &[u8]) -> WatchId {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    WatchId(number.expect("the gateway numbers watches in decimal digits"))
}

/// One thread's way into a [`LocalNode`].
pub(crate) struct LocalDoor {
    node: Arc<LocalNode>,
    /// Its number, from 1.
    door: u64,
    /// The shards of those who wait.
    waits: BTreeMap<Ticket, ShardId>,
    wake: Wake,
    submitted: Vec<Submitted>,
    ended: VecDeque<(Ticket, Ended)>,
    spare: Vec<Vec<u8>>,
}

struct Submitted {
    ticket: Ticket,
    shard: ShardId,
    database: DatabaseId,
    protocol: Protocol,
    access: Access,
    origin: Origin,
    commands: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Wait,
    Withdrawal,
}

enum Ended {
    Done(Vec<u8>),
    Refused(Refusal),
    Unknown(UnknownReason),
}

impl Door for LocalDoor {
    fn shard_of(&self, slot: Slot) -> Option<ShardId> {
        let at = slot.index() * self.node.shards.len() / usize::from(SLOT_COUNT);
        self.node.shards.get(at).copied()
    }

    fn shards(&self) -> Arc<[ShardId]> {
        Arc::clone(&self.node.shards)
    }

    fn try_read(
        &self,
        shard: ShardId,
        query: &Query<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Option<Monotonic> {
        if self.node.refuses_reads.load(Ordering::Relaxed) {
            return None;
        }
        let since = self.node.clock.monotonic_now();
        self.node.store(shard).read().answer(self.node.clock.unix_now(), query, reply);
        Some(since)
    }

    fn standing(&self, _shard: ShardId) -> Standing {
        *self.node.standing.lock()
    }

    fn submit(&mut self, run: Run<'_>) {
        let mut commands = self.spare.pop().unwrap_or_default();
        commands.clear();
        commands.extend_from_slice(run.commands);
        self.node.runs.fetch_add(1, Ordering::Relaxed);
        let Run { ticket, shard, database, protocol, access, origin, .. } = run;
        let kind = Kind::Plain;
        self.submitted.push(Submitted {
            ticket,
            shard,
            database,
            protocol,
            access,
            origin,
            commands,
            kind,
        });
    }

    fn wait(&mut self, run: Run<'_>) {
        self.waits.insert(run.ticket, run.shard);
        self.submit(run);
        self.submitted.last_mut().expect("it was just submitted").kind = Kind::Wait;
    }

    fn withdraw(&mut self, ticket: Ticket) {
        let Some(&shard) = self.waits.get(&ticket) else { return };
        let (protocol, access, kind) = (Protocol::Resp2, Access::Write, Kind::Withdrawal);
        let (commands, database) = (Vec::new(), DatabaseId::FIRST);
        let origin = Origin::NOBODY;
        self.submitted.push(Submitted {
            ticket,
            shard,
            database,
            protocol,
            access,
            origin,
            commands,
            kind,
        });
    }

    fn flush(&mut self) {
        if self.submitted.is_empty() {
            return;
        }
        self.node.flushes.fetch_add(1, Ordering::Relaxed);
        let judge = Arc::clone(&self.node.judge.lock());
        for run in self.submitted.drain(..) {
            if run.shard.is_meta() {
                // What the node answers itself; here, the question.
                let mut reply = Vec::new();
                ReplyWriter::new(&mut reply, run.protocol).bulk(&run.commands);
                self.ended.push_back((run.ticket, Ended::Done(reply)));
                continue;
            }
            let id = WaiterId { home: 1, life: self.door, number: run.ticket.0 };
            if run.kind == Kind::Withdrawal {
                // Of one that was served, the answer is on its way.
                if self.node.store(run.shard).write().withdraw(id) == Fate::Waits {
                    self.waits.remove(&run.ticket);
                    self.ended.push_back((run.ticket, Ended::Refused(Refusal::Withdrawn)));
                }
                continue;
            }
            let mut reply = self.spare.pop().unwrap_or_default();
            reply.clear();
            let ended = match judge(run.shard, &run.commands) {
                Verdict::Refuse(refusal) => Ended::Refused(refusal),
                Verdict::Execute if run.kind == Kind::Wait => {
                    if self.node.wait(id, &run, &mut reply) {
                        continue;
                    }
                    self.waits.remove(&run.ticket);
                    Ended::Done(reply)
                }
                verdict => {
                    let writer = &mut ReplyWriter::new(&mut reply, run.protocol);
                    assert!(
                        run.access == Access::Write
                            || !run.commands.starts_with(b"*1\r\n$5\r\nMULTI")
                    );
                    self.node.execute_run(&run, writer);
                    match verdict {
                        Verdict::Lose(reason) => Ended::Unknown(reason),
                        _ => Ended::Done(reply),
                    }
                }
            };
            self.spare.push(run.commands);
            self.ended.push_back((run.ticket, ended));
        }
        self.wake.wake();
    }

    fn completions(&mut self, each: &mut dyn FnMut(Ticket, Outcome<'_>)) {
        if self.node.holds_outcomes.load(Ordering::SeqCst) {
            return;
        }
        self.node.served.lock().retain(|(door, ticket, reply)| {
            if *door == self.door {
                self.waits.remove(ticket);
                self.ended.push_back((*ticket, Ended::Done(reply.clone())));
            }
            *door != self.door
        });
        let shuffle = self.node.shuffle.load(Ordering::Relaxed);
        let mut count = self.ended.len();
        if shuffle != 0 && count > 0 {
            let next =
                shuffle.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f) | 1;
            self.node.shuffle.store(next, Ordering::Relaxed);
            let random = (next >> 33) as usize;
            self.ended.rotate_left(random % count);
            count = 1 + random / 7 % count;
        }
        for (ticket, ended) in self.ended.drain(..count) {
            match ended {
                Ended::Done(replies) => {
                    each(ticket, Outcome::Done(&replies));
                    self.spare.push(replies);
                }
                Ended::Refused(refusal) => each(ticket, Outcome::Refused(refusal)),
                Ended::Unknown(reason) => each(ticket, Outcome::Unknown(reason)),
            }
        }
        if !self.ended.is_empty() {
            self.wake.wake();
        }
    }

    fn status(&self) -> Status {
        Status {
            node: NodeId(1),
            durability: "fsync",
            databases: self.node.database_stats(),
            keys_led: self.node.stores.iter().map(|store| store.read().key_count()).sum(),
            replication_is_full: true,
            ..Status::default()
        }
    }

    fn cluster(&self) -> Arc<ClusterView> {
        let node = &self.node;
        let view = |(at, id): (usize, &ShardId)| ShardView {
            id: *id,
            slot_first: node.first_slot(at),
            slot_last: if at + 1 == node.shards.len() {
                SLOT_COUNT - 1
            } else {
                node.first_slot(at + 1) - 1
            },
            leader: Some(NodeId(1)),
            replicas: vec![NodeId(1)],
        };
        let me = NodeView {
            id: NodeId(1),
            client_address: "127.0.0.1:7379".to_owned(),
            peer_address: "127.0.0.1:17379".to_owned(),
            is_up: true,
            ..NodeView::default()
        };
        Arc::new(ClusterView {
            me: NodeId(1),
            cluster_id: 1,
            nodes: vec![me],
            shards: node.shards.iter().enumerate().map(view).collect(),
            is_ok: true,
            replication_is_full: true,
            ..ClusterView::default()
        })
    }
}
