//! What arrives from other nodes, handed to whom it is for.
//! Owns: the way from frames to workers, doors and the control plane. Never: blocks: it runs on the
//! transport's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use keystead_replication::transport::{FrameBatch, FrameKind, Outbox, Receive, Reply};
use keystead_replication::{Input, PeerMessage};
use keystead_types::{Clock, NodeId, UnixMillis};
use parking_lot::Mutex;

use crate::clock::AHEAD_MS_MAX;
use crate::control;
use crate::core::{Core, Post};
use crate::forward::{self, Answers, CallId};
use crate::mailbox::Letter;
use crate::node::Node;
use crate::served;

/// Frames through the outbox.
pub(crate) struct OutboxPost(pub(crate) Outbox);

impl Post for OutboxPost {
    fn post(&self, to: NodeId, frames: &FrameBatch) -> bool {
        self.0.send_all(to, frames)
    }

    fn backlog(&self, to: NodeId) -> Option<usize> {
        self.0.backlog(to)
    }
}

/// See the module.
pub(crate) struct Receiver {
    node: Arc<Node>,
    frames: Frames,
}

impl Receiver {
    pub(crate) fn new(node: Arc<Node>) -> Arc<Self> {
        let frames = Frames::new(Arc::clone(&node.core));
        Arc::new(Self { node, frames })
    }
}

/// Where frames go: needs no more of a node than its core.
pub(crate) struct Frames {
    core: Arc<Core>,
    /// The way back to each peer that has called.
    answers: Mutex<BTreeMap<NodeId, Arc<Answers>>>,
    /// Peers whose clock was found far ahead; each is reported once.
    doubted: Mutex<BTreeSet<NodeId>>,
}

impl Frames {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, answers: Mutex::default(), doubted: Mutex::default() }
    }

    fn answers_to(&self, peer: NodeId) -> Arc<Answers> {
        let mut answers = self.answers.lock();
        let way =
            answers.entry(peer).or_insert_with(|| Answers::new(peer, Arc::clone(&self.core.post)));
        Arc::clone(way)
    }

    fn heard_time(&self, from: NodeId, payload: &[u8]) {
        let Some(time) = payload.first_chunk::<8>() else { return };
        let is_believed = self.core.clock.hear(UnixMillis(u64::from_le_bytes(*time)));
        if !is_believed && self.doubted.lock().insert(from) {
            tracing::error!(peer = %from, ahead_ms_max = AHEAD_MS_MAX,
                "a node's clock is far ahead of this one's; expiry may differ after a failover: set the clocks (NTP)");
        }
    }

    fn forwarded(&self, reply: Bytes) {
        let Some(CallId { life, door, call }) = CallId::read(&reply) else { return };
        // What an earlier life of this node asked is nobody's answer now (INV-N6).
        if life != self.core.life {
            return;
        }
        if let Some(mailbox) = self.core.mailbox(door) {
            mailbox.put(Letter::Forwarded { number: call, reply });
            mailbox.ring();
        }
    }

    /// Hands frames of one read to whom they are for; leaves `frames` empty.
    pub(crate) fn take(&self, from: NodeId, frames: &mut Vec<(FrameKind, Bytes)>) {
        let workers = self.core.workers();
        let mut messages: Vec<Vec<PeerMessage>> = workers.iter().map(|_| Vec::new()).collect();
        let now = self.core.clock.monotonic_now();
        for (kind, payload) in frames.drain(..) {
            match kind {
                FrameKind::RAFT => match PeerMessage::decode(from, &payload) {
                    Ok(Some(message)) => {
                        messages[message.group().0 as usize % workers.len()].push(message)
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%from, %error, "a peer sent a message that is none")
                    }
                },
                FrameKind::FORWARD => {
                    let answers = self.answers_to(from);
                    if let Err(error) = forward::take_call(&self.core, &answers, payload, now) {
                        tracing::error!(%from, %error, "a forwarded run is left unanswered");
                    }
                }
                FrameKind::FORWARDED => self.forwarded(payload),
                FrameKind::PUBLISHED => self.core.bus.take(from, &payload),
                FrameKind::SERVED => served::take(&self.core, payload),
                FrameKind::CLOCK => self.heard_time(from, &payload),
                // Kinds of a later version are not for this one.
                _ => {}
            }
        }
        for (inbox, messages) in workers.iter().zip(messages) {
            if !messages.is_empty() {
                inbox.leave(Input::Messages(messages));
            }
        }
    }
}

impl Receive for Receiver {
    fn frames(&self, from: NodeId, frames: &mut Vec<(FrameKind, Bytes)>) {
        self.frames.take(from, frames);
    }

    /// This thread has nothing better to do than what the peers want.
    fn settle(&self) {
        self.node.core.drive();
    }

    fn peer_up(&self, peer: NodeId) {
        tracing::info!(%peer, "connected");
        self.node.core.peer_up(peer);
    }

    fn peer_down(&self, peer: NodeId) {
        tracing::info!(%peer, "connection lost");
        self.node.core.peer_down(peer);
    }

    fn call(&self, from: Option<NodeId>, request: Bytes) -> Reply {
        let node = Arc::clone(&self.node);
        Box::pin(async move {
            if let Some(reply) = node.serve_chunk(from, &request) {
                return reply;
            }
            control::answer(node, from, &request).await.to_bytes().into()
        })
    }
}

#[cfg(test)]
mod tests {
    use keystead_replication::{Doubt, Ending};
    use keystead_types::time::SystemClock;

    use super::*;
    use crate::clock::NodeClock;
    use crate::core::CoreSettings;
    use crate::forward::Answer;

    struct Nowhere;

    impl Post for Nowhere {
        fn post(&self, _to: NodeId, _frames: &FrameBatch) -> bool {
            false
        }
    }

    fn answer_to(life: u64, door: u32) -> (FrameKind, Bytes) {
        let mut bytes = Vec::new();
        let ending = Ending::Unknown(Doubt::Deadline);
        Answer::write(CallId { life, door, call: 1 }, &ending, &mut bytes);
        (FrameKind::FORWARDED, bytes.into())
    }

    /// INV-N6. A node that had restarted took the answer to a call of its earlier life, which had the same number, for the
    /// answer to its own: a client that had asked for INCRBY was told OK (seed 720198003281 of `sim`).
    #[test]
    fn an_answer_to_an_earlier_life_is_nobodys() {
        let clock = Arc::new(NodeClock::new(Arc::new(SystemClock::new())));
        let settings = CoreSettings::default();
        let core = Core::new((NodeId(1), 7), clock, settings, Arc::new(Nowhere), 1);
        let mailbox = core.open_mailbox(Arc::new(|| {}));
        let frames = Frames::new(Arc::clone(&core));
        let letters_of = |life| {
            frames.take(NodeId(2), &mut vec![answer_to(life, mailbox.door)]);
            let mut letters = Vec::new();
            mailbox.take(&mut letters);
            letters.len()
        };
        assert_eq!([6, 7, 8].map(letters_of), [0, 1, 0]);
    }
}
