//! What must hold whatever happens, checked as it happens.
//! INV-R1: whatever replicas apply at an index gives one state. INV-R4: what was promised outlives crashes that take
//! away all that was not durable. INV-R6: what was acknowledged was applied, and what was rejected was not.
//! Owns: what was submitted and how it ended, what every replica applied, who led when. Never: acts on the cluster.

use std::collections::{BTreeMap, BTreeSet};

use keystead_types::{Monotonic, NodeId, ShardId};

use super::machine;
use crate::outcome::{Access, Completed, Doubt, Ending, Rejection, ReplyTo};

/// How many endings of each kind there were: a run in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) acknowledged: u64,
    pub(super) reads: u64,
    pub(super) rejected: u64,
    pub(super) unknown: u64,
    pub(super) lost_with_node: u64,
    pub(super) leaders: u64,
}

#[derive(Debug)]
struct Asked {
    node: NodeId,
    life: u64,
    group: ShardId,
    access: Access,
    deadline: Monotonic,
    /// What the answer to a read must have seen.
    floor: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    asked: BTreeMap<u64, Asked>,
    acknowledged: BTreeMap<ShardId, BTreeSet<u64>>,
    rejected: BTreeSet<u64>,
    /// Highest position that somebody was told of.
    told: BTreeMap<ShardId, u64>,
    digests: BTreeMap<(ShardId, u64), u64>,
    leaders: BTreeMap<(ShardId, u64), NodeId>,
    /// Replicas that fell or were stopped, by node and life: there `ReplicaFailed` is a fair answer.
    pub(super) failed: BTreeSet<(NodeId, u64, ShardId)>,
    pub(super) count: Count,
    /// Digest of everything that happened, to compare two runs.
    pub(super) trace: u64,
}

/// Stands for every caller: the world hands endings to the oracle itself.
pub(super) struct Nobody;

impl ReplyTo for Nobody {
    fn deliver(&self, _completed: Completed) {}

    fn wake(&self) {}
}

/// Who is asked, by whom, until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) id: u64,
    pub(super) node: NodeId,
    pub(super) life: u64,
    pub(super) group: ShardId,
    pub(super) access: Access,
    pub(super) deadline: Monotonic,
}

impl Oracle {
    pub(super) fn note(&mut self, fact: u64) {
        self.trace = (self.trace.rotate_left(7) ^ fact).wrapping_mul(0x2545_f491_4f6c_dd1d);
    }

    pub(super) fn ask(&mut self, question: Question) {
        let Question { id, node, life, group, access, deadline } = question;
        let floor = self.told(group);
        self.asked.insert(id, Asked { node, life, group, access, deadline, floor });
    }

    pub(super) fn told(&self, group: ShardId) -> u64 {
        self.told.get(&group).copied().unwrap_or_default()
    }

    pub(super) fn is_all_answered(&self) -> bool {
        self.asked.is_empty()
    }

    pub(super) fn is_acknowledged(&self, id: u64) -> bool {
        self.acknowledged.values().any(|ids| ids.contains(&id))
    }

    fn tell(&mut self, group: ShardId, position: u64) {
        let told = self.told.entry(group).or_default();
        *told = position.max(*told);
    }

    /// Takes an ending. `now` is the node's clock.
    pub(super) fn ended(&mut self, completed: Completed, now: Monotonic) {
        let id = completed.parts[0].ticket;
        let asked = self.asked.remove(&id).unwrap_or_else(|| panic!("{id} ended twice"));
        self.note(id);
        match completed.ending {
            Ending::Done(replies) => {
                assert_eq!(replies.ends.len(), 1, "one part, one reply");
                let position = machine::position(&replies.bytes);
                assert!(
                    position >= asked.floor,
                    "read {id} at {position} misses what was told: {}",
                    asked.floor
                );
                self.tell(asked.group, position);
                self.note(position);
                if asked.access == Access::Write {
                    self.count.acknowledged += 1;
                    self.acknowledged.entry(asked.group).or_default().insert(id);
                } else {
                    self.count.reads += 1;
                }
            }
            Ending::Rejected { why, commands } => {
                assert_eq!(
                    commands.len(),
                    machine::COMMAND_BYTES,
                    "a rejected run comes back whole"
                );
                if why == Rejection::Expired {
                    assert!(now >= asked.deadline, "{id} expired before its deadline");
                }
                self.count.rejected += 1;
                self.rejected.insert(id);
            }
            Ending::Unknown(doubt) => {
                assert_eq!(asked.access, Access::Write, "a read is never in doubt");
                match doubt {
                    Doubt::Deadline => {
                        assert!(now >= asked.deadline, "{id} is doubted before its deadline")
                    }
                    Doubt::ReplicaFailed => {
                        let replica = (asked.node, asked.life, asked.group);
                        assert!(
                            self.failed.contains(&replica),
                            "{id} is doubted, but {replica:?} did not fail"
                        );
                    }
                    Doubt::SnapshotInstalled => {}
                }
                self.count.unknown += 1;
            }
        }
    }

    /// A node crashed: what it was asked is never answered.
    pub(super) fn crashed(&mut self, node: NodeId) {
        let before = self.asked.len();
        self.asked.retain(|_, asked| asked.node != node);
        self.count.lost_with_node += (before - self.asked.len()) as u64;
    }

    /// A replica has applied up to `index`, with this digest.
    pub(super) fn applied(&mut self, node: NodeId, group: ShardId, (index, digest): (u64, u64)) {
        self.note(index ^ digest ^ node.0);
        let first = *self.digests.entry((group, index)).or_insert(digest);
        assert_eq!(
            first, digest,
            "{node} applied something else at {index} of {group} than another replica"
        );
    }

    pub(super) fn applied_id(&self, id: u64) {
        assert!(!self.rejected.contains(&id), "{id} was rejected, and happened all the same");
    }

    /// A replica shows itself as the leader of a term.
    pub(super) fn leads(&mut self, node: NodeId, group: ShardId, term: u64) {
        let count = self.leaders.len() as u64;
        let leader = *self.leaders.entry((group, term)).or_insert(node);
        assert_eq!(leader, node, "two leaders of {group} in term {term}");
        self.count.leaders += self.leaders.len() as u64 - count;
    }

    /// A read from memory that a lease would allow now.
    pub(super) fn leased_read(&self, node: NodeId, group: ShardId, position: u64) {
        let told = self.told(group);
        assert!(
            position >= told,
            "INV-L1: {node} would serve {group} at {position} by its lease, told {told}"
        );
    }

    /// The end: everything is answered, and everything acknowledged is there once.
    pub(super) fn finish(&self, group: ShardId, ids: &[u64]) {
        assert!(self.asked.is_empty(), "unanswered at the end: {:?}", self.asked);
        let unique: BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len(), "a write happened twice in {group}");
        for id in self.acknowledged.get(&group).into_iter().flatten() {
            assert!(unique.contains(id), "acknowledged write {id} of {group} is lost");
        }
        for id in &unique {
            assert!(!self.rejected.contains(id), "rejected write {id} of {group} happened");
        }
    }
}
