//! The two kinds of state that a node's groups replicate, as one machine for one kind of worker.
//! Owns: the switch between them. Never: what either does.
//! INV-N1: a group keeps the kind of state it was founded with.

use keystead_replication::{DumpStep, Machine, Part, Replies};
use keystead_store::Store;
use keystead_topology::Topology;
use keystead_types::{ApplyContext, UnixMillis};

use crate::meta::MetaMachine;
use crate::shard::ShardMachine;

/// A group's state: keys, or the cluster's own metadata.
pub(crate) enum NodeMachine {
    /// A shard's keys.
    Shard(ShardMachine),
    /// The metadata group.
    Meta(MetaMachine),
}

/// A state loaded from a snapshot.
pub(crate) enum Loaded {
    /// A shard's keys.
    Shard(Box<Store>),
    /// The metadata.
    Meta(Box<Topology>),
}

macro_rules! each {
    ($self:ident, $machine:ident => $call:expr) => {
        match $self {
            Self::Shard($machine) => $call,
            Self::Meta($machine) => $call,
        }
    };
}

impl Machine for NodeMachine {
    type Loaded = Loaded;

    fn apply(
        &mut self,
        context: &ApplyContext,
        commands: &[u8],
        parts: &[Part],
        replies: &mut Replies,
    ) {
        each!(self, machine => machine.apply(context, commands, parts, replies));
    }

    fn read(&mut self, now: UnixMillis, commands: &[u8], parts: &[Part], replies: &mut Replies) {
        each!(self, machine => machine.read(now, commands, parts, replies));
    }

    fn begin_dump(&mut self) {
        each!(self, machine => machine.begin_dump());
    }

    fn dump_step(&mut self, out: &mut Vec<u8>, bytes_target: usize) -> DumpStep {
        each!(self, machine => machine.dump_step(out, bytes_target))
    }

    fn abort_dump(&mut self) {
        each!(self, machine => machine.abort_dump());
    }

    fn install(&mut self, state: Loaded) {
        match (self, state) {
            (Self::Shard(machine), Loaded::Shard(store)) => machine.install(*store),
            (Self::Meta(machine), Loaded::Meta(topology)) => machine.install(topology),
            (Self::Shard(_), Loaded::Meta(_)) | (Self::Meta(_), Loaded::Shard(_)) => {
                panic!("INV-N1: a group keeps the kind of state it was founded with")
            }
        }
    }

    fn digest(&self) -> u128 {
        each!(self, machine => machine.digest())
    }

    fn upkeep(&mut self, now: UnixMillis, commands: &mut Vec<u8>) {
        each!(self, machine => machine.upkeep(now, commands));
    }

    fn admit(&mut self, commands: &mut Vec<u8>, parts: &mut [Part]) {
        each!(self, machine => machine.admit(commands, parts));
    }

    fn make_room(&mut self, now: UnixMillis, commands: &mut Vec<u8>) {
        each!(self, machine => machine.make_room(now, commands));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keystead_store::{Store, StoreConfig};

    use super::*;

    /// INV-N1.
    #[test]
    #[should_panic(expected = "INV-N1")]
    fn keys_do_not_become_metadata() {
        let machine = MetaMachine::new(Topology::default(), Arc::new(|_| {}));
        let store = Store::new(StoreConfig { hash_seed: 1, has_every_slot: true });
        NodeMachine::Meta(machine).install(Loaded::Shard(Box::new(store)));
    }
}
