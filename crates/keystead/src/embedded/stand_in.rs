//! A host for tests: stores without replication, and faults on demand.
//! Owns: [`StandIn`]. Never: part of the library; the real host is a node.
//!
//! Every shard is a plain store. Runs are executed at `flush`, or, while [`hold`](StandIn::hold) is on,
//! when a test lets them go, on the test's thread: the way in which a node's worker ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keystead_node::{
    Access, ClusterView, Door, Outcome, Refusal, Run, ShardView, Status, SyncReport, Ticket,
    UnknownReason,
};
use keystead_resp::{Protocol, ReplyWriter, RunDecoder};
use keystead_store::command::Query;
use keystead_store::{Store, StoreConfig};
use keystead_types::{
    ApplyContext, DatabaseId, LogIndex, Monotonic, SLOT_COUNT, ShardId, Slot, UnixMillis,
};
use parking_lot::{Mutex, RwLock};

use super::host::Host;
use crate::config::value::Address;
use crate::error::Error;

/// See the module. Clones are the same host.
#[derive(Clone)]
pub(crate) struct StandIn {
    world: Arc<World>,
}

struct World {
    shards: Vec<RwLock<Store>>,
    now_ms: AtomicU64,
    index: AtomicU64,
    /// False: this node may not answer reads from memory.
    is_leader: AtomicBool,
    is_holding: AtomicBool,
    /// Flushes that brought something.
    flushes: AtomicU64,
    /// What is told of the next run instead of executing it.
    fault: Mutex<Option<Fault>>,
    pending: Mutex<Vec<Held>>,
    ended: Mutex<Vec<(Ticket, Ended)>>,
    wake: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

/// How a run ends without being executed.
#[derive(Clone)]
pub(crate) enum Fault {
    Refused(Refusal),
    Unknown(UnknownReason),
}

enum Ended {
    Done(Vec<u8>),
    Fault(Fault),
}

struct Held {
    ticket: Ticket,
    shard: ShardId,
    database: DatabaseId,
    commands: Vec<u8>,
    protocol: Protocol,
    access: Access,
}

impl StandIn {
    /// How many flushes brought something so far.
    pub(crate) fn flushes(&self) -> u64 {
        self.world.flushes.load(Ordering::SeqCst)
    }

    pub(crate) fn new(shards: usize) -> Self {
        let store =
            || RwLock::new(Store::new(StoreConfig { hash_seed: 7, has_every_slot: shards == 1 }));
        let world = World {
            shards: (0..shards).map(|_| store()).collect(),
            now_ms: AtomicU64::new(1_000_000),
            index: AtomicU64::new(0),
            is_leader: AtomicBool::new(true),
            is_holding: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            fault: Mutex::default(),
            pending: Mutex::default(),
            ended: Mutex::default(),
            wake: Mutex::default(),
        };
        Self { world: Arc::new(world) }
    }

    pub(crate) fn set_leader(&self, is_leader: bool) {
        self.world.is_leader.store(is_leader, Ordering::SeqCst);
    }

    pub(crate) fn pass_time(&self, ms: u64) {
        self.world.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        *self.world.fault.lock() = Some(fault);
    }

    /// Keeps runs back until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.world.is_holding.store(true, Ordering::SeqCst);
    }

    pub(crate) fn held(&self) -> usize {
        self.world.pending.lock().len()
    }

    pub(crate) fn release(&self) {
        self.world.is_holding.store(false, Ordering::SeqCst);
        self.world.execute();
        self.world.ring();
    }
}

impl World {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now_ms.load(Ordering::SeqCst))
    }

    fn store(&self, shard: ShardId) -> &RwLock<Store> {
        &self.shards[shard.0 as usize - 1]
    }

    fn shard_of(&self, slot: Slot) -> ShardId {
        let at = slot.index() * self.shards.len() / usize::from(SLOT_COUNT);
        ShardId(u32::try_from(at).unwrap() + 1)
    }

    fn execute(&self) {
        let pending = std::mem::take(&mut *self.pending.lock());
        self.flushes.fetch_add(u64::from(!pending.is_empty()), Ordering::SeqCst);
        for held in pending {
            let ended = match self.fault.lock().take() {
                Some(fault) => Ended::Fault(fault),
                None => Ended::Done(self.run(&held)),
            };
            self.ended.lock().push((held.ticket, ended));
        }
    }

    fn run(&self, held: &Held) -> Vec<u8> {
        let (mut out, mut spans) = (Vec::new(), Vec::new());
        let mut reply = ReplyWriter::new(&mut out, held.protocol);
        let args = RunDecoder::new(&held.commands).next(&mut spans).unwrap().unwrap();
        let index = self.index.fetch_add(1, Ordering::SeqCst) + 1;
        let context = ApplyContext { index: LogIndex(index), now: self.now(), seed: index };
        match held.access {
            Access::Read => {
                let store = self.store(held.shard).read();
                store.read(held.database, self.now(), args, &mut reply);
            }
            Access::Write => {
                let mut store = self.store(held.shard).write();
                store.select(held.database);
                let _outcome = store.apply(&context, args, &mut reply);
            }
        }
        out
    }

    fn ring(&self) {
        let wake = self.wake.lock().clone();
        if let Some(wake) = wake {
            wake();
        }
    }
}

struct StandInDoor(Arc<World>);

impl Door for StandInDoor {
    fn shard_of(&self, slot: Slot) -> Option<ShardId> {
        (!self.0.shards.is_empty()).then(|| self.0.shard_of(slot))
    }

    fn shards(&self) -> Arc<[ShardId]> {
        (1..=u32::try_from(self.0.shards.len()).unwrap()).map(ShardId).collect()
    }

    fn try_read(
        &self,
        shard: ShardId,
        query: &Query<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Option<Monotonic> {
        let may = self.0.is_leader.load(Ordering::SeqCst);
        may.then(|| {
            self.0.store(shard).read().answer(self.0.now(), query, reply);
            Monotonic::default()
        })
    }

    fn submit(&mut self, run: Run<'_>) {
        let Run { ticket, shard, database, commands, protocol, access, .. } = run;
        let commands = commands.to_vec();
        let held = Held { ticket, shard, database, commands, protocol, access };
        self.0.pending.lock().push(held);
    }

    fn flush(&mut self) {
        if !self.0.is_holding.load(Ordering::SeqCst) {
            self.0.execute();
            // While the caller stands at the door, as a node does with what it refuses at once.
            self.0.ring();
        }
    }

    fn completions(&mut self, each: &mut dyn FnMut(Ticket, Outcome<'_>)) {
        let ended = std::mem::take(&mut *self.0.ended.lock());
        for (ticket, ended) in ended {
            match ended {
                Ended::Done(reply) => each(ticket, Outcome::Done(&reply)),
                Ended::Fault(Fault::Refused(refusal)) => each(ticket, Outcome::Refused(refusal)),
                Ended::Fault(Fault::Unknown(reason)) => each(ticket, Outcome::Unknown(reason)),
            }
        }
    }

    fn status(&self) -> Status {
        Status::default()
    }

    fn cluster(&self) -> Arc<ClusterView> {
        let count = self.0.shards.len();
        let first =
            |at: usize| u16::try_from((at * usize::from(SLOT_COUNT)).div_ceil(count)).unwrap();
        let shards = (0..count).map(|at| ShardView {
            id: ShardId(u32::try_from(at).unwrap() + 1),
            slot_first: first(at),
            slot_last: first(at + 1) - 1,
            ..ShardView::default()
        });
        Arc::new(ClusterView { shards: shards.collect(), ..ClusterView::default() })
    }
}

impl Host for StandIn {
    fn open_door(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Option<Box<dyn Door + Send>> {
        *self.world.wake.lock() = Some(wake);
        Some(Box::new(StandInDoor(Arc::clone(&self.world))))
    }

    fn look_at(
        &self,
        (database, key): (DatabaseId, &[u8]),
        look: &mut dyn FnMut(Option<&[u8]>),
    ) -> bool {
        if !self.world.is_leader.load(Ordering::SeqCst) {
            return false;
        }
        let slot = Slot::of_key(key);
        let store = self.world.store(self.world.shard_of(slot)).read();
        match store.get(database, self.world.now(), (slot, key)) {
            Ok(value) => look(value.as_deref()),
            Err(_) => return false,
        }
        true
    }

    fn databases(&self) -> u16 {
        keystead_types::limits::DATABASES_DEFAULT
    }

    fn client_address(&self) -> Option<SocketAddr> {
        None
    }

    fn peer_address(&self) -> String {
        String::new()
    }

    fn ready(&self, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&self, _: Duration) -> Result<SyncReport, Error> {
        Ok(SyncReport::default())
    }

    fn incarnation(&self) -> u64 {
        0
    }

    fn connect(&self, _: Address, _: Duration) -> Result<(), Error> {
        Ok(())
    }

    fn shutdown(&self) -> Result<(), Error> {
        self.set_leader(false);
        Ok(())
    }
}
