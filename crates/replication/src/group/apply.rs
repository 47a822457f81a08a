//! Applying what is committed, and settling the fate of what waited for it.
//!
//! Owns: INV-R5 and INV-R6. Never: time or chance of its own: both come in the entry.
//!
//! A proposal's fate is decided by what is committed at its index. The entry with its term: it
//! happened. Another term: it did not, and cannot any more (Log Matching, Raft paper section 5.3), so the
//! caller may be told that nothing happened. A snapshot that covers the index hides which: unknown.

use keystead_types::mistakes::{self, Mistake, is_made};
use keystead_types::{ApplyContext, LogIndex, UnixMillis};
use raft::eraftpb::{ConfState, Entry, EntryType};

use super::{Group, is_blank};
use crate::entry::{Header, Kind, ReplicaChange};
use crate::machine::{Machine, Replies};
use crate::outcome::{Doubt, Rejection};
use crate::outputs::{Event, Outputs};

impl<M: Machine> Group<M> {
    pub(super) fn apply_committed(&mut self, committed: Vec<Entry>, out: &mut Outputs) {
        for entry in committed {
            assert!(
                entry.index == self.applied + 1,
                "INV-R5: gap in apply of {}: entry {} after {}",
                self.id,
                entry.index,
                self.applied
            );
            self.applying = Some(LogIndex(entry.index));
            match entry.get_entry_type() {
                EntryType::EntryNormal if is_blank(&entry) => self.settle(&entry, out),
                EntryType::EntryNormal => self.apply_entry(&entry, out),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.settle(&entry, out);
                    self.apply_change(&entry, out);
                }
            }
            self.applied = entry.index;
            self.applying = None;
            #[cfg(feature = "simulation")]
            self.note_applied(&entry, out);
        }
    }

    fn apply_entry(&mut self, entry: &Entry, out: &mut Outputs) {
        let (header, commands) = Header::split(&entry.data).unwrap_or_else(|error| {
            panic!("INV-R1: entry {} of {} cannot be applied: {error}", entry.index, self.id)
        });
        assert!(
            header.now >= self.applied_now,
            "INV-A1: entry {} of {} is stamped {}, before {}",
            entry.index,
            self.id,
            header.now,
            self.applied_now
        );
        self.applied_now = header.now;
        self.settle_before(entry, out);
        match header.kind {
            Kind::Digest => self.remember_digest(LogIndex(entry.index)),
            Kind::Commands => {
                let is_clock = is_made(Mistake::ClockInApply);
                let now = if is_clock { UnixMillis(mistakes::clock_ms()) } else { header.now };
                let context = ApplyContext { index: LogIndex(entry.index), now, seed: header.seed };
                let machine = &mut self.machine;
                let key = (entry.index, entry.term);
                match self.waiting.get_mut(&key) {
                    Some(waiting) => {
                        waiting.answer(commands, out, |run, parts, replies| {
                            machine.apply(&context, run, parts, replies);
                        });
                        self.waiting.remove(&key);
                    }
                    None => machine.apply(&context, commands, &[], &mut Replies::default()),
                }
                self.cell.count_applied();
            }
        }
        self.settle(entry, out);
    }

    /// Everything that waited at this index under another term, or before it, can never happen.
    fn settle(&mut self, entry: &Entry, out: &mut Outputs) {
        self.settle_before(entry, out);
        while self.waiting.first_key_value().is_some_and(|(key, _)| key.0 <= entry.index) {
            let (_, waiting) = self.waiting.pop_first().expect("there is a first");
            let leader = self.leader();
            waiting.reject(Rejection::NotLeader { leader }, out);
        }
    }

    fn settle_before(&mut self, entry: &Entry, out: &mut Outputs) {
        while let Some((key, _)) = self.waiting.first_key_value() {
            if *key >= (entry.index, entry.term) {
                break;
            }
            let (_, waiting) = self.waiting.pop_first().expect("there is a first");
            let leader = self.leader();
            waiting.reject(Rejection::NotLeader { leader }, out);
        }
    }

    /// A snapshot took the place of everything up to `index`: what waited there is in doubt.
    pub(super) fn doubt_through(&mut self, index: u64, out: &mut Outputs) {
        while self.waiting.first_key_value().is_some_and(|(key, _)| key.0 <= index) {
            let (_, waiting) = self.waiting.pop_first().expect("there is a first");
            waiting.doubt(Doubt::SnapshotInstalled, out);
        }
    }

    fn apply_change(&mut self, entry: &Entry, out: &mut Outputs) {
        if is_blank(entry) {
            return;
        }
        let change = ReplicaChange::read(&entry.context).unwrap_or_else(|error| {
            panic!("INV-R1: entry {} of {} cannot be applied: {error}", entry.index, self.id)
        });
        let conf = self.raw.apply_conf_change(&change.to_raft()).unwrap_or_else(|error| {
            panic!("INV-R1: {change:?} at {} of {}: {error}", entry.index, self.id)
        });
        // A lease was vouched for by a majority of the voters before the change. One change keeps a
        // voter in common with every later majority, a second one need not (INV-L2).
        self.lease.revoke();
        self.cell.set_lease(None);
        self.admit(change, entry.index);
        self.set_conf(conf, entry.index, out);
    }

    pub(super) fn set_conf(&mut self, conf: ConfState, index: u64, out: &mut Outputs) {
        self.raw.mut_store().set_conf(conf);
        self.publish_members(LogIndex(index));
        out.events.push(Event::ReplicasChanged { group: self.id });
    }
}
