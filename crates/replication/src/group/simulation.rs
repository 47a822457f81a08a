//! What a simulator sees of a group beyond its cell.
//! Owns: its gauges, the notes of what it applied. Never: changes it. Only there with the feature `simulation`.

use keystead_types::{LogIndex, Term};
use raft::eraftpb::Entry;

use super::Group;
use crate::machine::Machine;
use crate::outputs::Outputs;
use crate::simulation::{Applied, Gauges};

impl<M: Machine> Group<M> {
    pub(crate) fn gauges(&self) -> Gauges {
        let log = self.raw.store();
        Gauges {
            log_bytes: log.bytes(),
            queue_bytes: self.queue.bytes(),
            entries_awaited: self.waiting.len(),
            unpersisted: self.unpersisted.len(),
            last: LogIndex(log.last()),
        }
    }

    pub(super) fn note_applied(&self, entry: &Entry, out: &mut Outputs) {
        out.applied.push(Applied::of(self.id, entry));
    }

    pub(super) fn note_snapshot(&self, index: u64, term: u64, out: &mut Outputs) {
        let (index, term) = (LogIndex(index), Term(term));
        out.applied.push(Applied { group: self.id, index, term, entry: None });
    }
}
