//! A worker's messages on their way out: sorted by peer, one write for each.
//!
//! Owns: [`Courier`]. Never: sends a message twice; Raft does, if it must. Each worker has one of
//! its own, and calls it once per turn of its loop: that is what makes one write of the messages
//! of many groups.

use std::collections::BTreeMap;

use keystead_types::{NodeId, ShardId};
use raft::eraftpb::Message;

use super::frame::{FrameBatch, FrameKind};
use super::message;
use super::outbox::Outbox;

/// Bytes collected for a peer before they are written: more would only make the first ones wait.
const BATCH_BYTES_TARGET: usize = 512 * 1024;
/// Room that a batch keeps from turn to turn.
const BATCH_ROOM_MAX: usize = 2 * BATCH_BYTES_TARGET;

/// Sends Raft messages to their peers through an outbox.
#[derive(Debug)]
pub struct Courier {
    outbox: Outbox,
    batches: BTreeMap<NodeId, FrameBatch>,
}

impl Courier {
    /// A courier with nothing to carry.
    #[must_use]
    pub const fn new(outbox: Outbox) -> Self {
        Self { outbox, batches: BTreeMap::new() }
    }

    /// Sends every message to the node `message.to`, in order, and leaves `messages` empty.
    /// Returns how many were not taken ([`Outbox::send`]). Never blocks.
    pub fn send(&mut self, messages: &mut Vec<(ShardId, Message)>) -> usize {
        let mut lost = 0;
        for (group, message) in messages.drain(..) {
            let peer = NodeId(message.to);
            let batch = self.batches.entry(peer).or_default();
            if !batch.push_with(FrameKind::RAFT, |out| message::encode(group, &message, out)) {
                // Entries are bounded when they are proposed; this cannot be helped by repeating.
                tracing::error!(%group, %peer, "a message is longer than a frame may be");
                lost += 1;
            }
            if batch.as_bytes().len() >= BATCH_BYTES_TARGET {
                lost += flush(&self.outbox, peer, batch);
            }
        }
        for (peer, batch) in &mut self.batches {
            lost += flush(&self.outbox, *peer, batch);
        }
        lost
    }
}

/// Writes a batch and empties it; returns how many of its frames were not taken.
fn flush(outbox: &Outbox, peer: NodeId, batch: &mut FrameBatch) -> usize {
    let lost = if outbox.send_all(peer, batch) { 0 } else { batch.frames() };
    batch.clear(BATCH_ROOM_MAX);
    lost
}
