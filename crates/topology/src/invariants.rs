//! What always holds of a topology.
//! Owns: [`Topology::check`], run after every applied command and on every loaded dump.
//! Never: repairs; a state that breaks one of these is a bug or damage.
//! - INV-TOP1: every slot belongs to exactly one shard.
//! - INV-TOP2: shards are numbered from 0 to their count without a gap.
//! - INV-TOP3: every shard has a voter.
//! - INV-TOP4: replicas, and steps towards one, stand on nodes that are known and not gone.
//! - INV-TOP5: a step in progress can still be made.
//! - INV-TOP6: a replacement is between two nodes that both have a replica.

use keystead_types::{NodeId, SLOT_COUNT, ShardId};
use thiserror::Error;

use crate::apply::check_action;
use crate::{Node, NodeState, Shard, Topology};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Slots unserved or served twice.
    #[error("INV-TOP1: every slot belongs to exactly one shard: slot {slot} does not, at {shard}")]
    Slots {
        /// The first such slot.
        slot: u16,
        /// The shard at which it showed.
        shard: ShardId,
    },
    /// Shard numbers with a gap.
    #[error("INV-TOP2: shards are numbered 0 to their count: {shard} is out of line")]
    Numbering {
        /// The shard.
        shard: ShardId,
    },
    /// A shard that nobody votes for.
    #[error("INV-TOP3: every shard has a voter: {shard} has none")]
    NoVoter {
        /// The shard.
        shard: ShardId,
    },
    /// A replica, or a step towards one, on a node that is unknown or gone.
    #[error("INV-TOP4: replicas stand on nodes that are there: {shard} names {node}")]
    Homeless {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A step that cannot be made.
    #[error("INV-TOP5: a step in progress can still be made: that of {shard} on {node} cannot")]
    Step {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A replacement of or by a node that has no replica.
    #[error(
        "INV-TOP6: a replacement is between two replicas: that of {shard}, {from} by {to}, is not"
    )]
    Replacement {
        /// The shard.
        shard: ShardId,
        /// The node to be replaced.
        from: NodeId,
        /// Its replacement.
        to: NodeId,
    },
}

impl Topology {
    /// Checks all invariants. Costs a walk over nodes and shards.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn check(&self) -> Result<(), Violation> {
        if !self.is_founded() {
            return Ok(());
        }
        let mut next_slot = 0;
        for (number, shard) in (0u32..).zip(self.shards.values()) {
            if shard.id != ShardId(number) {
                return Err(Violation::Numbering { shard: shard.id });
            }
            let is_in_place = shard.slots.is_empty() == shard.id.is_meta()
                && (shard.id.is_meta() || shard.slots.first == next_slot)
                && shard.slots.first <= shard.slots.end;
            if !is_in_place {
                return Err(Violation::Slots { slot: next_slot, shard: shard.id });
            }
            next_slot = shard.slots.end.max(next_slot);
            self.check_replicas(shard)?;
        }
        if next_slot == SLOT_COUNT {
            Ok(())
        } else {
            Err(Violation::Slots { slot: next_slot, shard: ShardId::META })
        }
    }

    fn check_replicas(&self, shard: &Shard) -> Result<(), Violation> {
        let id = shard.id;
        if shard.voters().next().is_none() {
            return Err(Violation::NoVoter { shard: id });
        }
        let step_node = shard.step.map(|step| step.action.node());
        let is_there = |node: &Node| node.state != NodeState::Gone;
        for node in shard.replicas.keys().copied().chain(step_node) {
            if !self.nodes.get(&node).is_some_and(is_there) {
                return Err(Violation::Homeless { shard: id, node });
            }
        }
        if let Some(step) = shard.step
            && check_action(shard, step.action).is_err()
        {
            return Err(Violation::Step { shard: id, node: step.action.node() });
        }
        if let Some(replacement) = shard.replacement {
            let (from, to) = (replacement.from, replacement.to);
            let is_sound = from != to
                && shard.replicas.contains_key(&from)
                && shard.replicas.contains_key(&to);
            if !is_sound {
                return Err(Violation::Replacement { shard: id, from, to });
            }
        }
        Ok(())
    }
}
