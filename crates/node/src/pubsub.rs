//! Publish and subscribe over all nodes: who listens to which channel here, and the way of a message to the others.
//!
//! Owns: [`Bus`], the subscriptions of this node's connections, a bounded queue of messages per peer, an [`Inbox`] per
//! thread that serves connections. Never: a connection (see `gateway/subscriptions.rs`), a log: as in Redis a message
//! reaches who listens when it comes, at most once, and is kept by nobody.
//!
//! A message goes to every node of the cluster, as in Redis Cluster, whether or not somebody listens there: so a client
//! that has its subscription confirmed misses nothing that is published from then on, on whichever node.
//! Messages of one publisher arrive in their order: queues keep it, and so do the connections between nodes.
//!
//! ```text
//! PUBLISH -> publish -> inboxes of this node's threads -> connections
//!                    -> a queue per peer -> flush -> frames (kind PUBLISHED) -> take -> inboxes there
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keystead_replication::transport::{FrameBatch, FrameKind};
use keystead_store::glob_matches;
use keystead_types::NodeId;
use parking_lot::{Mutex, RwLock};

use crate::core::Post;
use crate::events::{EventFlags, EventSetting};
use crate::eviction::{Eviction, Limit, Stamped};
use crate::tracking::Tracking;

/// Bytes of messages that wait for one peer; past it the oldest are dropped: who comes late finds news, not history.
pub const PEER_MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes that may wait for a peer, messages or not, before messages to it wait here: what the cluster needs goes first.
const PEER_BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of messages that wait for one thread's connections; past it the connection that a message was for is closed,
/// like one that does not read.
pub const INBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// First byte of a frame that carries no message but which keyspace events are told.
const EVENT_SETTING: u8 = 2;
/// First byte of a frame that carries how much memory keys may take.
const LIMIT_SETTING: u8 = 3;
/// Deliveries that are looked at for one that says the same: enough for the connections of a thread that track.
const SAME_LOOKED_AT: usize = 64;
/// Bytes of messages sent to a peer in one write; a single one may be longer.
const BATCH_BYTES: usize = 256 * 1024;

/// What a client subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A channel (SUBSCRIBE).
    Channel,
    /// All channels whose name matches (PSUBSCRIBE).
    Pattern,
    /// A channel of the other kind, which lies in a slot (SSUBSCRIBE).
    Sharded,
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Publication {
    /// True for SPUBLISH.
    pub is_sharded: bool,
    /// Where it was published.
    pub channel: Box<[u8]>,
    /// What it says.
    pub message: Box<[u8]>,
}

/// A connection that subscribes: where its thread keeps it, and its number, which is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The thread's name for the connection.
    pub slot: u32,
    /// The client's number.
    pub client: u64,
}

/// Something on its way to one connection that did not ask for it just now.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For whom.
    pub to: Listener,
    /// What.
    pub content: Content,
}

/// What a connection is told.
#[derive(Clone, Debug)]
pub enum Content {
    /// A message of a publisher.
    Message {
        /// What was published.
        publication: Arc<Publication>,
        /// The pattern that matched, if that is why.
        pattern: Option<Arc<[u8]>>,
    },
    /// Copies that it may hold are of no use any more (see `tracking.rs`).
    Stale(Stale),
    /// The same about what another connection reads, which has it told here.
    StaleElsewhere(Stale),
}

/// The keys of which copies are of no use any more; `None`: all keys.
pub type Stale = Option<Arc<[Box<[u8]>]>>;

/// Where messages wait for the connections of one thread.
pub struct Inbox {
    state: Mutex<Waiting>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// What waits in an inbox.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Messages, in the order in which they came.
    pub deliveries: Vec<Delivery>,
    /// Connections for which a message found no room: to be closed.
    pub overrun: Vec<Listener>,
    bytes: usize,
}

impl Inbox {
    /// Takes everything that waits; `into` must be empty and gets it.
    pub fn take(&self, into: &mut Waiting) {
        std::mem::swap(&mut *self.state.lock(), into);
        into.bytes = 0;
    }

    /// Takes what waits for one connection, in the order in which it came.
    pub fn take_of(&self, listener: Listener) -> Vec<Delivery> {
        let mut state = self.state.lock();
        let taken: Vec<_> = state.deliveries.extract_if(.., |it| it.to == listener).collect();
        state.bytes -= taken.iter().map(Delivery::bytes).sum::<usize>();
        taken
    }

    /// Adds something for a connection of this thread. One that finds no room has the connection closed.
    pub fn put(&self, delivery: Delivery) {
        let mut state = self.state.lock();
        if state.has_it_coming(&delivery) {
            return;
        }
        let bytes = delivery.bytes();
        if state.bytes > 0 && state.bytes + bytes > INBOX_BYTES_MAX {
            if !state.overrun.contains(&delivery.to) {
                state.overrun.push(delivery.to);
            }
        } else {
            state.bytes += bytes;
            state.deliveries.push(delivery);
        }
        drop(state);
        (self.wake)();
    }
}

impl Waiting {
    /// True if the connection is about to be told to drop everything, and this says the same. The shards of one
    /// FLUSHALL say it one after the other.
    fn has_it_coming(&self, delivery: &Delivery) -> bool {
        let says_all = |it: &Delivery| matches!(it.content, Content::Stale(None));
        let latest = self.deliveries.iter().rev().take(SAME_LOOKED_AT);
        says_all(delivery) && latest.clone().find(|it| it.to == delivery.to).is_some_and(says_all)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Delivery {
    fn bytes(&self) -> usize {
        let own = match &self.content {
            Content::Message { publication, .. } => publication.bytes(),
            Content::Stale(keys) | Content::StaleElsewhere(keys) => {
                keys.iter().flat_map(|keys| keys.iter()).map(|key| key.len()).sum()
            }
        };
        own + size_of::<Self>()
    }
}

impl Publication {
    fn bytes(&self) -> usize {
        self.channel.len() + self.message.len()
    }

    /// As it goes to peers: a byte that says the kind, the channel's length (u32 LE), channel, message.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_sharded));
        let length =
            u32::try_from(self.channel.len()).expect("a bulk string is shorter than 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.channel);
        out.extend_from_slice(&self.message);
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (kind, rest) = payload.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (channel, message) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let is_sharded = match kind {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { is_sharded, channel: channel.into(), message: message.into() })
    }
}

/// Figures of a bus since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Distinct channels, patterns and sharded channels that somebody here subscribes to.
    pub topics: [usize; 3],
    /// Messages that were not sent to a peer: it was not connected, or took them too slowly.
    pub dropped_to_peers: u64,
}

/// See the module.
#[derive(Default)]
pub struct Bus {
    topics: RwLock<Topics>,
    peers: Mutex<BTreeMap<NodeId, Outgoing>>,
    has_outgoing: AtomicBool,
    post: Option<Arc<dyn Post>>,
    dropped: AtomicU64,
    events: EventSetting,
    tracking: Tracking,
    eviction: Eviction,
}

#[derive(Default)]
struct Topics {
    channels: BTreeMap<Arc<[u8]>, Vec<Subscriber>>,
    patterns: BTreeMap<Arc<[u8]>, Vec<Subscriber>>,
    sharded: BTreeMap<Arc<[u8]>, Vec<Subscriber>>,
}

#[derive(Clone)]
struct Subscriber {
    inbox: Arc<Inbox>,
    listener: Listener,
}

/// Messages that wait for a peer.
#[derive(Default)]
struct Outgoing {
    queue: VecDeque<Arc<Publication>>,
    bytes: usize,
}

impl Topics {
    const fn of(&mut self, topic: Topic) -> &mut BTreeMap<Arc<[u8]>, Vec<Subscriber>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Sharded => &mut self.sharded,
        }
    }

    const fn look(&self, topic: Topic) -> &BTreeMap<Arc<[u8]>, Vec<Subscriber>> {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::Sharded => &self.sharded,
        }
    }
}

impl Bus {
    /// A bus of a node that sends to its peers through `post`; the default one has no peers.
    pub(crate) fn new(post: Arc<dyn Post>) -> Arc<Self> {
        Arc::new(Self { post: Some(post), ..Self::default() })
    }

    /// An inbox for a thread; `wake` is called, on any thread, when something lies in it.
    pub fn open_inbox(&self, wake: impl Fn() + Send + Sync + 'static) -> Arc<Inbox> {
        Arc::new(Inbox { state: Mutex::default(), wake: Box::new(wake) })
    }

    /// Messages under `name` go to this connection from now on. Not to be called twice for the same.
    pub fn subscribe(&self, topic: Topic, name: &[u8], inbox: &Arc<Inbox>, listener: Listener) {
        let subscriber = Subscriber { inbox: Arc::clone(inbox), listener };
        self.topics.write().of(topic).entry(name.into()).or_default().push(subscriber);
    }

    /// They do not any more. What is on its way to the connection may still come.
    pub fn unsubscribe(&self, topic: Topic, name: &[u8], inbox: &Arc<Inbox>, listener: Listener) {
        let mut topics = self.topics.write();
        let names = topics.of(topic);
        let Some(subscribers) = names.get_mut(name) else { return };
        subscribers.retain(|it| it.listener != listener || !Arc::ptr_eq(&it.inbox, inbox));
        if subscribers.is_empty() {
            names.remove(name);
        }
    }

    /// Sends a message to everybody who listens, on this node at once, on others with the next [`flush`](Self::flush);
    /// how many listen on this node.
    pub fn publish(&self, is_sharded: bool, channel: &[u8], message: &[u8]) -> usize {
        let publication =
            Arc::new(Publication { is_sharded, channel: channel.into(), message: message.into() });
        let receivers = self.deliver(&publication);
        self.queue(&publication);
        receivers
    }

    /// Sends what waits for peers, as far as they take it; messages to one that is not connected are dropped.
    pub fn flush(&self) {
        if !self.has_outgoing.load(Ordering::Acquire) {
            return;
        }
        let Some(post) = &self.post else { return };
        // ORDER: sent under the lock, so that two threads that flush do not overtake each other.
        let mut peers = self.peers.lock();
        self.has_outgoing.store(false, Ordering::Release);
        for (peer, outgoing) in &mut *peers {
            self.send(&**post, *peer, outgoing);
            if !outgoing.queue.is_empty() {
                self.has_outgoing.store(true, Ordering::Release);
            }
        }
    }

    /// The other nodes of the cluster.
    pub(crate) fn set_peers(&self, nodes: impl Iterator<Item = NodeId>) {
        let mut peers = self.peers.lock();
        let mut old = std::mem::take(&mut *peers);
        *peers = nodes.map(|node| (node, old.remove(&node).unwrap_or_default())).collect();
    }

    /// Who caches which keys on this node's word.
    #[must_use]
    pub fn tracking(&self) -> &Tracking {
        &self.tracking
    }

    /// How much memory keys may take, and do.
    #[must_use]
    pub fn eviction(&self) -> &Eviction {
        &self.eviction
    }

    /// Changes how much memory keys may take, on every node; others hear of it at once, or when they are reached again.
    pub fn set_limit(&self, limit: Limit, now_ms: u64) {
        self.eviction.change(limit, now_ms);
        let peers: Vec<NodeId> = self.peers.lock().keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_limit(peer));
    }

    fn tell_limit(&self, peer: NodeId) {
        let stamped = self.eviction.stamped();
        let Some(post) = self.post.as_ref().filter(|_| stamped.is_set()) else { return };
        let mut frames = FrameBatch::new();
        let is_fitting = frames.push_with(FrameKind::PUBLISHED, |out| {
            out.push(LIMIT_SETTING);
            stamped.write(out);
        });
        // A peer that cannot be reached is told when it can.
        let _is_taken = is_fitting && post.post(peer, &frames);
    }

    /// Which keyspace events the cluster tells, as this node knows it.
    pub fn event_flags(&self) -> EventFlags {
        self.events.flags()
    }

    /// Changes it for the whole cluster; other nodes hear of it at once, or when they are reached again.
    pub fn set_event_flags(&self, flags: EventFlags, now_ms: u64) {
        self.events.change(flags, now_ms);
        let peers: Vec<NodeId> = self.peers.lock().keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_setting(peer));
    }

    /// Tells a peer that was just reached what was set at run time.
    pub(crate) fn tell_settings(&self, peer: NodeId) {
        self.tell_setting(peer);
        self.tell_limit(peer);
    }

    fn tell_setting(&self, peer: NodeId) {
        let stamped = self.events.stamped();
        let Some(post) = self.post.as_ref().filter(|_| stamped != 0) else { return };
        let mut frames = FrameBatch::new();
        let is_fitting = frames.push_with(FrameKind::PUBLISHED, |out| {
            out.push(EVENT_SETTING);
            out.extend_from_slice(&stamped.to_le_bytes());
        });
        // A peer that cannot be reached is told when it can.
        let _is_taken = is_fitting && post.post(peer, &frames);
    }

    /// A peer sent a message.
    pub(crate) fn take(&self, from: NodeId, payload: &[u8]) {
        if let [EVENT_SETTING, stamped @ ..] = payload
            && let Ok(stamped) = stamped.try_into()
        {
            return self.events.hear(u64::from_le_bytes(stamped));
        }
        if let [LIMIT_SETTING, stamped @ ..] = payload
            && let Some(stamped) = Stamped::read(stamped)
        {
            return self.eviction.hear(stamped);
        }
        match Publication::read(payload) {
            Some(publication) => {
                self.deliver(&Arc::new(publication));
            }
            None => tracing::error!(%from, "a peer sent a publication that is none"),
        }
    }

    /// Names that somebody here subscribes to, those that match if there is a pattern.
    pub fn names(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let topics = self.topics.read();
        let is_meant = |name: &&Arc<[u8]>| pattern.is_none_or(|it| glob_matches(it, name));
        topics.look(topic).keys().filter(is_meant).cloned().collect()
    }

    /// Connections here that subscribe to exactly this.
    pub fn subscribers(&self, topic: Topic, name: &[u8]) -> usize {
        self.topics.read().look(topic).get(name).map_or(0, Vec::len)
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let topics = self.topics.read();
        BusStats {
            topics: [topics.channels.len(), topics.patterns.len(), topics.sharded.len()],
            dropped_to_peers: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Hands a message to the connections here; how many.
    fn deliver(&self, publication: &Arc<Publication>) -> usize {
        let topics = self.topics.read();
        let mut count = 0;
        let mut put = |subscribers: &[Subscriber], pattern: Option<&Arc<[u8]>>| {
            count += subscribers.len();
            for Subscriber { inbox, listener } in subscribers {
                let publication = Arc::clone(publication);
                let content = Content::Message { publication, pattern: pattern.cloned() };
                inbox.put(Delivery { to: *listener, content });
            }
        };
        let plain = if publication.is_sharded { &topics.sharded } else { &topics.channels };
        if let Some(subscribers) = plain.get(&*publication.channel) {
            put(subscribers, None);
        }
        if !publication.is_sharded {
            for (pattern, subscribers) in &topics.patterns {
                if glob_matches(pattern, &publication.channel) {
                    put(subscribers, Some(pattern));
                }
            }
        }
        count
    }

    fn queue(&self, publication: &Arc<Publication>) {
        let mut peers = self.peers.lock();
        for outgoing in peers.values_mut() {
            outgoing.bytes += publication.bytes();
            outgoing.queue.push_back(Arc::clone(publication));
            while outgoing.bytes > PEER_MESSAGE_BYTES_MAX && outgoing.queue.len() > 1 {
                let oldest = outgoing.queue.pop_front().expect("there are two at least");
                outgoing.bytes -= oldest.bytes();
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if !peers.is_empty() {
            self.has_outgoing.store(true, Ordering::Release);
        }
    }

    fn send(&self, post: &dyn Post, peer: NodeId, outgoing: &mut Outgoing) {
        while !outgoing.queue.is_empty() {
            match post.backlog(peer) {
                None => return self.drop_all(outgoing),
                Some(bytes) if bytes > PEER_BACKLOG_BYTES_MAX => return,
                Some(_) => {}
            }
            let mut frames = FrameBatch::new();
            while frames.as_bytes().len() < BATCH_BYTES
                && let Some(publication) = outgoing.queue.pop_front()
            {
                outgoing.bytes -= publication.bytes();
                if !frames.push_with(FrameKind::PUBLISHED, |out| publication.write(out)) {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
            if !frames.is_empty() && !post.post(peer, &frames) {
                self.dropped.fetch_add(frames.frames() as u64, Ordering::Relaxed);
            }
        }
    }

    fn drop_all(&self, outgoing: &mut Outgoing) {
        self.dropped.fetch_add(outgoing.queue.len() as u64, Ordering::Relaxed);
        *outgoing = Outgoing::default();
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A peer that takes nothing as long as it is behind.
    #[derive(Default)]
    struct Peer {
        backlog: Mutex<Option<usize>>,
        frames: AtomicU64,
    }

    impl Post for Peer {
        fn post(&self, _to: NodeId, frames: &FrameBatch) -> bool {
            self.frames.fetch_add(frames.frames() as u64, Ordering::Relaxed);
            true
        }

        fn backlog(&self, _to: NodeId) -> Option<usize> {
            *self.backlog.lock()
        }
    }

    fn bus_with_peer(backlog: Option<usize>) -> (Arc<Peer>, Arc<Bus>) {
        let peer = Arc::new(Peer { backlog: Mutex::new(backlog), ..Peer::default() });
        let bus = Bus::new(Arc::clone(&peer) as Arc<dyn Post>);
        bus.set_peers([NodeId(2)].into_iter());
        (peer, bus)
    }

    fn received(inbox: &Inbox) -> Vec<(u32, Option<String>, String)> {
        let mut waiting = Waiting::default();
        inbox.take(&mut waiting);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines = waiting.deliveries.iter().map(|it| match &it.content {
            Content::Message { publication, pattern } => {
                (it.to.slot, pattern.as_deref().map(text), text(&publication.message))
            }
            other => panic!("{other:?} is no message"),
        });
        lines.collect()
    }

    #[test]
    fn a_message_reaches_who_listens_channel_first_then_patterns() {
        let bus = Bus::default();
        let inbox = bus.open_inbox(|| {});
        let (one, two) = (Listener { slot: 1, client: 1 }, Listener { slot: 2, client: 2 });
        bus.subscribe(Topic::Pattern, b"n*", &inbox, one);
        bus.subscribe(Topic::Channel, b"news", &inbox, one);
        bus.subscribe(Topic::Channel, b"news", &inbox, two);
        bus.subscribe(Topic::Sharded, b"news", &inbox, two);
        assert_eq!(bus.publish(false, b"news", b"a"), 3);
        assert_eq!(bus.publish(true, b"news", b"b"), 1);
        let line = |slot, pattern: Option<&str>, text: &str| {
            (slot, pattern.map(str::to_owned), text.to_owned())
        };
        let expected = [line(1, None, "a"), line(2, None, "a"), line(1, Some("n*"), "a")];
        assert_eq!(received(&inbox), [&expected[..], &[line(2, None, "b")]].concat());
        bus.unsubscribe(Topic::Channel, b"news", &inbox, one);
        bus.unsubscribe(Topic::Channel, b"news", &inbox, two);
        assert_eq!(bus.publish(false, b"news", b"c"), 1);
        assert_eq!(bus.names(Topic::Channel, None), []);
    }

    #[test]
    fn a_slow_peer_loses_the_oldest_and_an_absent_one_everything() {
        let (peer, bus) = bus_with_peer(Some(usize::MAX));
        let message = vec![0; PEER_MESSAGE_BYTES_MAX / 4];
        (0..10).for_each(|_| {
            bus.publish(false, b"", &message);
        });
        bus.flush();
        assert_eq!((peer.frames.load(Ordering::Relaxed), bus.stats().dropped_to_peers), (0, 6));
        *peer.backlog.lock() = Some(0);
        bus.flush();
        assert_eq!((peer.frames.load(Ordering::Relaxed), bus.stats().dropped_to_peers), (4, 6));
        *peer.backlog.lock() = None;
        bus.publish(false, b"c", b"m");
        bus.flush();
        assert_eq!((peer.frames.load(Ordering::Relaxed), bus.stats().dropped_to_peers), (4, 7));
    }

    #[test]
    fn an_inbox_that_is_full_names_who_is_to_be_closed() {
        let bus = Bus::default();
        let inbox = bus.open_inbox(|| {});
        let listener = Listener { slot: 7, client: 9 };
        bus.subscribe(Topic::Channel, b"c", &inbox, listener);
        let message = vec![0; INBOX_BYTES_MAX / 2];
        (0..3).for_each(|_| {
            bus.publish(false, b"c", &message);
        });
        let mut waiting = Waiting::default();
        inbox.take(&mut waiting);
        assert_eq!((waiting.deliveries.len(), waiting.overrun), (1, vec![listener]));
    }

    #[test]
    fn any_bytes_of_a_peer_are_a_publication_or_none() {
        let publication =
            Publication { is_sharded: true, channel: b"ch"[..].into(), message: b"m"[..].into() };
        let mut bytes = Vec::new();
        publication.write(&mut bytes);
        assert_eq!(Publication::read(&bytes), Some(publication));
        for cut in 0..7 {
            assert_eq!(Publication::read(&bytes[..cut]), None, "{cut}");
        }
        bytes[0] = 2;
        assert_eq!(Publication::read(&bytes), None);
    }
}
