//! Client-side caching: which connection of this node may hold a copy of which key, and who is told when a key changes.
//!
//! Owns: [`Tracking`], the table of keys and connections, bounded by `tracking-table-max-keys`. Never: a connection (the
//! gateway knows what a client asked for), a read, another node.
//!
//! A connection registers a key before its read leaves, and the replica of the shard on this node tells what it
//! applies, whoever leads (ADR 14). So nothing has to be sent between nodes, and a change of leader loses nothing: the
//! same entries are applied here in any case. What could leave a gap has every copy dropped: a snapshot in place of
//! entries, a replica that is built anew, that went away, or that no longer hears of a leader.
//!
//! INV-TRK1: a key that was registered before its read left is told to its connection when an entry behind the one that
//! the read saw changes it, or earlier; or all keys are.
//!
//! Told by `shard.rs` with each entry, looked after by the pacer; asked by the gateway. Costs one atomic per entry while nobody tracks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keystead_store::Effect;
use keystead_types::limits::TRACKING_KEYS_MAX;
use keystead_types::{Monotonic, ShardId};
use parking_lot::{Mutex, RwLock};

use crate::pubsub::{Content, Delivery, Inbox, Listener, Stale};

/// Tables beside each other, so that shards applied by several workers seldom wait for each other.
const TABLES: usize = 32;
/// How often those who track by prefix are told to drop everything while a shard is not heard of here.
const LOST_AGAIN: Duration = Duration::from_secs(1);
/// Connections that may stand behind a key beyond twice as many as track at all, before those that are gone are looked for.
const GONE_SLACK: usize = 8;

/// A connection that wants to hear of changes.
pub struct Tracker {
    /// Where it is told.
    pub inbox: Arc<Inbox>,
    /// Which connection it is.
    pub listener: Listener,
    /// Names that begin with one of these are told, read or not; `None`: the keys that it registers.
    pub prefixes: Option<BTreeSet<Box<[u8]>>>,
    /// True if it wants to be spared what it changed itself, where that is known.
    pub is_noloop: bool,
}

/// Who is behind a change, as a number that fits beside a run's protocol; [`Origin::NOBODY`] if that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(u32);

impl Origin {
    /// Nobody in particular.
    pub const NOBODY: Self = Self(0);
    /// Bits of an origin.
    pub(crate) const BITS: u32 = 24;

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
    const fn of_client(client: u64) -> Self {
        Self::from_bits(client as u32)
    }
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingStats {
    /// Connections that track.
    pub clients: usize,
    /// Keys in the table.
    pub keys: usize,
    /// Connections behind these keys, one for each key.
    pub items: usize,
    /// Distinct prefixes.
    pub prefixes: usize,
}

/// See the module.
pub struct Tracking {
    trackers: RwLock<BTreeMap<u64, Enrolled>>,
    /// How many there are: nothing else is looked at while it is 0.
    clients: AtomicUsize,
    tables: [Mutex<BTreeMap<ShardId, Table>>; TABLES],
    keys: AtomicUsize,
    items: AtomicUsize,
    keys_max: AtomicUsize,
    lost: Mutex<Lost>,
}

/// The keys of one shard with the connections that may hold a copy, in the order of their numbers.
type Table = BTreeMap<Box<[u8]>, Vec<u64>>;

struct Enrolled {
    tracker: Tracker,
    /// What its own changes are known by; only of one that wants to be spared them.
    origin: Origin,
}

/// Shards that this node does not hear of.
#[derive(Default)]
struct Lost {
    shards: BTreeSet<ShardId>,
    told_at: Monotonic,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            trackers: RwLock::default(),
            clients: AtomicUsize::new(0),
            tables: Default::default(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            keys_max: AtomicUsize::new(TRACKING_KEYS_MAX),
            lost: Mutex::default(),
        }
    }
}

impl Tracking {
    /// True if anybody tracks.
    #[inline]
    #[must_use]
    pub fn is_active(&self) -> bool {
        // ORDER: whoever tracks says so before its first read leaves, and an entry that this read did not see is applied
        // here later: on the leader's node behind the store's lock, elsewhere behind a message of the leader.
        self.clients.load(Ordering::Relaxed) > 0
    }

    /// Tells this connection from now on, instead of what it was told before.
    ///
    /// Returns what its own changes are to carry.
    pub fn enroll(&self, tracker: Tracker) -> Origin {
        let mut trackers = self.trackers.write();
        let client = tracker.listener.client;
        let own = Origin::of_client(client);
        // Two that are alike are both told: a change that is not told would be missed for ever.
        let is_alone = !trackers.iter().any(|(id, other)| *id != client && other.origin == own);
        let origin = if tracker.is_noloop && is_alone { own } else { Origin::NOBODY };
        trackers.insert(client, Enrolled { tracker, origin });
        self.clients.store(trackers.len(), Ordering::SeqCst);
        origin
    }

    /// This connection is not told any more. What is on its way to it may still come.
    pub fn dismiss(&self, client: u64) {
        let mut trackers = self.trackers.write();
        trackers.remove(&client);
        self.clients.store(trackers.len(), Ordering::SeqCst);
        let was_last = trackers.is_empty();
        drop(trackers);
        if was_last {
            // Whoever began meanwhile loses what it registered, and so is told.
            self.drop_copies();
        }
    }

    /// Registers keys of a shard that a connection is about to read.
    pub fn register<'k>(
        &self,
        shard: ShardId,
        client: u64,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) {
        for key in keys {
            {
                let mut tables = self.table_of(shard).lock();
                let clients = tables.entry(shard).or_default().entry(key.into());
                let clients = clients.or_insert_with(|| {
                    self.keys.fetch_add(1, Ordering::Relaxed);
                    Vec::new()
                });
                let Err(at) = clients.binary_search(&client) else { continue };
                clients.insert(at, client);
                self.items.fetch_add(1, Ordering::Relaxed);
                if clients.len() > 2 * self.clients.load(Ordering::Relaxed) + GONE_SLACK {
                    self.drop_gone(clients);
                }
            }
            self.make_room(shard, key);
        }
    }

    /// Takes back what was registered: the connection is told otherwise.
    pub fn withdraw(&self, shard: ShardId, client: u64, key: &[u8]) {
        let mut tables = self.table_of(shard).lock();
        let Some(table) = tables.get_mut(&shard) else { return };
        let Some(clients) = table.get_mut(key) else { return };
        if let Ok(at) = clients.binary_search(&client) {
            clients.remove(at);
            self.items.fetch_sub(1, Ordering::Relaxed);
        }
        if clients.is_empty() {
            table.remove(key);
            self.keys.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A key was changed through this node by a client that was just told so: who is here need not wait until the
    /// replica here hears of it.
    pub fn written(&self, shard: ShardId, key: &[u8]) {
        self.touched(shard, key, Origin::NOBODY);
    }

    /// Tells what an entry of a shard did. `origins` say up to which effect who was behind it.
    pub fn tell(&self, shard: ShardId, effects: &[Effect], origins: &[(usize, Origin)]) {
        let mut origins = origins.iter().copied().peekable();
        let mut changed: BTreeMap<&[u8], Origin> = BTreeMap::new();
        for (at, effect) in effects.iter().enumerate() {
            while origins.next_if(|(end, _)| *end <= at).is_some() {}
            let by = origins.peek().map_or(Origin::NOBODY, |(_, by)| *by);
            match effect {
                Effect::Touched(key) => {
                    self.touched(shard, key, by);
                    let known = changed.entry(key).or_insert(by);
                    if *known != by {
                        *known = Origin::NOBODY;
                    }
                }
                Effect::Cleared => self.clear(),
                Effect::Event { .. } | Effect::Publish { .. } | Effect::Served { .. } => {}
            }
        }
        if !changed.is_empty() {
            self.tell_prefixes(&changed);
        }
    }

    /// Has everybody drop every copy.
    pub fn clear(&self) {
        if self.is_active() {
            self.drop_copies();
        }
    }

    /// Takes note which shards are not heard of here: no replica that knows a leader. Called every few milliseconds.
    pub(crate) fn look(&self, now: Monotonic, lost: BTreeSet<ShardId>) {
        let mut known = self.lost.lock();
        // One that was lost before may have been back between two looks: then something was registered.
        let is_news = lost.iter().any(|id| !known.shards.contains(id) || self.has_keys(*id));
        let is_due = !lost.is_empty() && now.since(known.told_at) >= LOST_AGAIN;
        known.shards = lost;
        if is_news {
            known.told_at = now;
            self.clear();
        } else if is_due {
            known.told_at = now;
            for enrolled in self.trackers.read().values() {
                if enrolled.tracker.prefixes.is_some() {
                    enrolled.tell(None);
                }
            }
        }
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> TrackingStats {
        let trackers = self.trackers.read();
        let prefixes = trackers.values().filter_map(|it| it.tracker.prefixes.as_ref()).flatten();
        TrackingStats {
            clients: trackers.len(),
            keys: self.keys.load(Ordering::Relaxed),
            items: self.items.load(Ordering::Relaxed),
            prefixes: prefixes.collect::<BTreeSet<_>>().len(),
        }
    }

    /// Most keys in the table; 0: no bound.
    #[must_use]
    pub fn keys_max(&self) -> usize {
        self.keys_max.load(Ordering::Relaxed)
    }

    /// Changes how many keys the table holds at most; room is made with the next registration.
    pub fn set_keys_max(&self, keys_max: usize) {
        self.keys_max.store(keys_max, Ordering::Relaxed);
    }

    fn table_of(&self, shard: ShardId) -> &Mutex<BTreeMap<ShardId, Table>> {
        &self.tables[shard.0 as usize % TABLES]
    }

    fn has_keys(&self, shard: ShardId) -> bool {
        self.table_of(shard).lock().get(&shard).is_some_and(|table| !table.is_empty())
    }

    /// A key changed: whoever registered it is told, and has to register it again.
    fn touched(&self, shard: ShardId, key: &[u8], by: Origin) {
        let removed = {
            let mut tables = self.table_of(shard).lock();
            tables.get_mut(&shard).and_then(|table| table.remove(key))
        };
        if let Some(clients) = removed {
            self.tell_removed(key, &clients, by);
        }
    }

    /// Tells the connections behind a key that left the table.
    fn tell_removed(&self, key: &[u8], clients: &[u64], by: Origin) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
        self.items.fetch_sub(clients.len(), Ordering::Relaxed);
        let stale: Stale = Some(Arc::from([Box::from(key)]));
        let trackers = self.trackers.read();
        let told = clients.iter().filter_map(|client| trackers.get(client));
        for enrolled in told.filter(|it| it.tracker.prefixes.is_none() && !it.made(by)) {
            enrolled.tell(stale.clone());
        }
    }

    /// Tells those who track by prefix, all that changed under one prefix at once.
    fn tell_prefixes(&self, changed: &BTreeMap<&[u8], Origin>) {
        for enrolled in self.trackers.read().values() {
            for prefix in enrolled.tracker.prefixes.iter().flatten() {
                let from = (Bound::Included(&**prefix), Bound::Unbounded);
                let under = changed.range::<[u8], _>(from);
                let keys: Arc<[Box<[u8]>]> = under
                    .take_while(|(key, _)| key.starts_with(prefix))
                    .filter(|(_, by)| !enrolled.made(**by))
                    .map(|(key, _)| Box::from(*key))
                    .collect();
                if !keys.is_empty() {
                    enrolled.tell(Some(keys));
                }
            }
        }
    }

    /// Lets keys go until the bound is kept, `newest` last. What was let go of must not be used any more either.
    fn make_room(&self, shard: ShardId, newest: &[u8]) {
        let keys_max = self.keys_max();
        while keys_max > 0 && self.keys.load(Ordering::Relaxed) > keys_max {
            let Some((key, clients)) = self.take_any(shard, newest) else { return };
            self.tell_removed(&key, &clients, Origin::NOBODY);
        }
    }

    /// Takes a key out: the one behind `newest` in its shard, else any other one, else `newest`.
    fn take_any(&self, shard: ShardId, newest: &[u8]) -> Option<(Box<[u8]>, Vec<u64>)> {
        {
            let mut tables = self.table_of(shard).lock();
            let table = tables.entry(shard).or_default();
            let behind = (Bound::Excluded(newest), Bound::Unbounded);
            let next = table.range::<[u8], _>(behind).next();
            let next = next.or_else(|| table.iter().find(|(key, _)| &***key != newest));
            if let Some(key) = next.map(|(key, _)| key.clone()) {
                return table.remove_entry(&key);
            }
        }
        for tables in &self.tables {
            for (id, table) in &mut *tables.lock() {
                if *id != shard
                    && let Some(taken) = table.pop_first()
                {
                    return Some(taken);
                }
            }
        }
        self.table_of(shard).lock().get_mut(&shard)?.pop_first()
    }

    /// Forgets connections that are gone: a key that many read and nobody changes would gather them.
    fn drop_gone(&self, clients: &mut Vec<u64>) {
        let trackers = self.trackers.read();
        let before = clients.len();
        clients.retain(|client| trackers.contains_key(client));
        self.items.fetch_sub(before - clients.len(), Ordering::Relaxed);
    }

    fn drop_copies(&self) {
        for tables in &self.tables {
            for (_, table) in std::mem::take(&mut *tables.lock()) {
                self.keys.fetch_sub(table.len(), Ordering::Relaxed);
                self.items.fetch_sub(table.values().map(Vec::len).sum(), Ordering::Relaxed);
            }
        }
        for enrolled in self.trackers.read().values() {
            enrolled.tell(None);
        }
    }
}

impl Enrolled {
    /// True if it made this change and does not want to hear of it.
    fn made(&self, by: Origin) -> bool {
        by != Origin::NOBODY && by == self.origin
    }

    fn tell(&self, stale: Stale) {
        let Tracker { inbox, listener, .. } = &self.tracker;
        inbox.put(Delivery { to: *listener, content: Content::Stale(stale) });
    }
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracking").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
