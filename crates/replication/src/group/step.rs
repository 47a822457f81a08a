//! Messages of peers on their way into raft.
//!
//! Owns: which messages are let through, and what is put right before raft believes them. Never: sends.
//! INV-L3 (see `lease`): a voter stays with the leader it has heard.

use keystead_types::Monotonic;
use keystead_types::mistakes::{Mistake, is_made};
use raft::StateRole;
use raft::eraftpb::{Message, MessageType};

use super::{Group, Turn};
use crate::machine::Machine;
use crate::outputs::Outputs;

impl<M: Machine> Group<M> {
    /// Steps a peer's message.
    pub(crate) fn step(&mut self, mut message: Message, turn: &Turn, out: &mut Outputs) {
        use MessageType as T;
        let kind = message.get_msg_type();
        match kind {
            // A fenced replica has forgotten whom it promised a lease; one without a state would vote
            // for anyone, though it may have had a state once (see docs/adr on removed replicas).
            T::MsgRequestVote | T::MsgRequestPreVote
                if self.is_fenced(turn.now) || !self.is_initialized() =>
            {
                return;
            }
            // Only a leader whose log is up to date sends this; it overrides the voters' promise, so a
            // fenced replica must not follow it either.
            T::MsgTimeoutNow if self.is_fenced(turn.now) || self.is_snapshot_unstored() => return,
            // The answers of a newer term to an older campaign of this replica would make it forget the leader it has
            // heard since, and with it the promise not to vote that this leader's lease hangs on (INV-L3).
            T::MsgRequestPreVoteResponse
            | T::MsgRequestVoteResponse
            | T::MsgAppendResponse
            | T::MsgHeartbeatResponse
                if message.term > self.raw.raft.term && self.has_promised() =>
            {
                return;
            }
            // What cannot be stored is not accepted: the leader sends it again.
            T::MsgAppend if turn.is_disk_full && !message.entries.is_empty() => return,
            // Raft acknowledges the message's index plus the number of its entries, without a look at theirs.
            T::MsgAppend if !is_contiguous(&message) && !is_made(Mistake::BatchAppend) => return,
            // The leader believes more to be here than there is: a power failure took it, or the message was meant for
            // an earlier life of this replica (INV-R8). The leader is heard all the same, but raft would panic.
            T::MsgHeartbeat if message.commit > self.raw.raft.raft_log.last_index() => {
                self.deny(&message, out);
                message.commit = 0;
            }
            T::MsgAppendResponse if message.reject => self.lower_matched(&message),
            T::MsgAppendResponse if self.is_of_earlier_life(&message) => return,
            T::MsgAppendResponse
                if message.term == self.raw.raft.term && self.leads_though_taken_out() =>
            {
                return self.note_for_successor(&message, turn);
            }
            T::MsgSnapshot => {
                self.note_admission(&message);
                self.snapshot_offered(message, out);
                return;
            }
            T::MsgAppend
            | T::MsgAppendResponse
            | T::MsgHeartbeat
            | T::MsgHeartbeatResponse
            | T::MsgRequestVote
            | T::MsgRequestVoteResponse
            | T::MsgRequestPreVote
            | T::MsgRequestPreVoteResponse
            | T::MsgTimeoutNow
            | T::MsgUnreachable => {}
            // Proposals and reads come through the door, never as messages; the rest is local to raft.
            _ => return,
        }
        if self.is_leader() && self.raw.raft.prs().get(message.from).is_some() {
            self.heard.insert(message.from, turn.now);
        }
        self.assert_history(&message);
        self.note_admission(&message);
        // An error means that raft has no use for the message (an unknown peer's answer, say).
        drop(self.raw.step(message));
    }

    /// True while this replica follows a leader that it has heard within an election timeout.
    fn has_promised(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Follower
            && self.leader().is_some()
            && raft.election_elapsed < raft.election_timeout()
    }

    /// True from when this leader has applied its own removal until another one leads.
    pub(super) fn leads_though_taken_out(&self) -> bool {
        let raft = &self.raw.raft;
        raft.state == StateRole::Leader && raft.prs().get(raft.id).is_none()
    }

    /// A leader that was taken out commits nothing more: raft 0.7 would look for its progress beside those of the others, and
    /// panic. What a voter has tells it who can take over, and then that one does.
    fn note_for_successor(&mut self, response: &Message, turn: &Turn) {
        let raft = &mut self.raw.raft;
        if let Some(progress) = raft.mut_prs().get_mut(response.from) {
            progress.maybe_update(response.index);
        }
        // Raft would wait for one that it has chosen, whatever the others have meanwhile.
        raft.abort_leader_transfer();
        self.resign(turn);
    }

    /// True while a snapshot that took the place of the state is on its way to the disk. Raft counts it as applied only
    /// then, and would look for the entries it replaced if this replica campaigned before.
    pub(super) fn is_snapshot_unstored(&self) -> bool {
        self.raw.raft.raft_log.applied + 1 < self.raw.store().first()
    }

    pub(super) fn is_fenced(&mut self, now: Monotonic) -> bool {
        if self.fenced_until.is_some_and(|until| now >= until) {
            self.fenced_until = None;
        }
        self.fenced_until.is_some()
    }
}

/// True if the entries of an append follow its index without a gap.
fn is_contiguous(append: &Message) -> bool {
    append.entries.iter().zip(append.index + 1..).all(|(entry, index)| entry.index == index)
}
