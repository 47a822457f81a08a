//! Clients that wait for a key: what a blocking command leaves behind when it finds nothing.
//! Owns: who waits for which keys and in which order, whom a change of a key concerns, and the latest answers. Never:
//! connections; a waiter is a number that its node chose. What serving means stands in `command/wait.rs`; `store.rs`
//! has it done behind every command, transaction and script that made a key ready.
//!
//! Waiters are part of the replicated state: who comes first is decided by the log, so no wake-up can be lost and no
//! newcomer overtakes, whoever leads ([ADR 15](../../../docs/adr/0015-waiters-are-replicated.md)).
//!
//! ```text
//!   wait(id)            finds something: answered at once; else the client waits, its place being the log's order
//!   a key is ready      its waiters are tried, first come, first served; who is served is answered and waits no more
//!   withdraw(id)        nothing happened; or the answer that the waiter was served
//!   confirm(id)         a sign of life, about every 20 s: who gives none for a minute is suspended, then forgotten
//!   suspend(home)       the node that spoke for these waiters is gone: they keep their places and are passed over
//! ```
//! INV-B1: a waiter stands in the queue of each of its keys, and nothing else stands there.
//! INV-B2: nobody waits who could be served: when a command has ended, no key is left ready.
//! INV-B3: a waiter is answered at most once: the answer takes it out of every queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keystead_resp::Protocol;
use keystead_types::{DatabaseId, UnixMillis};

use crate::command::WaitCommand;

/// Most waiters of one store; past it a command that would wait is refused.
pub const WAITERS_MAX: usize = 65_536;
/// Most bytes that the commands of all waiters take; past it a command that would wait is refused.
pub const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A waiter without a sign of life for so long, milliseconds, is suspended; after the same again it is forgotten.
pub const SILENCE_MS_MAX: u64 = 60_000;
/// Most answers that are kept for whoever did not hear them, and most bytes of these; past either, the oldest goes.
const ANSWERS_MAX: usize = 4096;
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A waiter, unique within the cluster; the node that speaks for it chooses the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId {
    /// The node.
    pub home: u64,
    /// Which of the node's lives.
    pub life: u64,
    /// Of that life's waiters, which.
    pub number: u64,
}

/// What became of a waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits.
    Waits,
    /// It was served; the answer.
    Served(Vec<u8>),
    /// Nobody knows: it was dropped, never came, or its answer is not kept any more.
    Unknown,
}

/// A key, and the database that it is in.
pub(crate) type Key = (DatabaseId, Box<[u8]>);

/// The waiters of a store.
#[derive(Default)]
pub(crate) struct Waiters {
    waiters: BTreeMap<WaiterId, Waiter>,
    /// Who waits for a key, by the order of arrival.
    queues: BTreeMap<Key, Queue>,
    by_age: BTreeSet<(UnixMillis, WaiterId)>,
    /// How many of a node's life may be served.
    awake: BTreeMap<(u64, u64), usize>,
    /// Keys that may serve somebody, in the order in which they became ready. Empty between two commands.
    ready: VecDeque<Key>,
    /// The latest answers, the oldest first.
    answers: VecDeque<Answer>,
    answer_bytes: usize,
    waiting_bytes: usize,
    next_arrival: u64,
}

/// Who waits for one key.
#[derive(Default)]
struct Queue {
    places: BTreeMap<u64, WaiterId>,
    /// True if the key stands among those that are ready.
    is_ready: bool,
}

/// One waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    /// Its place: who came earlier has a lower one.
    pub(crate) arrival: u64,
    /// When it was last heard of, or suspended.
    pub(crate) seen: UnixMillis,
    /// True while it is passed over.
    pub(crate) is_suspended: bool,
    /// The database of its keys.
    pub(crate) database: DatabaseId,
    /// What its command is.
    pub(crate) kind: WaitCommand,
    /// How its answer is to be written.
    pub(crate) protocol: Protocol,
    /// Its command, as a request.
    pub(crate) command: Box<[u8]>,
    /// What it waits for.
    pub(crate) keys: BTreeSet<Box<[u8]>>,
}

/// What a waiter was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: WaiterId,
    pub(crate) at: UnixMillis,
    pub(crate) reply: Box<[u8]>,
}

impl Waiters {
    /// True if nobody waits: then no change of a key concerns anybody.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// True if one more with a command of so many bytes may wait.
    pub(crate) fn has_room(&self, command_bytes: usize) -> bool {
        self.waiters.len() < WAITERS_MAX && self.waiting_bytes + command_bytes <= WAITING_BYTES_MAX
    }

    /// The place of the next one who comes.
    pub(crate) const fn next_arrival(&self) -> u64 {
        self.next_arrival
    }

    /// True if somebody has this waiter's place already.
    pub(crate) fn is_taken(&self, waiter: &Waiter) -> bool {
        let has_place = |queue: &Queue| queue.places.contains_key(&waiter.arrival);
        let keys = waiter.keys.iter().map(|key| (waiter.database, key.clone()));
        keys.into_iter().any(|key| self.queues.get(&key).is_some_and(has_place))
    }

    /// Says who is next, behind all who wait; false if that cannot be.
    pub(crate) fn set_next_arrival(&mut self, arrival: u64) -> bool {
        let is_sound = arrival >= self.next_arrival && !self.waiters.is_empty();
        self.next_arrival = self.next_arrival.max(arrival);
        is_sound
    }

    /// Puts a waiter into its place, which no other one has.
    pub(crate) fn add(&mut self, id: WaiterId, waiter: Waiter) {
        for key in &waiter.keys {
            let key = (waiter.database, key.clone());
            self.queues.entry(key).or_default().places.insert(waiter.arrival, id);
        }
        self.by_age.insert((waiter.seen, id));
        self.count_awake(id, false, !waiter.is_suspended);
        self.waiting_bytes += waiter.command.len();
        self.next_arrival = self.next_arrival.max(waiter.arrival + 1);
        self.waiters.insert(id, waiter);
    }

    /// Takes a waiter out (INV-B1).
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.by_age.remove(&(waiter.seen, id));
        self.count_awake(id, !waiter.is_suspended, false);
        self.waiting_bytes -= waiter.command.len();
        for key in &waiter.keys {
            let key = (waiter.database, key.clone());
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.places.remove(&waiter.arrival);
                if queue.places.is_empty() {
                    self.queues.remove(&key);
                }
            }
        }
        if self.waiters.is_empty() {
            // A store loaded from a dump without waiters begins anew, too.
            self.next_arrival = 0;
        }
        Some(waiter)
    }

    /// Notes that `key` may serve somebody, if anybody waits for it.
    pub(crate) fn signal(&mut self, key: Key) {
        if let Some(queue) = self.queues.get_mut(&key)
            && !std::mem::replace(&mut queue.is_ready, true)
        {
            self.ready.push_back(key);
        }
    }

    /// True if there is a key whose waiters are to be tried.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many such keys there are.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Forgets all but the first so many: what made the others ready was taken back.
    pub(crate) fn forget_ready(&mut self, kept: usize) {
        for key in self.ready.split_off(kept.min(self.ready.len())) {
            if let Some(queue) = self.queues.get_mut(&key) {
                queue.is_ready = false;
            }
        }
    }

    /// The next key that may serve somebody. From here on a change makes it ready again.
    pub(crate) fn take_ready(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.is_ready = false;
        }
        Some(key)
    }

    /// The first who waits for `key` from a place on, and its place.
    pub(crate) fn first_from(&self, key: &Key, place: u64) -> Option<(u64, WaiterId)> {
        let (arrival, id) = self.queues.get(key)?.places.range(place..).next()?;
        Some((*arrival, *id))
    }

    /// The waiter, if it may be served.
    pub(crate) fn awake(&self, id: WaiterId) -> Option<&Waiter> {
        self.waiters.get(&id).filter(|waiter| !waiter.is_suspended)
    }

    /// Keeps what a waiter was told, for its node to ask for if it did not hear it.
    pub(crate) fn keep_answer(&mut self, answer: Answer) {
        self.answer_bytes += answer.reply.len();
        self.answers.push_back(answer);
        while self.answers.len() > ANSWERS_MAX || self.answer_bytes > ANSWER_BYTES_MAX {
            self.drop_oldest_answer();
        }
    }

    fn drop_oldest_answer(&mut self) {
        if let Some(oldest) = self.answers.pop_front() {
            self.answer_bytes -= oldest.reply.len();
        }
    }

    /// What became of a waiter.
    pub(crate) fn fate(&self, id: WaiterId) -> Fate {
        if self.waiters.contains_key(&id) {
            return Fate::Waits;
        }
        let answer = self.answers.iter().rev().find(|answer| answer.id == id);
        answer.map_or(Fate::Unknown, |answer| Fate::Served(answer.reply.to_vec()))
    }

    /// Notes a sign of life; one who was suspended may be served again, and its keys are looked at.
    pub(crate) fn confirm(&mut self, id: WaiterId, now: UnixMillis) {
        let Some(was_suspended) = self.mark(id, now, false) else { return };
        if was_suspended {
            let Some(Waiter { database, keys, .. }) = self.waiters.get(&id).cloned() else {
                return;
            };
            keys.into_iter().for_each(|key| self.signal((database, key)));
        }
    }

    /// Has all waiters passed over for whom `is_gone` says that nobody speaks any more.
    pub(crate) fn suspend(&mut self, now: UnixMillis, is_gone: impl Fn(&WaiterId) -> bool) {
        let awake = self.waiters.iter().filter(|(_, waiter)| !waiter.is_suspended);
        let gone: Vec<WaiterId> = awake.map(|(id, _)| *id).filter(|id| is_gone(id)).collect();
        for id in gone {
            self.mark(id, now, true);
        }
    }

    /// Sets how a waiter stands; how it stood, or `None` if there is none.
    fn mark(&mut self, id: WaiterId, now: UnixMillis, is_suspended: bool) -> Option<bool> {
        let waiter = self.waiters.get_mut(&id)?;
        self.by_age.remove(&(waiter.seen, id));
        self.by_age.insert((now, id));
        waiter.seen = now;
        let was_suspended = std::mem::replace(&mut waiter.is_suspended, is_suspended);
        self.count_awake(id, !was_suspended, !is_suspended);
        Some(was_suspended)
    }

    fn count_awake(&mut self, id: WaiterId, was_awake: bool, is_awake: bool) {
        let home = (id.home, id.life);
        let count = self.awake.entry(home).or_default();
        *count = *count + usize::from(is_awake) - usize::from(was_awake);
        if *count == 0 {
            self.awake.remove(&home);
        }
    }

    /// The nodes, and their lives, of which somebody may be served.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.awake.keys().copied()
    }

    /// Suspends who was not heard of for too long, forgets who was suspended for as long, and drops answers as old;
    /// returns how many of all.
    pub(crate) fn remove_old(&mut self, now: UnixMillis, limit: usize) -> usize {
        let is_old = |at: UnixMillis| at.0.saturating_add(SILENCE_MS_MAX) <= now.0;
        let mut count = 0;
        while count < limit
            && let Some(&(seen, id)) = self.by_age.first()
            && is_old(seen)
        {
            // One who is only suspended now has another minute to be heard of.
            if self.waiters.get(&id).is_some_and(|waiter| waiter.is_suspended) {
                self.remove(id);
            } else {
                self.mark(id, now, true);
            }
            count += 1;
        }
        while count < limit && self.answers.front().is_some_and(|answer| is_old(answer.at)) {
            self.drop_oldest_answer();
            count += 1;
        }
        count
    }

    /// When [`remove_old`](Self::remove_old) will have something to do.
    pub(crate) fn next_expiry(&self) -> Option<UnixMillis> {
        let oldest = self.by_age.first().map(|(seen, _)| *seen);
        let answer = self.answers.front().map(|answer| answer.at);
        let first = oldest.into_iter().chain(answer).min()?;
        Some(UnixMillis(first.0.saturating_add(SILENCE_MS_MAX)))
    }

    /// The keys that somebody waits for.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.queues.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WaiterId, &Waiter)> {
        self.waiters.iter().map(|(id, waiter)| (*id, waiter))
    }

    /// Answers that are kept, the oldest first.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Panics if INV-B1 or INV-B2 does not hold; walks over everything.
    #[cfg(debug_assertions)]
    pub(crate) fn check(&self) {
        let places: usize = self.queues.values().map(|queue| queue.places.len()).sum();
        let wanted: usize = self.waiters.values().map(|waiter| waiter.keys.len()).sum();
        assert_eq!(places, wanted, "INV-B1: places in queues, and keys waited for");
        assert!(self.ready.is_empty(), "INV-B2: a key is left ready: {:?}", self.ready);
        assert_eq!(self.by_age.len(), self.waiters.len(), "INV-B1: every waiter has its age");
    }
}
