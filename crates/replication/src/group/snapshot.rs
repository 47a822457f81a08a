//! A group's snapshots: taking them while writes go on, dropping the log they cover, giving them to
//! followers, taking them from a leader.
//!
//! Owns: when a dump is begun, how fast it is drained, what may be dropped. Never: a file; chunks
//! leave through [`Outputs`], and a fetched state comes in loaded.
//!
//! INV-R3: the disk lets go of an entry only if a durable snapshot of this replica covers it.
//! INV-R7: a follower that is being given a snapshot finds the log from the snapshot's index on, as
//! long as that log stays below `lagging_log_bytes_max`.

use std::collections::BTreeMap;
use std::time::Duration;

use keystead_types::mistakes::{Mistake, is_made};
use keystead_types::{LogIndex, Monotonic, NodeId, Term};
use raft::ProgressState;
use raft::eraftpb::{Message, Snapshot};

use super::{Group, Turn};
use crate::entry::Origin;
use crate::machine::{DumpStep, Machine};
use crate::outputs::{Event, Outputs, SnapshotWork};

pub(crate) struct Snapshots<M: Machine> {
    dump: Option<Dump>,
    /// A state fetched from the leader, with the origin it stands for.
    fetched: Option<(Origin, M::Loaded)>,
    /// The leader's offer that is being fetched.
    offer: Option<Message>,
    /// When each follower that is being given a snapshot last showed a sign of life.
    seen: BTreeMap<u64, Monotonic>,
    /// Length of the last snapshot taken here.
    last_dump_bytes: u64,
}

impl<M: Machine> Default for Snapshots<M> {
    fn default() -> Self {
        Self { dump: None, fetched: None, offer: None, seen: BTreeMap::new(), last_dump_bytes: 0 }
    }
}

struct Dump {
    origin: Origin,
    /// Bytes that had been appended to the log when it began.
    mark: u64,
    /// Its own length so far.
    bytes: u64,
    chunks_in_flight: usize,
    is_drained: bool,
}

impl<M: Machine> Snapshots<M> {
    /// The followers among `in_snapshot` that have not been seen for `stall`.
    pub(super) fn stalled(
        &mut self,
        in_snapshot: &[u64],
        now: Monotonic,
        stall: Duration,
    ) -> Vec<u64> {
        self.seen.retain(|node, _| in_snapshot.contains(node));
        let mut stalled = Vec::new();
        for &node in in_snapshot {
            let seen = self.seen.entry(node).or_insert(now);
            if now.since(*seen) >= stall {
                *seen = now;
                stalled.push(node);
            }
        }
        stalled
    }
}

impl<M: Machine> Group<M> {
    /// Begins a snapshot if a follower needs one, and drains the running one as fast as its writer
    /// takes chunks.
    pub(super) fn advance_snapshot(&mut self, out: &mut Outputs) {
        if self.raw.store().take_snapshot_wanted() {
            self.snapshot_now(out);
        }
        self.drain_dump(out);
    }

    /// Begins a snapshot if enough log has gathered since the last, and lets go of log in memory.
    ///
    /// Enough is the setting, or as much as the last snapshot was long: then no more is written for snapshots
    /// than for the log itself, however large the shard.
    pub(super) fn bound_log(&mut self, turn: &Turn, out: &mut Outputs) {
        let enough = (self.settings.snapshot_log_bytes as u64).max(self.snapshot.last_dump_bytes);
        if self.raw.store().bytes_since_snapshot() >= enough {
            self.snapshot_now(out);
        }
        self.trim_log(turn);
    }

    /// Length of the last snapshot taken here.
    pub(crate) fn last_dump_bytes(&self) -> u64 {
        self.snapshot.last_dump_bytes
    }

    fn begin_dump(&mut self, out: &mut Outputs) {
        let term = self
            .raw
            .store()
            .term_of(self.applied)
            .expect("INV-R2: what was applied last is in the log");
        let conf = self.raw.store().conf().clone();
        let origin = Origin { index: self.applied, term, conf, now: self.applied_now };
        self.machine.begin_dump();
        out.snapshots.push(SnapshotWork::Begin { group: self.id, origin: origin.clone() });
        let mark = self.raw.store().appended_bytes();
        self.snapshot.dump =
            Some(Dump { origin, mark, bytes: 0, chunks_in_flight: 0, is_drained: false });
    }

    fn drain_dump(&mut self, out: &mut Outputs) {
        let Some(dump) = &mut self.snapshot.dump else { return };
        while !dump.is_drained
            && dump.chunks_in_flight < self.settings.snapshot_chunks_in_flight_max
        {
            let mut bytes = Vec::with_capacity(self.settings.snapshot_chunk_bytes);
            let step = self.machine.dump_step(&mut bytes, self.settings.snapshot_chunk_bytes);
            if !bytes.is_empty() {
                dump.bytes += bytes.len() as u64;
                dump.chunks_in_flight += 1;
                out.snapshots.push(SnapshotWork::Chunk { group: self.id, bytes });
            }
            if step == DumpStep::Done {
                dump.is_drained = true;
                out.snapshots.push(SnapshotWork::Finish { group: self.id });
                if is_made(Mistake::LogDroppedBeforeSnapshot) {
                    let index = LogIndex(dump.origin.index);
                    return self.snapshot_written(index, out);
                }
            }
        }
    }

    /// The writer has taken a chunk.
    pub(crate) fn chunk_written(&mut self) {
        if let Some(dump) = &mut self.snapshot.dump {
            dump.chunks_in_flight = dump.chunks_in_flight.saturating_sub(1);
        }
    }

    /// The writer could not finish the file: the snapshot is given up, the log stays.
    pub(crate) fn snapshot_failed(&mut self) {
        if self.snapshot.dump.take().is_some() {
            self.machine.abort_dump();
        }
    }

    /// The file of this replica's own snapshot at `index` is durable.
    pub(crate) fn snapshot_written(&mut self, index: LogIndex, out: &mut Outputs) {
        // The file may be an older dump's, finished when a newer one had begun already: that one goes on.
        let is_this = |dump: &mut Dump| dump.is_drained && dump.origin.index == index.0;
        let Some(dump) = self.snapshot.dump.take_if(is_this) else { return };
        out.log.push_snapshot(self.id, index, &dump.origin.write());
        self.snapshot.last_dump_bytes = dump.bytes;
        self.raw.mut_store().snapshot_taken(dump.origin, dump.mark);
    }

    /// Lets go of log in memory that is applied and that no follower needs.
    fn trim_log(&mut self, turn: &Turn) {
        let log = self.raw.store();
        // Whoever joins a group of one is given a snapshot: nobody needs the log before it.
        let has_followers = self.raw.raft.prs().iter().len() > 1;
        let kept = if has_followers { self.settings.memory_log_bytes } else { 0 };
        if log.bytes() <= kept {
            return;
        }
        // Raft itself looks back no further than what it knows to be applied.
        let mut through = self.raw.raft.raft_log.applied;
        if self.is_leader() {
            let followers = || self.raw.raft.prs().iter().filter(|(node, _)| **node != self.node.0);
            let takes_snapshot = followers().any(|(_, p)| p.state == ProgressState::Snapshot);
            let mut bytes_max = self.settings.lagging_log_bytes_max as u64;
            if let Some(dump) = &self.snapshot.dump {
                through = through.min(dump.origin.index);
            }
            if takes_snapshot || self.snapshot.dump.is_some() {
                // What is written while a snapshot is on its way must still be there when it has arrived, or
                // the follower needs another one, for ever: time grows with the snapshot, and so does this.
                bytes_max = bytes_max.max(self.snapshot.last_dump_bytes.saturating_mul(2));
            }
            if log.bytes() as u64 <= bytes_max {
                let needed = followers()
                    .filter(|(node, p)| {
                        self.is_active(**node, turn.now) || p.state == ProgressState::Snapshot
                    })
                    .map(|(_, p)| {
                        // INV-R7: after the snapshot, the follower goes on with the entry behind it.
                        if p.state == ProgressState::Snapshot {
                            p.pending_snapshot
                        } else {
                            p.matched
                        }
                    });
                through = needed.fold(through, u64::min);
            } else {
                through = self.raw.raft.raft_log.applied;
            }
        }
        self.raw.mut_store().trim(through, kept);
    }

    /// The leader offers a snapshot: what raft then needs must be fetched before raft hears of it.
    pub(super) fn snapshot_offered(&mut self, message: Message, out: &mut Outputs) {
        let (index, term) = {
            let metadata = message.get_snapshot().get_metadata();
            (metadata.index, metadata.term)
        };
        if index <= self.raw.raft.raft_log.committed || message.term < self.raw.raft.term {
            // Nothing to fetch: raft answers with what this replica has.
            drop(self.raw.step(message));
            return;
        }
        let from = NodeId(message.from);
        self.snapshot.offer = Some(message);
        if self.snapshot.fetched.as_ref().is_some_and(|(origin, _)| origin.index >= index) {
            return self.step_fetched();
        }
        out.events.push(Event::SnapshotOffered {
            group: self.id,
            from,
            index: LogIndex(index),
            term: Term(term),
        });
    }

    /// A snapshot was fetched and loaded.
    pub(crate) fn snapshot_fetched(&mut self, origin: Origin, loaded: M::Loaded) {
        if origin.index <= self.raw.raft.raft_log.committed {
            return;
        }
        self.snapshot.fetched = Some((origin, loaded));
        self.step_fetched();
    }

    /// Tells raft of the fetched snapshot, in the name of the leader that last offered one. If that
    /// was in an older term, the next offer finds the fetched state here.
    fn step_fetched(&mut self) {
        let Some((origin, _)) = &self.snapshot.fetched else { return };
        let fetched_index = origin.index;
        let Some(mut message) = self.snapshot.offer.take() else { return };
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = origin.index;
        metadata.term = origin.term;
        metadata.set_conf_state(origin.conf.clone());
        drop(self.raw.step(message));
        if self.raw.snap().is_none() && fetched_index <= self.raw.raft.raft_log.committed {
            // The log has come that far by itself: a whole state is not kept for nothing.
            self.snapshot.fetched = None;
        }
    }

    /// Raft accepted a snapshot: the fetched state takes the place of everything here.
    pub(super) fn install_snapshot(&mut self, snapshot: &Snapshot, out: &mut Outputs) {
        let index = snapshot.get_metadata().index;
        let (origin, loaded) =
            self.snapshot.fetched.take().expect("raft hears of fetched snapshots only");
        assert!(
            origin.index == index && index > self.applied,
            "INV-R5: snapshot at {index} of {} accepted, fetched {}, applied {}",
            self.id,
            origin.index,
            self.applied
        );
        if self.snapshot.dump.take().is_some() {
            self.machine.abort_dump();
            out.snapshots.push(SnapshotWork::Abort { group: self.id });
        }
        self.machine.install(loaded);
        out.log.push_installed(self.id, LogIndex(index), &origin.write());
        #[cfg(feature = "simulation")]
        self.note_snapshot(index, origin.term, out);
        self.applied = index;
        self.applied_now = origin.now;
        self.stamped = self.stamped.max(origin.now);
        self.doubt_through(index, out);
        let conf = origin.conf.clone();
        self.raw.mut_store().restart_from(origin);
        self.set_conf(conf, index, out);
    }

    /// A follower asked for a piece of a snapshot.
    pub(crate) fn follower_fetches(&mut self, node: NodeId, turn: &Turn) {
        self.snapshot.seen.insert(node.0, turn.now);
    }

    /// Starts a snapshot now, whatever the log's size, so that its entries can be dropped.
    pub(crate) fn snapshot_now(&mut self, out: &mut Outputs) {
        let covered = self.raw.store().snapshot_origin().map_or(0, |origin| origin.index);
        if self.snapshot.dump.is_none() && self.applied > covered && self.is_initialized() {
            self.begin_dump(out);
        }
    }
}
