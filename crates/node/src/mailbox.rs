//! Where endings wait for the thread that asked.
//!
//! Owns: a bounded-by-what-was-asked queue per door, and the door's waker. Never: handles an ending.
//! Filled by workers and by the transport's thread; emptied by the door's own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use keystead_replication::{Completed, ReplyTo};
use keystead_types::NodeId;
use parking_lot::Mutex;

/// Every how manyth tick of a few milliseconds also wakes a door that has time: about twice a second.
const TICKS_PER_SLOW_ONE: u32 = 100;

/// Something that a door must see to.
pub(crate) enum Letter {
    /// A run ended on this node.
    Completed(Completed),
    /// A run that was forwarded ended: the reply's bytes.
    Forwarded { number: u32, reply: Bytes },
    /// A client that waits was served.
    Served { number: u32, reply: Bytes },
    /// The connection to a node broke: what was sent there and not answered is in doubt.
    PeerDown(NodeId),
}

/// See the module.
pub(crate) struct Mailbox {
    /// The door's number, part of the ids of forwarded runs.
    pub(crate) door: u32,
    letters: Mutex<Vec<Letter>>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// True while the door has something that must be looked at again after a while.
    wants_tick: AtomicBool,
    /// True while it has something that may be looked at seldom.
    wants_slow_tick: AtomicBool,
    /// Ticks since the last slow one.
    ticks: AtomicU32,
}

impl Mailbox {
    pub(crate) fn new(door: u32, wake: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self {
            door,
            letters: Mutex::default(),
            wake,
            wants_tick: AtomicBool::new(false),
            wants_slow_tick: AtomicBool::new(false),
            ticks: AtomicU32::new(0),
        })
    }

    pub(crate) fn put(&self, letter: Letter) {
        self.letters.lock().push(letter);
    }

    /// Takes all letters; `into` must be empty and gets them.
    pub(crate) fn take(&self, into: &mut Vec<Letter>) {
        std::mem::swap(&mut *self.letters.lock(), into);
    }

    pub(crate) fn ring(&self) {
        (self.wake)();
    }

    pub(crate) fn want_tick(&self, wants: bool) {
        self.wants_tick.store(wants, Ordering::Relaxed);
    }

    pub(crate) fn want_slow_tick(&self, wants: bool) {
        self.wants_slow_tick.store(wants, Ordering::Relaxed);
    }

    /// Wakes the door if it waits for time to pass.
    pub(crate) fn tick(&self) {
        let is_slow = self.wants_slow_tick.load(Ordering::Relaxed)
            && self.ticks.fetch_add(1, Ordering::Relaxed).is_multiple_of(TICKS_PER_SLOW_ONE);
        if is_slow || self.wants_tick.load(Ordering::Relaxed) {
            self.ring();
        }
    }
}

impl ReplyTo for Mailbox {
    fn deliver(&self, completed: Completed) {
        self.put(Letter::Completed(completed));
    }

    fn wake(&self) {
        self.ring();
    }
}
