//! Where endings wait for the thread that asked.
//!
//! Owns: a bounded-by-what-was-asked queue per door, and the door's waker. Never: handles an ending.
//! Filled by workers and by the transport's thread; emptied by the door's own thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use keystead_replication::{Completed, ReplyTo};
use keystead_types::NodeId;
use parking_lot::Mutex;

/// Something that a door must see to.
pub(crate) enum Letter {
    /// A run ended on this node.
    Completed(Completed),
    /// A run that was forwarded ended: the reply's bytes.
    Forwarded { number: u32, reply: Bytes },
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
}

impl Mailbox {
    pub(crate) fn new(door: u32, wake: Arc<dyn Fn() + Send + Sync>) -> Arc<Self> {
        Arc::new(Self { door, letters: Mutex::default(), wake, wants_tick: AtomicBool::new(false) })
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

    /// Wakes the door if it waits for time to pass.
    pub(crate) fn tick(&self) {
        if self.wants_tick.load(Ordering::Relaxed) {
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
