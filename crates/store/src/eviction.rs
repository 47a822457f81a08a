//! Which keys go when memory is full: policies, what is noted of the use of a key, and the choice of victims.
//!
//! Owns: [`Policy`], [`Uses`], the meaning of the five bits that an entry has to spare. Never: removes a key by itself: the
//! leader chooses ([`Store::victims`]), and all replicas remove what stands in the log ([`Store::evict`]).
//!
//! What is noted is no part of the state: replicas differ in it, since reads are noted where they are answered. No
//! command's effect may depend on it; OBJECT FREQ and IDLETIME show it.
//!
//! ```text
//! lru: 0 not used for long, 1 to 31 the step of the clock of the last use, counted around
//! lfu: 0 to 31 a level of the logarithmic counter of Redis (0 to 255): finer where it begins
//! ```
//! A use that is noted already writes nothing: readers of a hot key do not contend for its cache line.

use std::collections::BTreeSet;

use keystead_types::{ApplyContext, DatabaseId, Slot, UnixMillis};

use crate::chance;
use crate::database::{Database, Position, is_visible};
use crate::effect::EventClass;
use crate::entry::Entry;
use crate::store::Store;
use crate::table::Hasher;

/// Longest step of the clock that the last use is noted by, milliseconds.
const EPOCH_MS: u64 = 60_000;
/// Shortest step, milliseconds.
const EPOCH_MS_MIN: u64 = 250;
/// Steps in the time in which as many keys go as there are: with fewer, keys that are used would not be told from others.
const EPOCHS_PER_TURNOVER: u64 = 8;
/// How much the fitting length differs from the present one before that is changed: what was noted before means little then.
const EPOCH_CHANGE: u64 = 4;
/// Steps until the clock of 31 comes around.
const EPOCHS: u8 = 31;
/// Steps after which a use counts as long ago; whoever ages the keys has the rest of the round to come by.
const EPOCHS_TOLD: u8 = 24;
/// A level of the counter as Redis' counter shows it.
const LEVELS: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112,
    128, 160, 192, 224, 240, 255,
];
/// The level of a new key: Redis gives it 5, lest it goes before it can prove itself.
const LEVEL_NEW: u8 = 5;
/// `lfu-log-factor` of Redis.
const LOG_FACTOR: u64 = 10;
/// Time in which every key is looked at once for what time does to it: its counter falls, its last use becomes long ago.
const AGED_MS: u64 = 360_000;
/// `lfu-decay-time` of Redis: milliseconds in which a counter falls by one.
const DECAY_MS: u64 = 60_000;
/// Places that are looked at in vain before a store counts as one without a key to let go of.
const MISSES_MAX: usize = 64;
/// Neighbours that are passed over in search of one that expires.
const PASSED_MAX: usize = 64;
/// Bytes of the names of victims past which no more are chosen: they stand in one log entry.
const NAME_BYTES_MAX: usize = 1 << 20;
/// What a key takes in its table, bytes: eight and a fourth, and what stands empty.
const TABLE_BYTES: u64 = 12;

/// Which keys go when memory is full (`maxmemory-policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// None: commands that need memory are refused.
    #[default]
    NoEviction,
    /// Those that were not used for longest.
    AllKeysLru,
    /// Those that are used least often.
    AllKeysLfu,
    /// Any.
    AllKeysRandom,
    /// As [`AllKeysLru`](Self::AllKeysLru), of those that expire.
    VolatileLru,
    /// As [`AllKeysLfu`](Self::AllKeysLfu), of those that expire.
    VolatileLfu,
    /// Any of those that expire.
    VolatileRandom,
    /// Those that expire soonest.
    VolatileTtl,
}

impl Policy {
    /// Every policy with its name in Redis.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::NoEviction, "noeviction"),
        (Self::AllKeysLru, "allkeys-lru"),
        (Self::AllKeysLfu, "allkeys-lfu"),
        (Self::AllKeysRandom, "allkeys-random"),
        (Self::VolatileLru, "volatile-lru"),
        (Self::VolatileLfu, "volatile-lfu"),
        (Self::VolatileRandom, "volatile-random"),
        (Self::VolatileTtl, "volatile-ttl"),
    ];

    /// The policy of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(it, _)| *it)
    }

    /// The policy's number, as nodes tell each other.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The policy with a number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).map(|(policy, _)| *policy)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    const fn is_volatile(self) -> bool {
        matches!(
            self,
            Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl
        )
    }

    const fn noting(self) -> Noting {
        match self {
            Self::AllKeysLru | Self::VolatileLru => Noting::Recency,
            Self::AllKeysLfu | Self::VolatileLfu => Noting::Frequency,
            _ => Noting::Nothing,
        }
    }
}

/// What of a use is noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Noting {
    #[default]
    Nothing,
    Recency,
    Frequency,
}

/// How uses of keys are noted at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    noting: Noting,
    now: UnixMillis,
    /// Length of a step of the clock.
    epoch_ms: u64,
    /// Keys that had gone by `now`.
    evicted: u64,
}

impl Default for Uses {
    fn default() -> Self {
        Self { noting: Noting::Nothing, now: UnixMillis::default(), epoch_ms: EPOCH_MS, evicted: 0 }
    }
}

impl Uses {
    /// Notes that a key was used.
    #[inline]
    pub(crate) fn note(self, entry: &Entry) {
        if self.noting != Noting::Nothing {
            self.note_at(entry, self.now);
        }
    }

    /// As [`note`](Self::note) by a reader, who knows the time better.
    #[inline]
    pub(crate) fn note_read(self, entry: &Entry, now: UnixMillis) {
        if self.noting != Noting::Nothing {
            self.note_at(entry, now);
        }
    }

    #[cold]
    fn note_at(self, entry: &Entry, now: UnixMillis) {
        let known = entry.uses();
        let next = match self.noting {
            Noting::Nothing => return,
            Noting::Recency => self.epoch(now),
            Noting::Frequency => {
                let drawn = chance::mixed(now.0 ^ u64::from(entry.tag()) << 48);
                let climbs = drawn < u64::MAX / steps_to_climb(known);
                known + u8::from(climbs && usize::from(known) + 1 < LEVELS.len())
            }
        };
        if next != known {
            entry.set_uses(next);
        }
    }

    /// What a key begins with.
    pub(crate) fn note_new(self, entry: &Entry) {
        match self.noting {
            Noting::Nothing => {}
            Noting::Recency => entry.set_uses(self.epoch(self.now)),
            Noting::Frequency => entry.set_uses(LEVEL_NEW),
        }
    }

    /// Redis' counter of a key's uses, if they are counted.
    pub(crate) fn frequency(self, entry: &Entry) -> Option<u8> {
        (self.noting == Noting::Frequency).then(|| LEVELS[usize::from(entry.uses())])
    }

    /// Seconds since the last use as far as that is noted, in steps of the clock; none if uses are counted instead.
    pub(crate) fn idle_s(self, entry: &Entry, now: UnixMillis) -> Option<u64> {
        match self.noting {
            Noting::Nothing => Some(0),
            Noting::Recency => {
                let steps = u64::from(self.age(entry.uses(), now).min(EPOCHS_TOLD));
                Some(steps * self.epoch_ms / 1000)
            }
            Noting::Frequency => None,
        }
    }

    fn epoch(self, now: UnixMillis) -> u8 {
        u8::try_from(now.0 / self.epoch_ms % u64::from(EPOCHS)).unwrap_or(0) + 1
    }

    /// Steps of the clock since a use that was noted so.
    fn age(self, noted: u8, now: UnixMillis) -> u8 {
        if noted == 0 { EPOCHS } else { (self.epoch(now) + EPOCHS - noted) % EPOCHS }
    }

    /// The length of a step that fits how fast keys went since the last look.
    fn fitting_epoch_ms(self, now: UnixMillis, keys: u64, evicted: u64) -> u64 {
        let (gone, elapsed_ms) =
            (evicted.saturating_sub(self.evicted), now.0.saturating_sub(self.now.0));
        let turnover_ms = keys.saturating_mul(elapsed_ms.max(1)).checked_div(gone);
        let fitting = turnover_ms.map_or(EPOCH_MS, |turnover| turnover / EPOCHS_PER_TURNOVER);
        let fitting = fitting.clamp(EPOCH_MS_MIN, EPOCH_MS);
        let differs = fitting.saturating_mul(EPOCH_CHANGE) <= self.epoch_ms
            || fitting >= self.epoch_ms.saturating_mul(EPOCH_CHANGE);
        if differs { fitting } else { self.epoch_ms }
    }

    /// Time in which every key is to be looked at once.
    fn aged_ms(self) -> u64 {
        match self.noting {
            // Before the clock comes around.
            Noting::Recency => AGED_MS.min(self.epoch_ms * u64::from(EPOCHS - EPOCHS_TOLD - 1)),
            _ => AGED_MS,
        }
    }

    /// What the time since the last look does to a key.
    fn grow_old(self, entry: &Entry, now: UnixMillis) {
        let known = entry.uses();
        let next = match self.noting {
            Noting::Nothing => known,
            Noting::Recency if self.age(known, now) >= EPOCHS_TOLD => 0,
            Noting::Recency => known,
            Noting::Frequency => {
                let fall = u8::try_from(AGED_MS / DECAY_MS).unwrap_or(u8::MAX);
                let shown = LEVELS[usize::from(known)].saturating_sub(fall);
                // Between two levels chance decides, so that counters fall as fast as in Redis on the average.
                let below = LEVELS.partition_point(|level| *level <= shown) - 1;
                let gap = LEVELS.get(below + 1).map_or(1, |level| level - LEVELS[below]);
                let drawn = chance::mixed(now.0 ^ u64::from(entry.tag()) << 48) % u64::from(gap);
                let rises = drawn < u64::from(shown - LEVELS[below]);
                u8::try_from(below + usize::from(rises)).unwrap_or(known).min(known)
            }
        };
        if next != known {
            entry.set_uses(next);
        }
    }
}

/// Uses it takes on the average to climb from a level to the next: as many as Redis' counter needs for the same way.
fn steps_to_climb(level: u8) -> u64 {
    let from = u64::from(LEVELS[usize::from(level)]);
    let to = LEVELS.get(usize::from(level) + 1).map_or(from + 1, |to| u64::from(*to));
    (from..to).map(|count| count.saturating_sub(u64::from(LEVEL_NEW)) * LOG_FACTOR + 1).sum()
}

/// How victims are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Where.
    pub database: DatabaseId,
    /// By which rule.
    pub policy: Policy,
    /// Keys that are compared for each victim (`maxmemory-samples`).
    pub samples: usize,
    /// Bytes that are to become free.
    pub bytes: u64,
    /// Most victims.
    pub keys_max: usize,
}

/// How far [`Store::age_keys`] has come.
#[derive(Clone, Copy, Debug)]
pub struct AgeCursor {
    database: DatabaseId,
    position: Position,
}

impl Default for AgeCursor {
    fn default() -> Self {
        Self { database: DatabaseId::FIRST, position: Position(0) }
    }
}

impl Store {
    /// Says which policy's uses are noted from now on, and what time it is. Not part of the state.
    pub fn note_uses(&mut self, policy: Policy, now: UnixMillis) {
        let (before, evicted) = (self.keyspace.uses, self.keyspace.evicted);
        let keys = self.keyspace.counts().keys;
        let is_same = before.noting == policy.noting();
        let epoch_ms = if is_same { before.fitting_epoch_ms(now, keys, evicted) } else { EPOCH_MS };
        self.keyspace.uses = Uses { noting: policy.noting(), now, epoch_ms, evicted };
    }

    /// True if [`note_uses`](Self::note_uses) has something to say that it has not said: another policy, a later step of the
    /// clock, or that a part of the keys went meanwhile.
    #[must_use]
    pub fn wants_note(&self, policy: Policy, now: UnixMillis) -> bool {
        let uses = self.keyspace.uses;
        let gone = self.keyspace.evicted.saturating_sub(uses.evicted);
        let is_late = uses.epoch(uses.now) != uses.epoch(now)
            || gone > self.keyspace.counts().keys / EPOCHS_PER_TURNOVER;
        uses.noting != policy.noting() || (policy.noting() == Noting::Recency && is_late)
    }

    /// Bytes of keys, values and the index of expiry; O(1). What the tables take is in [`stats`](Self::stats).
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held_by_database().map(|(_, bytes)| bytes).sum()
    }

    /// The same of each database.
    pub fn held_by_database(&self) -> impl Iterator<Item = (DatabaseId, u64)> + '_ {
        self.keyspace.databases().map(|(id, database)| {
            (id, database.counts.entry_bytes + database.expiries.bytes() as u64)
        })
    }

    /// Visits keys that should go, until they make up the bytes that are wanted; how many bytes they take.
    pub fn victims(&self, now: UnixMillis, choice: &Choice, mut visit: impl FnMut(&[u8])) -> u64 {
        let database = self.keyspace.database(choice.database);
        let mut chosen: BTreeSet<&[u8]> = BTreeSet::new();
        let (mut bytes, mut name_bytes) = (0, 0);
        let mut take = |entry: &Entry, chosen: &BTreeSet<&[u8]>| {
            bytes += entry.bytes() as u64 + TABLE_BYTES;
            name_bytes += entry.key().len();
            visit(entry.key());
            bytes < choice.bytes && chosen.len() < choice.keys_max && name_bytes < NAME_BYTES_MAX
        };
        if choice.policy == Policy::NoEviction || choice.bytes == 0 {
            return 0;
        }
        if choice.policy == Policy::VolatileTtl {
            for entry in soonest(database, &self.keyspace.hasher) {
                if chosen.insert(entry.key()) && !take(entry, &chosen) {
                    break;
                }
            }
            return bytes;
        }
        let slots: Vec<Slot> =
            database.slots.iter_from(Slot::default()).map(|(slot, _)| slot).collect();
        let mut misses = 0;
        while misses < MISSES_MAX && !slots.is_empty() {
            match self.sample(now, choice, &slots, &chosen) {
                Some(entry) => {
                    misses = 0;
                    chosen.insert(entry.key());
                    if !take(entry, &chosen) {
                        break;
                    }
                }
                None => misses += 1,
            }
        }
        bytes
    }

    /// The best of a few neighbours at a place that chance chooses: by their hash, so they have nothing else in common.
    fn sample(
        &self,
        now: UnixMillis,
        choice: &Choice,
        filled: &[Slot],
        chosen: &BTreeSet<&[u8]>,
    ) -> Option<&Entry> {
        let slot = filled[self.draw(filled.len() as u64)];
        let hash = chance::mixed(self.draw_any());
        let hasher = &self.keyspace.hasher;
        let slots = &self.keyspace.database(choice.database).slots;
        let behind = slots
            .iter_from(slot)
            .flat_map(|(at, table)| table.iter_from(hasher, if at == slot { hash } else { 0 }));
        let is_meant = |entry: &&Entry| {
            (!choice.policy.is_volatile() || entry.expiry().is_some())
                && !chosen.contains(entry.key())
        };
        let sampled = behind.take(PASSED_MAX).filter(is_meant).take(choice.samples.max(1));
        sampled.min_by_key(|entry| match choice.policy.noting() {
            _ if !is_visible(entry, now) => 0,
            Noting::Nothing => 0,
            Noting::Recency => EPOCHS - self.keyspace.uses.age(entry.uses(), now),
            Noting::Frequency => entry.uses(),
        })
    }

    /// Looks at the next keys from `cursor` on for what time did to them: as many as it takes to come around in six minutes,
    /// of which `elapsed_ms` have passed since the last call.
    pub fn age_keys(&self, now: UnixMillis, cursor: AgeCursor, elapsed_ms: u64) -> AgeCursor {
        let uses = self.keyspace.uses;
        if uses.noting == Noting::Nothing {
            return AgeCursor::default();
        }
        let aged_ms = uses.aged_ms();
        let mut left = self.keyspace.counts().keys * elapsed_ms.min(aged_ms) / aged_ms + 1;
        let hasher = &self.keyspace.hasher;
        for (id, database) in self.keyspace.databases().filter(|(id, _)| *id >= cursor.database) {
            let is_first = id == cursor.database;
            let from = if is_first { cursor.position } else { Position(0) };
            let first = from.slot().unwrap_or_default();
            for (slot, table) in database.slots.iter_from(first) {
                let hash = if slot == first { from.hash() } else { 0 };
                for entry in table.iter_from(hasher, hash) {
                    if left == 0 {
                        let position = Position::new(slot, hasher.hash(entry.key()));
                        return AgeCursor { database: id, position };
                    }
                    left -= 1;
                    uses.grow_old(entry, now);
                }
            }
        }
        AgeCursor::default()
    }

    /// Removes keys that the leader chose; those that are not there any more are passed over.
    pub fn evict<'k>(
        &mut self,
        ctx: &ApplyContext,
        database: DatabaseId,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) {
        let selected = self.selected();
        self.select(database);
        self.evictions += 1;
        for key in keys {
            if self.keyspace.take(ctx.now, key).is_some() {
                self.keyspace.evicted += 1;
                self.keyspace.effects.notify(EventClass::Evicted, "evicted", key);
            }
        }
        self.select(selected);
        // Whoever reads for a group of a stream that goes is told so.
        self.serve_waiters(ctx);
    }

    /// Times that keys were removed to make room.
    #[must_use]
    pub const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// A number below `below`.
    fn draw(&self, below: u64) -> usize {
        let drawn = (u128::from(chance::mixed(self.draw_any())) * u128::from(below)) >> 64;
        usize::try_from(drawn).unwrap_or(0)
    }
}

/// Keys of a database in the order in which they expire.
fn soonest<'d>(database: &'d Database, hasher: &'d Hasher) -> impl Iterator<Item = &'d Entry> {
    database.expiries.iter().filter_map(move |(at, position)| {
        let position = Position(position);
        let table = database.slots.get(position.slot()?)?;
        // Of a hash in which a field expires then, nothing is found.
        let mut near = table.iter_from(hasher, position.hash()).take(PASSED_MAX);
        near.find(|entry| entry.expiry() == Some(at))
    })
}

#[cfg(test)]
mod tests;
