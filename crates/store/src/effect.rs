//! What applying a command leaves behind besides the new state and the reply.
//! Owns: [`Outcome`], [`Effect`] and the list in which they wait. Never: performs anything; the node does, and
//! asks beforehand for what it wants. Filled by `keyspace.rs` and, through [`Writer::notify`], by commands.
//!
//! Nothing here is part of the state: what is wanted differs from replica to replica, so no command may look at it.
//!
//! [`Writer::notify`]: crate::command::Writer::notify

use keystead_types::DatabaseId;

use crate::waiters::WaiterId;

/// What a command did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// True if the reply is an error; then nothing was changed but what had expired
    /// already, or what a script did before it failed.
    pub is_error: bool,
    /// True if EXEC found a watch dirty: nothing was run, the reply is the absent array.
    pub is_aborted: bool,
    /// Changes of keys, one per key and command, removals of expired ones included.
    pub changes: u64,
}

/// Something to be told to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A keyspace event.
    Event {
        /// What it is about.
        class: EventClass,
        /// As Redis names it.
        name: &'static str,
        /// The database in which it happened.
        database: DatabaseId,
        /// The key that it happened to.
        key: Box<[u8]>,
    },
    /// A message published inside a transaction.
    Publish {
        /// Where.
        channel: Box<[u8]>,
        /// What it says.
        message: Box<[u8]>,
        /// True for SPUBLISH.
        is_sharded: bool,
    },
    /// A client that waited was served.
    Served {
        /// Who.
        id: WaiterId,
        /// What it is told.
        reply: Box<[u8]>,
    },
    /// What a client may have cached of this key, in whichever database, is not so any more.
    Touched(Box<[u8]>),
    /// The same for every key.
    Cleared,
}

/// What a keyspace event is about; a client chooses classes by their letters (`notify-keyspace-events`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum EventClass {
    /// `g`: commands on keys of any kind (DEL, EXPIRE, RENAME ...).
    Generic = 1,
    /// `$`: strings, bitmaps included.
    String = 1 << 1,
    /// `l`: lists.
    List = 1 << 2,
    /// `s`: sets.
    Set = 1 << 3,
    /// `h`: hashes.
    Hash = 1 << 4,
    /// `z`: sorted sets.
    SortedSet = 1 << 5,
    /// `x`: keys removed because their time was up.
    Expired = 1 << 6,
    /// `e`: keys removed to make room.
    Evicted = 1 << 7,
    /// `t`: streams.
    Stream = 1 << 8,
    /// `d`: events of modules, of which there are none.
    Module = 1 << 9,
    /// `m`: keys that were looked for in vain; reads leave no effects, so it never comes.
    KeyMiss = 1 << 10,
    /// `n`: keys that were not there before.
    New = 1 << 11,
}

impl EventClass {
    /// Every class with its letter, in the order in which Redis prints them.
    pub const ALL: [(Self, char); 12] = [
        (Self::Generic, 'g'),
        (Self::String, '$'),
        (Self::List, 'l'),
        (Self::Set, 's'),
        (Self::Hash, 'h'),
        (Self::SortedSet, 'z'),
        (Self::Expired, 'x'),
        (Self::Evicted, 'e'),
        (Self::Stream, 't'),
        (Self::Module, 'd'),
        (Self::KeyMiss, 'm'),
        (Self::New, 'n'),
    ];

    /// The class as a bit of [`Wanted::classes`].
    #[must_use]
    pub const fn bit(self) -> u16 {
        self as u16
    }
}

/// Which effects a node wants to hear of; nothing unless it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Bits of [`EventClass`].
    pub classes: u16,
    /// Messages published by commands.
    pub has_messages: bool,
    /// Keys that changed.
    pub has_touches: bool,
    /// Clients that waited and were served.
    pub has_served: bool,
}

/// Effects since they were last taken; at most a few for every key that an entry touches.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Where what is told happens: the selected one.
    pub(crate) database: DatabaseId,
    wanted: Wanted,
    list: Vec<Effect>,
}

impl Effects {
    pub(crate) const fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
    }

    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.list)
    }

    pub(crate) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets those that came after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    #[inline]
    pub(crate) fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        if self.wanted.classes & class.bit() != 0 {
            let (database, key) = (self.database, key.into());
            self.list.push(Effect::Event { class, name, database, key });
        }
    }

    pub(crate) fn publish(&mut self, channel: &[u8], message: &[u8], is_sharded: bool) {
        if self.wanted.has_messages {
            let (channel, message) = (channel.into(), message.into());
            self.list.push(Effect::Publish { channel, message, is_sharded });
        }
    }

    pub(crate) fn served(&mut self, id: WaiterId, reply: &[u8]) {
        if self.wanted.has_served {
            self.list.push(Effect::Served { id, reply: reply.into() });
        }
    }

    #[inline]
    pub(crate) fn touched(&mut self, key: &[u8]) {
        if self.wanted.has_touches {
            self.list.push(Effect::Touched(key.into()));
        }
    }

    pub(crate) fn cleared(&mut self) {
        if self.wanted.has_touches && self.list.last() != Some(&Effect::Cleared) {
            self.list.push(Effect::Cleared);
        }
    }
}
