//! What must hold at every moment, whatever goes wrong. What clients are told is judged in `workload`.
//!
//! Owns: what every replica applied, who led when, what leaders answered by, what was on disk when power was lost.
//! Never: acts on the cluster. A promise that is broken panics with the facts; the runner names the seed.
//!
//! - Election Safety, State Machine Safety, and no gap in apply (Raft paper, figure 3; INV-R5)
//! - a lease stands only for a state that has everything anybody was told (INV-L1, INV-L2, INV-L3)
//! - what was synced is recovered (INV-WAL4)
//! - equal digests of replicas at equal indexes (INV-R1)

use std::collections::{BTreeMap, VecDeque};

use keystead_replication::Role;
use keystead_replication::simulation::Applied;
use keystead_types::{LogIndex, NodeId, ShardId, Term};

use crate::coverage::{Coverage, Event};

/// Entries of a group that are remembered: a replica that lags further takes a snapshot.
const ENTRIES_MAX: usize = 4_096;

/// One replica in one life of its node.
type Replica = (NodeId, u64, ShardId);

/// See the module.
#[derive(Default)]
pub struct Checks {
    /// What stands at each index: the entry's term and checksum.
    entries: BTreeMap<ShardId, BTreeMap<LogIndex, (Term, u32)>>,
    leaders: BTreeMap<(ShardId, Term), NodeId>,
    applied: BTreeMap<Replica, LogIndex>,
    /// The highest index by which a leader may have answered somebody.
    told: BTreeMap<ShardId, LogIndex>,
    digests: BTreeMap<(ShardId, LogIndex), u128>,
}

impl Checks {
    /// A replica that shows `role` and `term` has applied something.
    pub fn applied(
        &mut self,
        (node, life): (NodeId, u64),
        applied: &Applied,
        role: Role,
        coverage: &mut Coverage,
    ) {
        let Applied { group, index, term, entry } = *applied;
        let before = self.applied.insert((node, life, group), index);
        let Some(checksum) = entry else {
            coverage.count(Event::SnapshotInstalled);
            let known = self.entries.get(&group).and_then(|entries| entries.get(&index));
            assert!(
                known.is_none_or(|(other, _)| *other == term),
                "snapshot at {index} of {group} on {node} is of {term:?}, the entry there of {known:?}"
            );
            return;
        };
        if let Some(before) = before {
            assert!(
                index.0 == before.0 + 1,
                "INV-R5: {node} applied {index} of {group} after {before}"
            );
        }
        let entries = self.entries.entry(group).or_default();
        let first = *entries.entry(index).or_insert((term, checksum));
        assert!(
            first == (term, checksum),
            "State Machine Safety: {node} applied {term:?} {checksum:08x} at {index} of {group}, another replica {first:?}"
        );
        if entries.len() > ENTRIES_MAX {
            entries.pop_first();
        }
        if role == Role::Leader {
            let told = self.told.entry(group).or_default();
            *told = index.max(*told);
        }
    }

    /// A replica is gone: the next one begins from its snapshot.
    pub fn gone(&mut self, node: NodeId, life: u64, group: ShardId) {
        self.applied.remove(&(node, life, group));
    }

    /// A replica shows itself as leader of a term.
    pub fn leads(&mut self, node: NodeId, group: ShardId, term: Term, coverage: &mut Coverage) {
        let first = *self.leaders.entry((group, term)).or_insert_with(|| {
            coverage.count(Event::Election);
            node
        });
        assert!(first == node, "Election Safety: {first} and {node} lead {group} in {term:?}");
    }

    /// A replica with a lease has applied so far.
    pub fn leased(&self, node: NodeId, group: ShardId, applied: LogIndex) {
        let told = self.told.get(&group).copied().unwrap_or_default();
        assert!(
            applied >= told,
            "INV-L2: {node} would answer reads of {group} as of {applied} by its lease, others were told {told}"
        );
    }

    /// A replica took a digest.
    pub fn digest(&mut self, node: NodeId, group: ShardId, index: LogIndex, digest: u128) -> bool {
        let mut is_compared = true;
        let first = *self.digests.entry((group, index)).or_insert_with(|| {
            is_compared = false;
            digest
        });
        assert!(
            first == digest,
            "INV-R1: the state of {group} on {node} at {index} is {digest:032x}, elsewhere {first:032x}"
        );
        is_compared
    }
}

/// What of each group's log is certainly on a disk: the last index as of the last sync, or less, if less was written
/// since.
#[derive(Clone, Debug, Default)]
pub struct Shadow {
    synced: BTreeMap<ShardId, LogIndex>,
    /// What later batches bring, by their tokens.
    pending: VecDeque<(u64, BTreeMap<ShardId, LogIndex>)>,
}

impl Shadow {
    /// A batch was queued under `token`; the groups' logs then end so.
    pub fn submitted(&mut self, token: u64, ends: BTreeMap<ShardId, LogIndex>) {
        self.pending.push_back((token, ends));
    }

    /// Everything up to `token` is durable.
    pub fn synced(&mut self, token: u64) {
        while let Some((_, ends)) = self.pending.pop_front_if(|(other, _)| *other <= token) {
            self.synced.extend(ends);
        }
    }

    /// A replica is gone from this disk.
    pub fn removed(&mut self, group: ShardId) {
        self.synced.remove(&group);
        for (_, ends) in &mut self.pending {
            ends.remove(&group);
        }
    }

    /// The log was opened and has this of a group: `None` if nothing.
    pub fn recovered(&self, node: NodeId, group: ShardId, last: Option<LogIndex>) {
        let later = self.pending.iter().filter_map(|(_, ends)| ends.get(&group)).min();
        let Some(synced) = self.synced.get(&group) else { return };
        let floor = later.map_or(*synced, |later| *later.min(synced));
        assert!(
            last.unwrap_or_default() >= floor,
            "INV-WAL4: the log of {node} has {group} up to {last:?}, {floor} was synced"
        );
    }

    /// The groups that have something synced.
    pub fn groups(&self) -> impl Iterator<Item = ShardId> {
        self.synced.keys().copied()
    }

    /// A new life begins with what the log was found to have: opening it made that durable, also where it had been cut
    /// short by a batch that nobody had synced.
    pub fn restart(&mut self, recovered: &BTreeMap<ShardId, LogIndex>) {
        self.pending.clear();
        self.synced.clone_from(recovered);
    }
}
