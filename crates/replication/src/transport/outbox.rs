//! Sending to peers from any thread.
//!
//! Owns: [`Outbox`], the list of peers and this node's own identity towards them. Never: blocks,
//! dials, reads; [`serve`](super::serve) keeps the connections behind it. Used by workers (Raft
//! messages), by forwarding, by whoever learns who the peers are.
//!
//! An outbox outlives the thread that serves it: when that falls and is restarted, the peers are
//! still known, with no connection and nothing queued.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keystead_types::{Clock, Monotonic, NodeId};
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::Timing;
use super::frame::{FrameBatch, FrameKind};
use super::hello::{Hello, Purpose, Welcome};
use super::peer::{Peer, PeerStats};

/// Most peers a node knows; past it a caller's address is not learned.
pub const PEERS_MAX: usize = 1024;

/// Who this node is towards its peers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its cluster, 0 if it has none yet.
    pub cluster: u64,
    /// Where peers call it, `host:port`.
    pub address: String,
}

/// The sending side of the transport. Clones are the same outbox.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeId,
    address: String,
    cluster: AtomicU64,
    clock: Arc<dyn Clock>,
    timing: Timing,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// Rung when a peer needs a task.
    changed: Notify,
    is_closing: AtomicBool,
}

impl Outbox {
    /// An outbox that knows nobody yet.
    #[must_use]
    pub fn new(identity: Identity, clock: Arc<dyn Clock>, timing: Timing) -> Self {
        Self {
            inner: Arc::new(Inner {
                node: identity.node,
                address: identity.address,
                cluster: AtomicU64::new(identity.cluster),
                clock,
                timing,
                peers: RwLock::default(),
                changed: Notify::new(),
                is_closing: AtomicBool::new(false),
            }),
        }
    }

    /// Sends one frame. Never blocks.
    ///
    /// True if it was taken: it arrives, in order with others of its kind, unless the connection breaks, which
    /// [`Receive::peer_down`](super::Receive::peer_down) then tells. False if it was not: the peer
    /// is unknown or not connected, too much waits for it, or the payload is too long; nothing
    /// left this node.
    pub fn send(&self, peer: NodeId, kind: FrameKind, payload: &[u8]) -> bool {
        self.send_with(peer, kind, |out| out.extend_from_slice(payload))
    }

    /// As [`send`](Self::send); `fill` appends the payload where it is sent from. It is not called
    /// if the peer is not connected.
    pub fn send_with(
        &self,
        peer: NodeId,
        kind: FrameKind,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(peer) = self.peer(peer).filter(|peer| peer.is_connected()) else {
            return false;
        };
        let mut batch = FrameBatch::new();
        batch.push_with(kind, fill) && peer.send(batch.as_bytes(), 1)
    }

    /// Sends the frames of a batch in one write, with the promise of [`send`](Self::send); false if one of them was not
    /// taken. Of frames of one kind other than Raft's all are taken, or none. The batch is left as it was.
    pub fn send_all(&self, peer: NodeId, batch: &FrameBatch) -> bool {
        batch.is_empty()
            || self.peer(peer).is_some_and(|peer| peer.send(batch.as_bytes(), batch.frames()))
    }

    /// Makes a peer known, or changes where it is dialed. A connection that stands is kept.
    ///
    /// # Panics
    /// If the peer is nobody or this node itself.
    pub fn set_peer(&self, peer: NodeId, address: &str) {
        assert!(
            peer != NodeId::NONE && peer != self.inner.node,
            "{peer} cannot be a peer of itself"
        );
        let mut peers = self.inner.peers.write();
        if let Some(known) = peers.get(&peer) {
            if known.set_address(address) {
                tracing::info!(%peer, address, "peer has a new address");
            }
            return;
        }
        peers.insert(peer, Arc::new(Peer::new(peer, address.to_owned())));
        drop(peers);
        self.inner.changed.notify_one();
    }

    /// Forgets a peer and closes the connection to it; what waited for it is lost.
    pub fn remove_peer(&self, peer: NodeId) {
        let removed = self.inner.peers.write().remove(&peer);
        if let Some(peer) = removed {
            peer.remove();
        }
    }

    /// True if frames to this peer are taken now.
    #[must_use]
    pub fn is_connected(&self, peer: NodeId) -> bool {
        self.peer(peer).is_some_and(|peer| peer.is_connected())
    }

    /// Bytes that wait to be sent to this peer; `None` if it is unknown or not connected.
    #[must_use]
    pub fn backlog(&self, peer: NodeId) -> Option<usize> {
        self.peer(peer)?.backlog()
    }

    /// When anything last came from this peer, on either connection.
    #[must_use]
    pub fn last_heard(&self, peer: NodeId) -> Option<Monotonic> {
        self.peer(peer).and_then(|peer| peer.heard_at())
    }

    /// Figures of every known peer, by id.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        self.inner.peers.read().values().map(|peer| peer.stats()).collect()
    }

    /// The cluster this node has joined or founded. Connections made before stay.
    pub fn set_cluster(&self, cluster: u64) {
        self.inner.cluster.store(cluster, Ordering::SeqCst);
    }

    /// What this node says when it calls somebody.
    #[must_use]
    pub fn hello(&self, purpose: Purpose, receiver: NodeId) -> Hello {
        Hello {
            purpose,
            cluster: self.inner.cluster.load(Ordering::SeqCst),
            sender: self.inner.node,
            receiver,
            address: self.inner.address.clone(),
        }
    }

    /// What this node answers when it is called.
    #[must_use]
    pub fn welcome(&self) -> Welcome {
        Welcome { cluster: self.inner.cluster.load(Ordering::SeqCst), node: self.inner.node }
    }

    /// A caller said where it lives. That is newer than what is known: it may have moved, or be
    /// a node whose coming this one has not heard of yet, and to which it must answer.
    pub(super) fn learn(&self, hello: &Hello, from: IpAddr) {
        if hello.sender == NodeId::NONE || hello.address.is_empty() {
            return;
        }
        if self.peer(hello.sender).is_none() && self.inner.peers.read().len() >= PEERS_MAX {
            return;
        }
        self.set_peer(hello.sender, &reachable(&hello.address, from));
        if let Some(peer) = self.peer(hello.sender) {
            // It is up: no reason to wait for the end of a pause.
            peer.dial_now_if_down();
        }
    }

    pub(super) fn peer(&self, peer: NodeId) -> Option<Arc<Peer>> {
        self.inner.peers.read().get(&peer).cloned()
    }

    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        self.inner.peers.read().values().cloned().collect()
    }

    /// Returns when a peer may need a task. Cancel safe.
    pub(super) async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    pub(super) fn ring(&self) {
        self.inner.changed.notify_one();
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.inner.timing
    }

    pub(super) fn now(&self) -> Monotonic {
        self.inner.clock.monotonic_now()
    }

    pub(super) fn set_closing(&self, is_closing: bool) {
        self.inner.is_closing.store(is_closing, Ordering::SeqCst);
        if is_closing {
            self.peers().iter().for_each(|peer| peer.wake());
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.inner.is_closing.load(Ordering::SeqCst)
    }
}

/// A node that listens everywhere may say so (`0.0.0.0:17379`); it is dialed where it came from.
fn reachable(address: &str, from: IpAddr) -> String {
    match address.parse::<SocketAddr>() {
        Ok(said) if said.ip().is_unspecified() => {
            SocketAddr::new(from.to_canonical(), said.port()).to_string()
        }
        _ => address.to_owned(),
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("node", &self.inner.node)
            .field("peers", &self.inner.peers.read().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_dialed_where_it_came_from() {
        let from = "10.1.2.3".parse().unwrap();
        assert_eq!(reachable("0.0.0.0:17379", from), "10.1.2.3:17379");
        assert_eq!(reachable("[::]:17379", from), "10.1.2.3:17379");
        assert_eq!(reachable("10.9.9.9:17379", from), "10.9.9.9:17379");
        assert_eq!(reachable("db-1:17379", from), "db-1:17379");
    }
}
