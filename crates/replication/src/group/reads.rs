//! Reads that could not be answered on the spot: they wait until leadership is confirmed.
//! Owns: the queue of such reads, renewing the lease. Never: answers on an unconfirmed leadership.

use std::collections::VecDeque;

use keystead_types::Monotonic;
use keystead_types::mistakes::{Mistake, is_made};

use super::{Group, Turn};
use crate::machine::{Machine, Replies};
use crate::outcome::{Rejection, Submission};
use crate::outputs::Outputs;

#[derive(Default)]
pub(crate) struct Reads {
    /// Each read with the number that a confirmation must exceed to vouch for it.
    waiting: VecDeque<(u64, Submission)>,
    bytes: usize,
}

impl Reads {
    fn push(&mut self, mark: u64, run: Submission) {
        self.bytes += run.commands.len();
        self.waiting.push_back((mark, run));
    }

    fn pop(&mut self) -> Option<Submission> {
        let (_, run) = self.waiting.pop_front()?;
        self.bytes -= run.commands.len();
        Some(run)
    }

    pub(crate) fn reject_all(&mut self, why: Rejection, out: &mut Outputs) {
        while let Some(run) = self.pop() {
            out.finish(run.reject(why));
        }
    }

    pub(crate) fn reject_overdue(&mut self, now: Monotonic, out: &mut Outputs) {
        while self.waiting.front().is_some_and(|(_, run)| run.deadline <= now) {
            let run = self.pop().expect("there is a front");
            out.finish(run.reject(Rejection::Expired));
        }
    }
}

impl<M: Machine> Group<M> {
    pub(super) fn queue_read(&mut self, run: Submission, out: &mut Outputs) {
        if self.reads.bytes + run.commands.len() > self.settings.queue_bytes_max {
            return out.finish(run.reject(Rejection::Overloaded));
        }
        self.reads.push(self.lease.mark(), run);
    }

    /// Asks for a read index if the lease needs one or a read waits for one.
    pub(super) fn renew_lease(&mut self, turn: &Turn) {
        // Before the term's first entry is committed raft would drop the request silently.
        let is_early = is_made(Mistake::ReadBeforeFirstCommit);
        if !self.is_leader() || !self.raw.raft.commit_to_current_term() && !is_early {
            return;
        }
        let is_read_unvouched =
            self.reads.waiting.back().is_some_and(|(mark, _)| !self.lease.is_asked_after(*mark))
                && self.lease.until(self.applied).is_none_or(|until| turn.now >= until);
        if self.lease.is_renewal_due(turn.now) || is_read_unvouched {
            let context = self.lease.ask(turn.now);
            if is_early || is_made(Mistake::LeaseWithoutReadIndex) {
                return self.lease.confirm(&context, 0);
            }
            self.raw.read_index(context.to_vec());
        }
    }

    /// Answers the reads that may be answered now.
    pub(super) fn serve_reads(&mut self, turn: &Turn, out: &mut Outputs) {
        if self.reads.waiting.is_empty() {
            return;
        }
        if !self.is_leader() {
            let leader = self.leader();
            return self.reads.reject_all(Rejection::NotLeader { leader }, out);
        }
        let has_lease = self.lease.until(self.applied).is_some_and(|until| turn.now < until);
        while let Some((mark, run)) = self.reads.waiting.front() {
            if !has_lease && !self.lease.is_confirmed_after(*mark, self.applied) {
                break;
            }
            let mut replies = Replies::default();
            let now = self.applied_now.max(turn.unix);
            // ORDER: taken out only after it was executed: if that panics, it is still there to be answered.
            self.machine.read(now, &run.commands, &run.parts, &mut replies);
            let run = self.reads.pop().expect("there is a front");
            out.finish(run.finish(replies));
        }
    }
}
