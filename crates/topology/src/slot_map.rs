//! Slot to shard in one step, for routers.
//! Owns: [`SlotMap`]. Never: who leads a shard, where its replicas are.

use std::fmt;

use keystead_types::{Epoch, SLOT_COUNT, ShardId, Slot};

use crate::Topology;

/// Which shard serves each slot, at one epoch: 64 KiB, built once per change of the slot map.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotMap {
    epoch: Epoch,
    shards: Box<[ShardId]>,
}

impl SlotMap {
    /// The map of a founded cluster; `None` before.
    #[must_use]
    pub fn of(topology: &Topology) -> Option<Self> {
        if !topology.is_founded() {
            return None;
        }
        let mut shards = vec![ShardId::META; usize::from(SLOT_COUNT)].into_boxed_slice();
        for shard in topology.shards().values() {
            shards[usize::from(shard.slots.first)..usize::from(shard.slots.end)].fill(shard.id);
        }
        Some(Self { epoch: topology.epoch(), shards })
    }

    /// The shard that serves the slot.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> ShardId {
        self.shards[slot.index()]
    }

    /// The epoch of the topology this was built from.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotMap").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
