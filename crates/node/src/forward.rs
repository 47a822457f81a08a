//! Runs of commands between nodes: what a node that does not lead a shard sends to the one that does.
//!
//! Owns: the bytes of such calls and answers, answering those that come in. Never: retries.
//!
//! ```text
//! call:   | life u64 | door u32 | call u32 | shard u32 | access u8 | 0 u8 | parts u16 | patience ms u32 | { bytes u32, form u8 } * parts | commands |
//! answer: | life u64 | door u32 | call u32 | ending u8 | detail u64 | count u16 | { end u32 } * count | replies |
//! ```
//! `life`, `door` and `call` are the caller's own ([`CallId`]), `patience` how much longer it waits. All integers are
//! little endian.
//!
//! INV-N6: an answer is taken only by the call that asked for it. A node that restarts numbers its calls anew, and what its
//! earlier life asked may still be answered, once its peer reaches it again: so an answer names the life.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use keystead_replication::transport::{FrameBatch, FrameKind};
use keystead_replication::{
    Access, Completed, Doubt, Ending, Part, Rejection, Replies, ReplyTo, Submission,
};
use keystead_types::{Monotonic, NodeId, ShardId};
use parking_lot::Mutex;

use crate::core::{Core, Post};

/// Parts that one call can hold.
pub(crate) const PARTS_MAX: usize = u16::MAX as usize;
/// Room that a batch of frames keeps from one use to the next, bytes.
pub(crate) const FRAMES_ROOM_BYTES: usize = 256 * 1024;
/// The longest patience that is honoured, whatever a caller says.
const PATIENCE_MAX: Duration = Duration::from_secs(600);

/// Bytes of a peer that are not a call or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a forwarded {what} from another node cannot be understood")]
pub(crate) struct MalformedForward {
    what: &'static str,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId {
    /// How often the calling node has started, as it counts on its disk.
    pub(crate) life: u64,
    /// The calling thread's door.
    pub(crate) door: u32,
    /// Of the door's calls, which.
    pub(crate) call: u32,
}

/// Length of a call's id, bytes.
const ID_BYTES: usize = 16;

impl CallId {
    fn write(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.life);
        out.put_u32_le(self.door);
        out.put_u32_le(self.call);
    }

    /// The id at the beginning of a call or an answer.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        let is_there = bytes.len() >= ID_BYTES;
        is_there.then(|| Self {
            life: bytes.get_u64_le(),
            door: bytes.get_u32_le(),
            call: bytes.get_u32_le(),
        })
    }
}

/// A call, taken apart.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) shard: ShardId,
    pub(crate) access: Access,
    pub(crate) patience: Duration,
    pub(crate) parts: Vec<Part>,
    pub(crate) commands: Bytes,
}

/// An answer, taken apart.
pub(crate) struct Answer {
    pub(crate) ending: AnswerEnding,
}

/// How a forwarded run ended.
pub(crate) enum AnswerEnding {
    Done { ends: Vec<usize>, replies: Bytes },
    Rejected(Rejection),
    Unknown(Doubt),
}

impl Call {
    pub(crate) fn write(
        out: &mut Vec<u8>,
        id: CallId,
        run: (ShardId, Access, &[Part], &[u8]),
        patience: Duration,
    ) {
        let (shard, access, parts, commands) = run;
        out.reserve(ID_BYTES + 12 + parts.len() * 5 + commands.len());
        id.write(out);
        out.put_u32_le(shard.0);
        out.put_u8(u8::from(access == Access::Write));
        out.put_u8(0);
        out.put_u16_le(u16::try_from(parts.len()).expect("the door packs at most PARTS_MAX parts"));
        out.put_u32_le(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX));
        for part in parts {
            out.put_u32_le(part.bytes);
            // Who asks is known by a number of this node alone.
            let [protocol, ..] = part.form.to_le_bytes();
            out.put_u8(protocol);
        }
        out.extend_from_slice(commands);
    }

    pub(crate) fn read(mut bytes: Bytes) -> Result<Self, MalformedForward> {
        let malformed = MalformedForward { what: "call" };
        if bytes.len() < ID_BYTES + 12 {
            return Err(malformed);
        }
        let id = CallId::read(&bytes).ok_or(malformed)?;
        bytes.advance(ID_BYTES);
        let shard = ShardId(bytes.get_u32_le());
        let access = if bytes.get_u8() == 0 { Access::Read } else { Access::Write };
        bytes.advance(1);
        let count = usize::from(bytes.get_u16_le());
        let patience = Duration::from_millis(u64::from(bytes.get_u32_le())).min(PATIENCE_MAX);
        if bytes.len() < count * 5 {
            return Err(malformed);
        }
        let parts: Vec<Part> = (0..count)
            .map(|position| Part {
                bytes: bytes.get_u32_le(),
                form: bytes.get_u8().into(),
                ticket: position as u64,
            })
            .collect();
        let total: u64 = parts.iter().map(|part| u64::from(part.bytes)).sum();
        if total != bytes.len() as u64 || !are_canonical(&parts, &bytes) {
            return Err(malformed);
        }
        Ok(Self { id, shard, access, patience, parts, commands: bytes })
    }
}

/// INV-N3: nothing enters a log that its replicas could not decode, so what a peer sends is looked
/// through here as the decoder of requests looks through what clients send.
fn are_canonical(parts: &[Part], mut commands: &[u8]) -> bool {
    let mut spans = Vec::new();
    for part in parts {
        let (own, rest) = commands.split_at(part.bytes as usize);
        commands = rest;
        let mut run = keystead_resp::RunDecoder::new(own);
        let mut is_in_transaction = false;
        loop {
            match run.next(&mut spans) {
                Ok(Some(args)) if &args[0] == crate::internal::MULTI => {
                    if std::mem::replace(&mut is_in_transaction, true) {
                        return false;
                    }
                }
                Ok(Some(args)) if &args[0] == crate::internal::EXEC => {
                    if !std::mem::take(&mut is_in_transaction) {
                        return false;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) if is_in_transaction => return false,
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    true
}

impl Answer {
    pub(crate) fn write(id: CallId, ending: &Ending, out: &mut Vec<u8>) {
        id.write(out);
        let (code, detail) = match ending {
            Ending::Done(_) => (0, 0),
            Ending::Rejected { why, .. } => match why {
                Rejection::NotLeader { leader } => (1, leader.map_or(0, |node| node.0)),
                Rejection::Overloaded => (2, 0),
                Rejection::DiskFull => (3, 0),
                Rejection::Expired => (4, 0),
                Rejection::NoReplica => (5, 0),
            },
            Ending::Unknown(Doubt::Deadline) => (16, 0),
            Ending::Unknown(Doubt::SnapshotInstalled) => (17, 0),
            Ending::Unknown(Doubt::ReplicaFailed) => (18, 0),
        };
        out.put_u8(code);
        out.put_u64_le(detail);
        let none = Replies::default();
        let replies = if let Ending::Done(replies) = ending { replies } else { &none };
        out.put_u16_le(
            u16::try_from(replies.ends.len()).expect("a call has at most PARTS_MAX parts"),
        );
        for end in &replies.ends {
            out.put_u32_le(u32::try_from(*end).unwrap_or(u32::MAX));
        }
        out.extend_from_slice(&replies.bytes);
    }

    pub(crate) fn read(mut bytes: Bytes) -> Result<Self, MalformedForward> {
        let malformed = MalformedForward { what: "answer" };
        if bytes.len() < ID_BYTES + 11 {
            return Err(malformed);
        }
        // Whoever hands the answer in has looked at its id.
        bytes.advance(ID_BYTES);
        let (code, detail) = (bytes.get_u8(), bytes.get_u64_le());
        let count = usize::from(bytes.get_u16_le());
        if bytes.len() < count * 4 {
            return Err(malformed);
        }
        let ends: Vec<usize> = (0..count).map(|_| bytes.get_u32_le() as usize).collect();
        let is_rising = ends.is_sorted() && ends.last().copied().unwrap_or(0) == bytes.len();
        let ending = match code {
            0 if is_rising => AnswerEnding::Done { ends, replies: bytes },
            1 => AnswerEnding::Rejected(Rejection::NotLeader {
                leader: Some(NodeId(detail)).filter(|leader| *leader != NodeId::NONE),
            }),
            2 => AnswerEnding::Rejected(Rejection::Overloaded),
            3 => AnswerEnding::Rejected(Rejection::DiskFull),
            4 => AnswerEnding::Rejected(Rejection::Expired),
            5 => AnswerEnding::Rejected(Rejection::NoReplica),
            16 => AnswerEnding::Unknown(Doubt::Deadline),
            17 => AnswerEnding::Unknown(Doubt::SnapshotInstalled),
            18 => AnswerEnding::Unknown(Doubt::ReplicaFailed),
            _ => return Err(malformed),
        };
        Ok(Self { ending })
    }
}

/// Answers the calls of one peer.
pub(crate) struct Answers {
    peer: NodeId,
    post: Arc<dyn Post>,
    frames: Mutex<FrameBatch>,
}

impl Answers {
    pub(crate) fn new(peer: NodeId, post: Arc<dyn Post>) -> Arc<Self> {
        Arc::new(Self { peer, post, frames: Mutex::default() })
    }
}

/// One call's way back.
struct Return {
    id: CallId,
    answers: Arc<Answers>,
}

impl ReplyTo for Return {
    fn deliver(&self, completed: Completed) {
        let is_taken =
            self.answers.frames.lock().push_with(FrameKind::FORWARDED, |out| {
                Answer::write(self.id, &completed.ending, out)
            });
        if !is_taken {
            tracing::error!(peer = %self.answers.peer, "an answer is longer than a frame may be; its caller is left in doubt");
        }
    }

    /// The first of those that a turn answered sends for all of them.
    fn wake(&self) {
        let mut frames = self.answers.frames.lock();
        if !frames.is_empty() {
            // Answers that cannot be sent leave their callers in doubt, which they know how to say.
            let _is_taken = self.answers.post.post(self.answers.peer, &frames);
            frames.clear(FRAMES_ROOM_BYTES);
        }
    }
}

/// Takes in a call: leaves it with the shard's worker here, whatever that says of it.
pub(crate) fn take_call(
    core: &Core,
    answers: &Arc<Answers>,
    bytes: Bytes,
    now: Monotonic,
) -> Result<(), MalformedForward> {
    let call = Call::read(bytes)?;
    let submission = Submission {
        group: call.shard,
        access: call.access,
        commands: call.commands.into(),
        parts: call.parts,
        deadline: now.after(call.patience),
        reply_to: Arc::new(Return { id: call.id, answers: Arc::clone(answers) }),
    };
    core.leave_here(vec![submission]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use keystead_resp::encode;

    use super::*;

    fn read(commands: &[u8], lengths: &[u32]) -> Result<Call, MalformedForward> {
        let part = |bytes: &u32| Part { bytes: *bytes, form: 0, ticket: 0 };
        let parts: Vec<Part> = lengths.iter().map(part).collect();
        let mut call = Vec::new();
        let id = CallId { life: 1, door: 2, call: 3 };
        Call::write(&mut call, id, (ShardId(1), Access::Write, &parts, commands), PATIENCE_MAX);
        Call::read(call.into())
    }

    fn run(commands: &[&[&str]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|words| {
            encode::command(&mut bytes, words.iter().map(|word| word.as_bytes()))
        });
        bytes
    }

    fn length(bytes: &[u8]) -> u32 {
        u32::try_from(bytes.len()).unwrap()
    }

    /// INV-N3.
    #[test]
    fn only_what_replicas_can_decode_is_taken_from_a_peer() {
        let set: &[&str] = &["SET", "k", "v"];
        let sound = run(&[set, &["MULTI"], set, &["EXEC"]]);
        let call = read(&sound, &[length(&sound)]).unwrap();
        assert_eq!((call.parts.len(), &call.commands[..]), (1, &sound[..]));
        for broken in
            [&[set, &["MULTI"], set][..], &[set, &["EXEC"]], &[&["MULTI"], &["MULTI"], &["EXEC"]]]
        {
            let bytes = run(broken);
            assert!(read(&bytes, &[length(&bytes)]).is_err(), "{broken:?}");
        }
        let all = length(&sound);
        for (bytes, lengths) in [
            (&sound[..sound.len() - 1], vec![all - 1]),
            (&sound[..], vec![all - 1]),
            (&sound[..], vec![all - 3, 3]),
            (&sound[..], vec![u32::MAX, all]),
            (b"SET k v\r\n", vec![9]),
        ] {
            assert!(read(bytes, &lengths).is_err(), "{lengths:?} of {}", bytes.escape_ascii());
        }
    }
}
