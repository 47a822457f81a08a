//! What waits for one peer, in lanes: which frame goes next when its socket takes less than is sent to it.
//!
//! Owns: [`Lanes`], the rule that says which lane a frame belongs to. Never: a socket, a lock, a bound on what may wait
//! (see `peer`, which calls it while a link is full, and not otherwise).
//!
//! A follower's link may carry less than its leaders have for it. With one queue, what this node owes that follower as
//! a leader, entries by the megabyte, stands before what it owes it as its follower: acknowledgements of a few bytes, which
//! are all that the other's writes wait for. Shards led behind a slow link then stood still although every replica was
//! up. So frames wait in three lanes:
//!
//! ```text
//!   prompt   acknowledgements, heartbeats, votes, pings     small: all of them first
//!   plain    forwarded commands, their answers, the rest  ┐ in turn,
//!   bulk     appends and snapshots of Raft                ┘ a piece each
//! ```
//! INV-NET10: within a lane frames leave in the order in which they were taken; only frames of different lanes may
//! change places. Raft is safe whatever order messages come in (Ongaro and Ousterhout, "In Search of an Understandable
//! Consensus Algorithm", section 2: packet loss, duplication and reordering). Appends do not overtake appends all
//! the same: a gap costs a refusal and a round trip. Commands must not overtake each other: a client's stand in one lane.

use std::collections::VecDeque;

use super::frame::{FRAME_HEADER_BYTES, FrameKind, frames};
use super::message;

/// A piece ends with the frame that reaches this many bytes: what a prompt frame waits for at most, unless one frame is larger.
const PIECE_BYTES: usize = 16 * 1024;

/// Frames wait by what waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody else's write or the leadership waits for it, and it is small.
    Prompt,
    /// What nodes say to each other beside Raft.
    Plain,
    /// A log's entries.
    Bulk,
}

impl Lane {
    /// All of them, each at its number.
    pub(super) const ALL: [Self; 3] = [Self::Prompt, Self::Plain, Self::Bulk];

    /// Where a frame belongs.
    pub(super) fn of(kind: FrameKind, payload: &[u8]) -> Self {
        match kind {
            FrameKind::RAFT if message::carries_log(payload) => Self::Bulk,
            FrameKind::RAFT | FrameKind::CLOCK => Self::Prompt,
            kind if kind.is_internal() => Self::Prompt,
            _ => Self::Plain,
        }
    }
}

/// Frames that wait.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The end of a frame whose beginning the socket has taken: nothing may come between.
    rest: Vec<u8>,
    queues: [Queue; Lane::ALL.len()],
    /// Whose turn it is, of plain and bulk.
    is_bulk_next: bool,
}

impl Lanes {
    /// Bytes in all lanes.
    pub(super) fn bytes(&self) -> usize {
        self.rest.len() + self.queues.iter().map(|queue| queue.bytes).sum::<usize>()
    }

    /// Bytes in this lane.
    pub(super) const fn bytes_of(&self, lane: Lane) -> usize {
        self.queues[lane as usize].bytes
    }

    /// Adds one whole frame.
    pub(super) fn push(&mut self, lane: Lane, frame: &[u8]) {
        self.queues[lane as usize].push(frame);
    }

    /// Adds what a socket has not taken of whole frames, of which it has taken the first `written` bytes.
    pub(super) fn push_rest(&mut self, bytes: &[u8], written: usize) {
        let mut end = 0;
        for (kind, frame) in frames(bytes) {
            let begin = end;
            end += frame.len();
            if begin >= written {
                self.push(Lane::of(kind, &frame[FRAME_HEADER_BYTES..]), frame);
            } else if end > written {
                assert!(self.rest.is_empty(), "INV-NET7: two frames were begun");
                self.rest = bytes[written..end].to_vec();
            }
        }
    }

    /// Takes out what goes next: whole frames of one lane, or the end of the one that was begun.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        if !self.rest.is_empty() {
            return Some(std::mem::take(&mut self.rest));
        }
        let turns =
            if self.is_bulk_next { [Lane::Bulk, Lane::Plain] } else { [Lane::Plain, Lane::Bulk] };
        if let Some(piece) = self.queues[Lane::Prompt as usize].pop() {
            return Some(piece);
        }
        self.is_bulk_next = !self.is_bulk_next;
        turns.into_iter().find_map(|lane| self.queues[lane as usize].pop())
    }
}

/// Pieces of whole frames.
#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: &[u8]) {
        self.bytes += frame.len();
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE_BYTES => piece.extend_from_slice(frame),
            _ => self.pieces.push_back(frame.to_vec()),
        }
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use keystead_types::ShardId;
    use raft::eraftpb::{Message, MessageType};

    use super::super::frame::{FrameBatch, FrameDecoder};
    use super::*;

    fn raft(kind: MessageType, index: u64) -> (FrameKind, Vec<u8>) {
        let mut message = Message::new();
        (message.msg_type, message.index, message.to, message.from) = (kind, index, 2, 1);
        let mut payload = Vec::new();
        message::encode(ShardId(300), &message, &mut payload);
        (FrameKind::RAFT, payload)
    }

    fn batch(frames: &[(FrameKind, Vec<u8>)]) -> FrameBatch {
        let mut batch = FrameBatch::new();
        for (kind, payload) in frames {
            assert!(batch.push(*kind, payload));
        }
        batch
    }

    /// Everything that waits, as the peer would read it after `begun`.
    fn read_out(lanes: &mut Lanes, begun: &[u8]) -> Vec<(FrameKind, Vec<u8>)> {
        let mut bytes = begun.to_vec();
        while let Some(piece) = lanes.pop() {
            bytes.extend(piece);
        }
        assert_eq!(lanes.bytes(), 0);
        let (mut decoder, mut input) = (FrameDecoder::new(1 << 20), bytes.as_slice());
        let mut read = Vec::new();
        while let Some((kind, payload)) = decoder.next(&mut input).unwrap() {
            read.push((kind, payload.to_vec()));
        }
        read
    }

    #[test]
    fn every_message_of_raft_has_its_lane() {
        for kind in [MessageType::MsgAppend, MessageType::MsgSnapshot] {
            let (kind, payload) = raft(kind, 1);
            assert_eq!(Lane::of(kind, &payload), Lane::Bulk);
        }
        for kind in [
            MessageType::MsgAppendResponse,
            MessageType::MsgHeartbeat,
            MessageType::MsgHeartbeatResponse,
            MessageType::MsgRequestVote,
            MessageType::MsgRequestPreVoteResponse,
            MessageType::MsgTimeoutNow,
            MessageType::MsgReadIndexResp,
        ] {
            let (kind, payload) = raft(kind, 1);
            assert_eq!(Lane::of(kind, &payload), Lane::Prompt);
        }
        for (kind, lane) in [
            (FrameKind::FORWARD, Lane::Plain),
            (FrameKind::FORWARDED, Lane::Plain),
            (FrameKind::PUBLISHED, Lane::Plain),
            (FrameKind::PING, Lane::Prompt),
            (FrameKind::CLOCK, Lane::Prompt),
        ] {
            assert_eq!(Lane::of(kind, b""), lane);
        }
    }

    // INV-NET10
    #[test]
    fn prompt_frames_overtake_and_each_lane_keeps_its_order() {
        let mut sent = Vec::new();
        for number in 0..200 {
            sent.push(raft(MessageType::MsgAppend, number));
            sent.push((FrameKind::FORWARD, vec![u8::try_from(number).unwrap(); 500]));
            sent.push(raft(MessageType::MsgAppendResponse, number));
        }
        let batch = batch(&sent);
        let mut lanes = Lanes::default();
        lanes.push_rest(batch.as_bytes(), 0);
        assert_eq!(lanes.bytes(), batch.as_bytes().len());
        let read = read_out(&mut lanes, &[]);
        let of = |all: &[(FrameKind, Vec<u8>)], lane| {
            let is_of = |(kind, payload): &&(FrameKind, Vec<u8>)| Lane::of(*kind, payload) == lane;
            all.iter().filter(is_of).cloned().collect::<Vec<_>>()
        };
        for lane in [Lane::Prompt, Lane::Plain, Lane::Bulk] {
            assert_eq!(of(&read, lane), of(&sent, lane));
        }
        assert_eq!(of(&read[..200], Lane::Prompt).len(), 200);
        // The other two go in turn: neither waits for the other's end.
        let last_of = |lane| read.iter().rposition(|(k, p)| Lane::of(*k, p) == lane).unwrap();
        let first_of = |lane| read.iter().position(|(k, p)| Lane::of(*k, p) == lane).unwrap();
        assert!(first_of(Lane::Bulk) < last_of(Lane::Plain));
    }

    // INV-NET7
    #[test]
    fn a_frame_that_was_begun_is_ended_before_any_other() {
        let sent = [
            (FrameKind::FORWARD, vec![1; 50]),
            raft(MessageType::MsgAppend, 7),
            (FrameKind::FORWARD, vec![2; 50]),
            raft(MessageType::MsgHeartbeat, 8),
        ];
        let batch = batch(&sent);
        let bytes = batch.as_bytes();
        for written in 0..=bytes.len() {
            let mut lanes = Lanes::default();
            lanes.push_rest(bytes, written);
            assert_eq!(lanes.bytes(), bytes.len() - written);
            let mut read = read_out(&mut lanes, &bytes[..written]);
            assert_eq!(read.len(), sent.len(), "cut at {written}");
            read.sort();
            let mut all = sent.to_vec();
            all.sort();
            assert_eq!(read, all, "cut at {written}");
        }
    }
}
