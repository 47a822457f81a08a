//! From queued runs to proposed entries, and who waits for which entry.
//! Owns: the queue, packing, stamping (the only place that stamps time), `Waiting`. Never: applies.

use std::collections::VecDeque;

use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{LogIndex, Monotonic, NodeId};

use super::{Group, Turn};
use crate::entry::{HEADER_BYTES, Header, Kind, ReplicaChange};
use crate::machine::{Machine, Replies};
use crate::outcome::{Access, Doubt, Rejection, Submission};
use crate::outputs::Outputs;

/// Runs that wait to be packed.
#[derive(Default)]
pub(crate) struct Queue {
    runs: VecDeque<Submission>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, run: Submission) {
        self.bytes += run.commands.len();
        self.runs.push_back(run);
    }

    fn pop(&mut self) -> Option<Submission> {
        let run = self.runs.pop_front()?;
        self.bytes -= run.commands.len();
        Some(run)
    }

    #[cfg(feature = "simulation")]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn reject_all(&mut self, why: Rejection, out: &mut Outputs) {
        while let Some(run) = self.pop() {
            out.finish(run.reject(why));
        }
    }

    pub(crate) fn reject_overdue(&mut self, now: Monotonic, out: &mut Outputs) {
        // Runs are queued in the order of their deadlines, near enough: the front is the oldest.
        while self.runs.front().is_some_and(|run| run.deadline <= now) {
            let run = self.pop().expect("there is a front");
            out.finish(run.reject(Rejection::Expired));
        }
    }
}

/// The runs that were packed into one entry, in order; their commands are in the entry.
#[derive(Default)]
pub(crate) struct Waiting {
    runs: Vec<Option<Submission>>,
    lengths: Vec<usize>,
}

impl Waiting {
    /// True if nobody waits any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.iter().all(Option::is_none)
    }

    pub(crate) fn doubt_overdue(&mut self, now: Monotonic, out: &mut Outputs) {
        for run in &mut self.runs {
            if run.as_ref().is_some_and(|run| run.deadline <= now) {
                let run = run.take().expect("it was just looked at");
                out.finish(run.doubt(Doubt::Deadline));
            }
        }
    }

    pub(crate) fn doubt(self, doubt: Doubt, out: &mut Outputs) {
        for run in self.runs.into_iter().flatten() {
            out.finish(run.doubt(doubt));
        }
    }

    /// Another entry was committed in this one's place: none of the runs can happen any more.
    pub(crate) fn reject(self, why: Rejection, out: &mut Outputs) {
        for run in self.runs.into_iter().flatten() {
            out.finish(run.reject(why));
        }
    }

    /// Applies the entry's commands run by run through `apply`, and answers each run. If `apply` panics, the runs
    /// that are not answered stay here.
    pub(crate) fn answer(
        &mut self,
        mut commands: &[u8],
        out: &mut Outputs,
        mut apply: impl FnMut(&[u8], &[crate::Part], &mut Replies),
    ) {
        for (run, length) in self.runs.iter_mut().zip(&self.lengths) {
            let (own, rest) = commands.split_at(*length);
            commands = rest;
            let mut replies = Replies::default();
            let parts = run.as_ref().map_or(&[][..], |run| &run.parts);
            // ORDER: taken out only after it was applied.
            apply(own, parts, &mut replies);
            if let Some(run) = run.take() {
                out.finish(run.finish(replies));
            }
        }
        assert!(
            commands.is_empty(),
            "INV-R6: {} bytes of an entry belong to no run",
            commands.len()
        );
    }
}

impl<M: Machine> Group<M> {
    /// Takes a run: into the queue if this replica leads, back to its caller if not.
    pub(crate) fn submit(&mut self, mut run: Submission, turn: &Turn, out: &mut Outputs) {
        if run.deadline <= turn.now {
            return out.finish(run.reject(Rejection::Expired));
        }
        if !self.is_leader() {
            if run.access == Access::Read && is_made(Mistake::StaleForward) {
                let mut replies = Replies::default();
                self.machine.read(turn.unix, &run.commands, &run.parts, &mut replies);
                return out.finish(run.finish(replies));
            }
            let leader = self.leader();
            return out.finish(run.reject(Rejection::NotLeader { leader }));
        }
        if run.access == Access::Read {
            return self.queue_read(run, out);
        }
        if turn.is_disk_full {
            return out.finish(run.reject(Rejection::DiskFull));
        }
        if self.queue.bytes + run.commands.len() > self.settings.queue_bytes_max {
            return out.finish(run.reject(Rejection::Overloaded));
        }
        self.machine.admit(&mut run.commands, &mut run.parts);
        self.queue.push(run);
    }

    /// Packs what is queued into entries and proposes them, as many as may be in flight.
    pub(crate) fn propose_queued(&mut self, turn: &Turn, out: &mut Outputs) {
        if self.queue.runs.is_empty() {
            return;
        }
        if !self.is_leader() {
            let leader = self.leader();
            return self.queue.reject_all(Rejection::NotLeader { leader }, out);
        }
        if self.raw.raft.lead_transferee.is_some() {
            // They wait: the transfer ends in a new leader, to which they are handed, or is given up.
            return;
        }
        while !self.queue.runs.is_empty() && self.in_flight() < self.settings.entries_in_flight_max
        {
            self.propose_entry(turn, out);
        }
    }

    /// Entries proposed and not yet applied here.
    fn in_flight(&self) -> u64 {
        self.raw.raft.raft_log.last_index() - self.applied
    }

    fn propose_entry(&mut self, turn: &Turn, out: &mut Outputs) {
        let bytes = self.queue.bytes.min(self.settings.entry_bytes_target);
        let mut payload = Vec::with_capacity(HEADER_BYTES + bytes);
        self.put_header(Kind::Commands, turn, &mut payload);
        let mut waiting = Waiting::default();
        self.machine.make_room(self.stamped, &mut payload);
        if payload.len() > HEADER_BYTES {
            // Nobody waits for it.
            waiting.lengths.push(payload.len() - HEADER_BYTES);
            waiting.runs.push(None);
        }
        let own = waiting.runs.len();
        while let Some(front) = self.queue.runs.front() {
            let is_first = waiting.runs.len() == own;
            if !is_first && payload.len() + front.commands.len() > self.settings.entry_bytes_target
            {
                break;
            }
            let run = self.queue.pop().expect("there is a front");
            payload.extend_from_slice(&run.commands);
            waiting.lengths.push(run.commands.len());
            waiting.runs.push(Some(run));
        }
        match self.raw.propose(Vec::new(), payload) {
            Ok(()) => {
                let key = (self.raw.raft.raft_log.last_index(), self.raw.raft.term);
                self.waiting.insert(key, waiting);
            }
            // Raft took nothing: this replica is not in the group any more, or hands over.
            Err(_) => waiting.reject(Rejection::NotLeader { leader: None }, out),
        }
    }

    /// The header that every entry begins with. INV-A1: `now` never runs backwards.
    fn put_header(&mut self, kind: Kind, turn: &Turn, payload: &mut Vec<u8>) {
        let runs_back = is_made(Mistake::TimeRunsBackwards);
        self.stamped = if runs_back { turn.unix } else { self.stamped.max(turn.unix) };
        Header { kind, now: self.stamped, seed: self.rng.next() }.put(payload);
    }

    /// Proposes what the machine wants done now that time has passed; nobody waits for it.
    pub(crate) fn propose_upkeep(&mut self, turn: &Turn) {
        let may = self.raw.raft.lead_transferee.is_none()
            && !turn.is_disk_full
            && self.in_flight() < self.settings.entries_in_flight_max;
        if !may {
            return;
        }
        self.scratch.clear();
        let mut commands = std::mem::take(&mut self.scratch);
        self.machine.upkeep(self.stamped.max(turn.unix), &mut commands);
        if !commands.is_empty() {
            let mut payload = Vec::with_capacity(HEADER_BYTES + commands.len());
            self.put_header(Kind::Commands, turn, &mut payload);
            payload.extend_from_slice(&commands);
            // Refused proposals are made again at a later tick.
            drop(self.raw.propose(Vec::new(), payload));
        }
        self.scratch = commands;
    }

    /// Proposes that all replicas take a digest. The index of the entry, or `None` if this replica
    /// does not lead.
    pub(crate) fn propose_digest(&mut self, turn: &Turn) -> Option<LogIndex> {
        if !self.is_leader() {
            return None;
        }
        let mut payload = Vec::with_capacity(HEADER_BYTES);
        self.put_header(Kind::Digest, turn, &mut payload);
        self.raw.propose(Vec::new(), payload).ok()?;
        Some(LogIndex(self.raw.raft.raft_log.last_index()))
    }

    /// Proposes a change of the group's replicas; false if this replica cannot now (it does not
    /// lead, another change is under way, or it would be the second leader to go).
    pub(crate) fn propose_change(&mut self, change: ReplicaChange) -> bool {
        if !self.is_leader() || self.raw.raft.has_pending_conf() || self.is_pointless(change) {
            return false;
        }
        self.raw.propose_conf_change(change.write(), change.to_raft()).is_ok()
    }

    fn is_pointless(&self, change: ReplicaChange) -> bool {
        let conf = self.raw.store().conf();
        let is = |ids: &[u64], node: NodeId| ids.contains(&node.0);
        match change {
            ReplicaChange::AddLearner(node) => is(&conf.learners, node) || is(&conf.voters, node),
            // A learner that has taken nothing yet has no state to vote with: counted on, it could hold up the
            // group for good.
            ReplicaChange::Promote(node) => {
                let progress = self.raw.raft.prs().get(node.0);
                !is(&conf.learners, node) || progress.is_none_or(|progress| progress.matched == 0)
            }
            ReplicaChange::Remove(node) => {
                !(is(&conf.learners, node) || is(&conf.voters, node))
                    || conf.voters == [node.0]
                    || node == self.node
            }
        }
    }
}
