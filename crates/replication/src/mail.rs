//! Messages of groups on their way between nodes: from a worker into frames, from frames to a worker.
//! Owns: [`PeerMessage`], [`Mailer`]. Never: a socket (see `transport`).

use std::collections::BTreeMap;

use bytes::Bytes;
use keystead_types::{NodeId, ShardId};
use raft::eraftpb::Message;

use crate::driver::Messenger;
use crate::transport::wire::DecodeError;
use crate::transport::{FrameBatch, FrameKind, Outbox, message};

/// Room that a batch keeps from turn to turn, bytes.
const BATCH_ROOM_BYTES: usize = 1024 * 1024;

/// A peer's message to one group here.
pub struct PeerMessage {
    pub(crate) group: ShardId,
    pub(crate) message: Message,
}

impl PeerMessage {
    /// The message in a frame that came from `peer`; `None` if it speaks for somebody else.
    ///
    /// # Errors
    /// If the frame is not a message.
    pub fn decode(peer: NodeId, frame: &Bytes) -> Result<Option<Self>, DecodeError> {
        let (group, message) = message::decode(frame)?;
        Ok((message.from == peer.0).then_some(Self { group, message }))
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> ShardId {
        self.group
    }
}

/// Sends a worker's messages through the outbox, one batch a peer and turn.
pub struct Mailer {
    outbox: Outbox,
    batches: BTreeMap<u64, FrameBatch>,
}

impl Mailer {
    /// A mailer over `outbox`.
    #[must_use]
    pub const fn new(outbox: Outbox) -> Self {
        Self { outbox, batches: BTreeMap::new() }
    }
}

impl Messenger for Mailer {
    fn send(&mut self, messages: &mut Vec<(ShardId, Message)>) {
        for (group, message) in messages.drain(..) {
            let batch = self.batches.entry(message.to).or_default();
            if !batch.push_with(FrameKind::RAFT, |out| message::encode(group, &message, out)) {
                tracing::error!(shard = %group, to = message.to, "a message is longer than a frame may be");
            }
        }
        for (to, batch) in &mut self.batches {
            if !batch.is_empty() {
                // What is not taken is lost, as on any network: raft sends it again.
                let _is_taken = self.outbox.send_all(NodeId(*to), batch);
                batch.clear(BATCH_ROOM_BYTES);
            }
        }
    }
}
