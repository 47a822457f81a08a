//! Who is connected, across all io threads: what CLIENT LIST shows and CLIENT KILL reaches.
//!
//! Owns: one [`Client`] per connection, shared between its thread and whoever asks. Never: a socket.
//! A command costs its connection two relaxed stores here; names and labels stand behind a lock that
//! only CLIENT takes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::task::Waker;

use keystead_node::pubsub::{Content, Delivery, Inbox, Listener};
use parking_lot::Mutex;

/// All connections of the node.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    /// Connections accepted and not yet closed.
    open: AtomicUsize,
}

/// What others may know of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Unique on this node and growing, never reused.
    pub(crate) id: u64,
    /// The client's end; `None` where the stream has no address.
    pub(crate) peer: Option<SocketAddr>,
    /// This node's end.
    pub(crate) local: Option<SocketAddr>,
    /// Seconds of the gateway's clock at which it connected.
    pub(crate) connected_at_s: u32,
    /// Seconds of the gateway's clock at which it last sent a command.
    pub(crate) active_at_s: AtomicU32,
    /// Position in the command table of its last command, or [`NO_COMMAND`].
    pub(crate) last_command: AtomicU16,
    /// The database that it works on.
    pub(crate) database: AtomicU16,
    /// See [`flag`].
    pub(crate) flags: AtomicU16,
    /// Commands queued in MULTI plus one; 0 outside of a transaction.
    pub(crate) queued_plus_one: AtomicU32,
    /// Channels, patterns and sharded channels that it listens to.
    pub(crate) subscriptions: [AtomicU32; 3],
    /// Bytes received and not yet executed.
    pub(crate) input_bytes: AtomicU32,
    /// Bytes of replies not yet sent.
    pub(crate) output_bytes: AtomicU32,
    /// The connection that is told in its place what it caches in vain (`CLIENT TRACKING ... REDIRECT`); 0: itself.
    pub(crate) redirect: AtomicU64,
    /// Where messages for it go, and where its thread keeps it.
    place: (Arc<Inbox>, u32),
    /// See [`waiting`].
    waiting: AtomicU8,
    labels: Mutex<Labels>,
    is_killed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Bits of [`Client::flags`].
pub(crate) mod flag {
    /// It speaks RESP3.
    pub(crate) const RESP3: u16 = 1;
    /// `CLIENT NO-EVICT ON`.
    pub(crate) const NO_EVICT: u16 = 2;
    /// `CLIENT NO-TOUCH ON`.
    pub(crate) const NO_TOUCH: u16 = 4;
    /// It sent READONLY.
    pub(crate) const READONLY: u16 = 8;
    /// It has watched keys.
    pub(crate) const WATCHING: u16 = 16;
    /// `CLIENT TRACKING ON`.
    pub(crate) const TRACKING: u16 = 32;
    /// The same with BCAST.
    pub(crate) const BROADCAST: u16 = 64;
    /// The connection that it redirects to is gone.
    pub(crate) const BROKEN_REDIRECT: u16 = 128;
    /// It is shown commands (MONITOR).
    pub(crate) const MONITOR: u16 = 256;
}

/// How a client stands to waiting.
mod waiting {
    /// It does not wait.
    pub(super) const NOT: u8 = 0;
    /// It waits for a key.
    pub(super) const WAITS: u8 = 1;
    /// Another client wants its wait to end as if its time were over.
    pub(super) const ASKED_TO_END: u8 = 2;
    /// Another client wants its wait to end with an error.
    pub(super) const ASKED_TO_FAIL: u8 = 3;
}

/// How CLIENT UNBLOCK wants a wait to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unblock {
    /// As if its time were over.
    Timeout,
    /// With an error.
    Error,
}

/// [`Client::last_command`] before the first command.
pub(crate) const NO_COMMAND: u16 = u16::MAX;

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) name: Box<[u8]>,
    pub(crate) library: Box<[u8]>,
    pub(crate) library_version: Box<[u8]>,
}

/// Counts one accepted connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    registry: Arc<Registry>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.registry.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A registered connection; it leaves the registry when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    client: Arc<Client>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.clients.lock().remove(&self.client.id);
    }
}

impl Registration {
    /// The connection's entry.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Its name to whoever tells it something; `slot` is where its thread keeps it.
    pub(crate) fn listener(&self, slot: u32) -> Listener {
        Listener { slot, client: self.client.id }
    }
}

impl Registry {
    /// Leave to open one more connection, unless `connections_max` are open.
    pub(crate) fn permit(self: &Arc<Self>, connections_max: usize) -> Option<Permit> {
        let admitted = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
            (open < connections_max).then_some(open + 1)
        });
        admitted.is_ok().then(|| Permit { registry: Arc::clone(self) })
    }

    /// Enters a connection that its thread keeps at `place`.
    pub(crate) fn register(
        self: &Arc<Self>,
        ends: Ends,
        place: (Arc<Inbox>, u32),
        now_s: u32,
    ) -> Registration {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client {
            id,
            peer: ends.peer,
            local: ends.local,
            connected_at_s: now_s,
            active_at_s: AtomicU32::new(now_s),
            last_command: AtomicU16::new(NO_COMMAND),
            database: AtomicU16::new(0),
            flags: AtomicU16::new(0),
            queued_plus_one: AtomicU32::new(0),
            subscriptions: Default::default(),
            redirect: AtomicU64::new(0),
            place,
            input_bytes: AtomicU32::new(0),
            output_bytes: AtomicU32::new(0),
            waiting: AtomicU8::new(waiting::NOT),
            labels: Mutex::default(),
            is_killed: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        self.clients.lock().insert(id, Arc::clone(&client));
        Registration { registry: Arc::clone(self), client }
    }

    /// All connections, by id.
    pub(crate) fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// The connection with this id.
    pub(crate) fn client(&self, id: u64) -> Option<Arc<Client>> {
        self.clients.lock().get(&id).cloned()
    }

    /// True if there is a connection with this id.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.clients.lock().contains_key(&id)
    }

    /// Number of connections that wait for a key.
    pub(crate) fn waiting_count(&self) -> usize {
        self.clients.lock().values().filter(|client| client.is_waiting()).count()
    }

    /// Number of registered connections.
    pub(crate) fn len(&self) -> usize {
        self.clients.lock().len()
    }
}

/// The two addresses of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
}

impl Client {
    /// Notes that the connection executes the command at this position of the table.
    #[inline]
    pub(crate) fn note_command(&self, position: u16, now_s: u32) {
        self.last_command.store(position, Ordering::Relaxed);
        self.active_at_s.store(now_s, Ordering::Relaxed);
    }

    /// Sets or clears bits of [`flag`].
    pub(crate) fn set_flag(&self, flag: u16, is_set: bool) {
        if is_set {
            self.flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// True if any of these bits is set.
    pub(crate) fn has_flag(&self, flag: u16) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// True if it listens to channels; then it need not say anything to be alive.
    pub(crate) fn is_listening(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Tells it something.
    pub(crate) fn tell(&self, content: Content) {
        let (inbox, slot) = &self.place;
        inbox.put(Delivery { to: Listener { slot: *slot, client: self.id }, content });
    }

    /// What the client says of itself.
    pub(crate) fn labels(&self) -> Labels {
        self.labels.lock().clone()
    }

    /// Changes what the client says of itself.
    pub(crate) fn relabel(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut self.labels.lock());
    }

    /// Notes that the client waits for a key, or does not any more.
    pub(crate) fn set_waiting(&self, waits: bool) {
        let state = if waits { waiting::WAITS } else { waiting::NOT };
        self.waiting.store(state, Ordering::Release);
    }

    /// True while the client waits for a key; then it need not say anything to be alive.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != waiting::NOT
    }

    /// Has the client's wait ended by its thread; false if it does not wait, or is asked already.
    pub(crate) fn unblock(&self, how: Unblock) -> bool {
        let asked = match how {
            Unblock::Timeout => waiting::ASKED_TO_END,
            Unblock::Error => waiting::ASKED_TO_FAIL,
        };
        let order = (Ordering::AcqRel, Ordering::Relaxed);
        let swapped = self.waiting.compare_exchange(waiting::WAITS, asked, order.0, order.1);
        if swapped.is_ok()
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
        swapped.is_ok()
    }

    /// How somebody wants the client's wait to end, if somebody does.
    pub(crate) fn asked_to_unblock(&self) -> Option<Unblock> {
        match self.waiting.load(Ordering::Acquire) {
            waiting::ASKED_TO_END => Some(Unblock::Timeout),
            waiting::ASKED_TO_FAIL => Some(Unblock::Error),
            _ => None,
        }
    }

    /// Has the connection closed by its thread.
    pub(crate) fn kill(&self) {
        self.is_killed.store(true, Ordering::Release);
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// True once somebody asked for the connection to be closed.
    #[inline]
    pub(crate) fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Relaxed)
    }

    /// Says how the connection's task is woken. Called by that task, before it looks at
    /// [`is_killed`](Self::is_killed).
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }
}
