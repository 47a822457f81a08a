//! Which life of a replica an acknowledgement comes from, and what a leader does when a follower has lost entries.
//!
//! Owns: the mark that ties acknowledgements to an admission, lowering what a leader believes of a follower. Never:
//! raises it: only raft does, on an acknowledgement.
//!
//! A node may be taken out of a group and come back within one term, with nothing. What its earlier life acknowledged
//! can still be on the way, and raft, which tells messages apart by their term, would count entries that are not
//! there any more. So a leader that admits a replica marks what it sends to it with the index of the change, the replica
//! says in its acknowledgements which mark it has seen, and one without the mark is not for this life.
//!
//! A replica may also lose what it had acknowledged: with `replicated`, a power failure takes what was not synced. The
//! leader finds out when the replica denies a commit index, or rejects an append behind what it had acknowledged. Raft
//! takes such a rejection for one that comes late. To believe less than is true costs a few messages; to believe more
//! can lose an entry.
//!
//! INV-R8: what a leader counts as held by a replica was acknowledged by its present life, and not denied since.

use bytes::Bytes;
use raft::ProgressState;
use raft::eraftpb::{Message, MessageType};

use super::Group;
use crate::entry::ReplicaChange;
use crate::machine::Machine;
use crate::outputs::Outputs;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    /// As a leader: the change that admitted a replica in this term, if one did.
    granted: Vec<(u64, u64)>,
    /// As a follower: the mark last seen, and the term in which it was.
    seen: (u64, u64),
}

impl Admissions {
    pub(super) fn clear(&mut self) {
        self.granted.clear();
    }

    fn granted(&self, node: u64) -> u64 {
        self.granted.iter().find(|(id, _)| *id == node).map_or(0, |(_, index)| *index)
    }
}

fn read_mark(context: &Bytes) -> u64 {
    <[u8; 8]>::try_from(&context[..]).map_or(0, u64::from_le_bytes)
}

fn write_mark(mark: u64) -> Bytes {
    if mark == 0 { Bytes::new() } else { Bytes::copy_from_slice(&mark.to_le_bytes()) }
}

impl<M: Machine> Group<M> {
    /// A change was applied at `index`.
    pub(super) fn admit(&mut self, change: ReplicaChange, index: u64) {
        let (ReplicaChange::AddLearner(node)
        | ReplicaChange::Promote(node)
        | ReplicaChange::Remove(node)) = change;
        if self.is_leader() && !matches!(change, ReplicaChange::Promote(_)) {
            self.admissions.granted.retain(|(id, _)| *id != node.0);
            if matches!(change, ReplicaChange::AddLearner(_)) {
                self.admissions.granted.push((node.0, index));
            }
        }
    }

    /// Hands a message of raft's over, marked.
    ///
    /// INV-R11: no replica applies what its leader has not applied: others may have what is committed on their disks before
    /// the leader has it on its own, and are told only then. The leader applies in the same turn, and messages leave
    /// behind it. A node that follows may so conclude from what it has applied that a later read of the leader has seen it.
    pub(super) fn send(&self, mut message: Message, out: &mut Outputs) {
        if self.is_leader() {
            message.commit = message.commit.min(self.raw.raft.raft_log.persisted);
        }
        match message.get_msg_type() {
            MessageType::MsgAppend | MessageType::MsgSnapshot => {
                message.context = write_mark(self.admissions.granted(message.to));
            }
            MessageType::MsgAppendResponse => {
                let (term, mark) = self.admissions.seen;
                message.context = write_mark(if term == message.term { mark } else { 0 });
            }
            _ => {}
        }
        out.messages.push((self.id, message));
    }

    /// Remembers the mark of a leader's message.
    pub(super) fn note_admission(&mut self, message: &Message) {
        let is_marked =
            matches!(message.get_msg_type(), MessageType::MsgAppend | MessageType::MsgSnapshot);
        if is_marked && message.term >= self.raw.raft.term {
            let mark = read_mark(&message.context);
            self.admissions.seen = self.admissions.seen.max((message.term, mark));
        }
    }

    /// True for an acknowledgement without the mark of the sender's admission. Only what raises a leader's belief is
    /// asked: a replica that has just restarted has seen no mark, and may have something to deny, or a newer term to
    /// tell of, without which it would never follow again.
    pub(super) fn is_of_earlier_life(&self, answer: &Message) -> bool {
        answer.term <= self.raw.raft.term
            && read_mark(&answer.context) != self.admissions.granted(answer.from)
    }

    /// Tells a leader that what it believes to be here is not.
    pub(super) fn deny(&self, heartbeat: &Message, out: &mut Outputs) {
        if heartbeat.term != self.raw.raft.term || !self.is_initialized() {
            return;
        }
        let last = self.raw.raft.raft_log.last_index();
        let mut denial = Message {
            from: self.node.0,
            to: heartbeat.from,
            term: heartbeat.term,
            index: heartbeat.commit,
            reject: true,
            reject_hint: last,
            log_term: self.raw.raft.raft_log.last_term(),
            ..Message::default()
        };
        denial.set_msg_type(MessageType::MsgAppendResponse);
        self.send(denial, out);
    }

    /// INV-R9: what is committed here is what the leader has there (Leader Completeness, Raft paper, section 5.4.3). If
    /// it is not, a majority lost what it had acknowledged. Raft would take this replica for level, and the two states
    /// would differ for good: it is better to fall and be named.
    pub(super) fn assert_history(&self, append: &Message) {
        let raft = &self.raw.raft;
        if append.get_msg_type() != MessageType::MsgAppend || append.term < raft.term {
            return;
        }
        let previous = std::iter::once((append.index, append.log_term));
        let entries = append.entries.iter().map(|entry| (entry.index, entry.term));
        for (index, term) in previous.chain(entries) {
            if index > raft.raft_log.committed {
                break;
            }
            // As raft sees it: what an append of this very turn has replaced still stands in the store. Zero: not there.
            let own = raft.raft_log.term(index).unwrap_or_default();
            assert!(
                own == 0 || own == term,
                "INV-R9: entry {index} of {} was committed here in term {own}, the leader of term {} has another of \
                 term {term} there: a majority lost what it had acknowledged (durability \"replicated\" and a loss of \
                 power); move this node's data directory away and let the node join again as a new one",
                self.id,
                append.term
            );
        }
    }

    /// A follower has less than it had acknowledged: it is probed from there.
    pub(super) fn lower_matched(&mut self, rejection: &Message) {
        if !self.is_leader() || rejection.term != self.raw.raft.term {
            return;
        }
        let Some(progress) = self.raw.raft.mut_prs().get_mut(rejection.from) else { return };
        let has = rejection.reject_hint;
        if has >= progress.matched || progress.state == ProgressState::Snapshot {
            return;
        }
        tracing::warn!(shard = %self.id, node = rejection.from, had = progress.matched, has,
            "a replica has lost entries that it had acknowledged; it is brought up again");
        progress.matched = has;
        progress.become_probe();
        self.raw.raft.send_append(rejection.from);
    }
}
