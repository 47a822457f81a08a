//! What raft has ready: messages to send, records to persist, entries to apply.
//!
//! Owns: INV-R4, the order of one turn (see `group`). Never: decides what is proposed.

use keystead_types::LogIndex;
use keystead_types::mistakes::{Mistake, is_made};

use super::{Group, Turn, Unpersisted};
use crate::entry;
use crate::machine::Machine;
use crate::outputs::Outputs;

impl<M: Machine> Group<M> {
    pub(super) fn handle_ready(&mut self, turn: &Turn, out: &mut Outputs) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        for message in ready.take_messages() {
            self.send(message, out);
        }
        if !ready.snapshot().is_empty() {
            self.install_snapshot(ready.snapshot(), out);
        }
        let committed = ready.take_committed_entries();
        for read in ready.take_read_states() {
            self.lease.confirm(&read.request_ctx, read.index);
        }
        let promises = self.log_ready(&ready, out) && !is_made(Mistake::AckBeforeFsync);
        let messages = ready.take_persisted_messages();
        self.raw.advance_append_async(ready);
        // What promises nothing new waits for what was promised before, not for a record of its own: there may
        // be none in this turn, and then the log would never report its token.
        let token = if promises {
            Some(turn.token)
        } else {
            self.unpersisted.back().map(|last| last.token)
        };
        if let Some(token) = token {
            self.unpersisted.push_back(Unpersisted { token, number, messages });
        } else {
            self.raw.on_persist_ready(number);
            for message in messages {
                self.send(message, out);
            }
        }
        self.notice_role(turn, out);
        self.apply_committed(committed, out);
        self.report_applied();
    }

    /// Tells raft what is applied. A snapshot counts only once it is on disk.
    fn report_applied(&mut self) {
        if self.raw.raft.raft_log.persisted >= self.applied {
            self.raw.advance_apply_to(self.applied);
        }
    }

    /// Puts the ready's entries and hard state where raft reads them and into the log's batch. True if
    /// something among them must be persisted before messages that depend on it may leave.
    fn log_ready(&mut self, ready: &raft::Ready, out: &mut Outputs) -> bool {
        self.raw.mut_store().append(ready.entries());
        for entry in ready.entries() {
            self.scratch.clear();
            entry::put_entry_head(entry, &mut self.scratch);
            self.scratch.extend_from_slice(&entry.data);
            self.stamped = self.stamped.max(entry::stamp(entry));
            out.log.push_entry(self.id, LogIndex(entry.index), &self.scratch);
        }
        let mut is_vote_or_term = false;
        if let Some(state) = ready.hs() {
            let before = self.raw.store().hard_state();
            is_vote_or_term = (state.term, state.vote) != (before.term, before.vote);
            out.log.push_state(self.id, &entry::write_hard_state(state));
            self.raw.mut_store().set_hard_state(state.clone());
        }
        // `must_sync` is false when only the commit index moved: that rides along.
        let promises = ready.must_sync();
        let is_snapshot = !ready.snapshot().is_empty();
        out.must_sync |= match self.settings.durability {
            crate::Durability::Fsync => promises,
            // A forgotten vote would elect two leaders, whatever else may be lost.
            crate::Durability::Replicated => is_vote_or_term || is_snapshot,
        };
        promises
    }

    /// True while records of this group are on their way to the disk.
    pub(crate) fn awaits_log(&self) -> bool {
        !self.unpersisted.is_empty()
    }

    /// The log has everything up to `token`.
    pub(crate) fn persisted(&mut self, token: u64, out: &mut Outputs) {
        while let Some(front) = self.unpersisted.front() {
            if front.token > token {
                break;
            }
            let Unpersisted { number, messages, .. } =
                self.unpersisted.pop_front().expect("there is a front");
            self.step_down_if_taken_out();
            self.raw.on_persist_ready(number);
            for message in messages {
                self.send(message, out);
            }
        }
        self.report_applied();
    }

    /// The others may commit a leader's removal before its own disk has what it wrote after that. Raft 0.7 panics when it then
    /// hears of its disk, since it looks for the leader's own progress; so this leader follows from here on.
    fn step_down_if_taken_out(&mut self) {
        if self.leads_though_taken_out() {
            let raft = &mut self.raw.raft;
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
    }
}
