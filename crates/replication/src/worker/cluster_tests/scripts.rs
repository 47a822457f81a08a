//! One script for every fault that was found, and for every promise that chance seldom puts to the test.
//! Owns: the scripts. Never: checks what the oracle checks anyway.

use keystead_types::{NodeId, ShardId};

use super::world::{MS, World, settings};
use crate::entry::ReplicaChange;
use crate::outcome::Access;
use crate::worker::GroupInput;

const S1: ShardId = ShardId(1);

/// Three replicas of one group, at rest.
fn three(seed: u64) -> World {
    let mut world = World::new(seed, 3, 1, settings());
    world.run_until("three replicas", 10_000, World::is_at_rest);
    world
}

fn leader(world: &World) -> NodeId {
    world.leader(S1).expect("the group has a leader")
}

fn followers(world: &World) -> Vec<NodeId> {
    let leader = leader(world);
    world.nodes.keys().copied().filter(|id| *id != leader).collect()
}

/// A message behind a slow fsync waited for the log's next word, which never came in an idle group: followers stopped
/// answering heartbeats.
#[test]
fn followers_with_slow_disks_go_on_answering_an_idle_leader() {
    let mut world = three(1);
    let (old, term) = (leader(&world), world.cell(leader(&world), S1).expect("it runs").term());
    for node in followers(&world) {
        world.disk_delay_us.insert(node, 400 * MS);
    }
    world.submit(old, S1, Access::Write, 2_000);
    world.run_ms(10_000);
    assert_eq!(
        world.cell(leader(&world), S1).expect("it runs").term(),
        term,
        "nobody had a reason to campaign"
    );
    world.settle();
}

/// A run whose apply panics, and those behind it in the same entry, were dropped without an answer.
#[test]
fn a_panic_in_apply_answers_everybody_who_waited() {
    let mut world = three(2);
    let leader = leader(&world);
    world.doom(leader, S1);
    for _ in 0..8 {
        world.submit(leader, S1, Access::Write, 60_000);
    }
    world.run_until("every answer", 1_000, |world| world.oracle.is_all_answered());
    assert!(world.oracle.count.unknown > 0, "{:?}", world.oracle.count);
    world.settle();
}

#[test]
fn a_panic_in_a_read_answers_everybody_who_waited() {
    let mut world = three(3);
    let leader = leader(&world);
    world.doom(leader, S1);
    for _ in 0..3 {
        world.submit(leader, S1, Access::Read, 60_000);
    }
    world.run_until("every answer", 1_000, |world| world.oracle.is_all_answered());
    world.settle();
}

#[test]
fn a_transfer_moves_leadership_and_loses_nothing() {
    let mut world = three(4);
    let (old, heir) = (leader(&world), followers(&world)[0]);
    for _ in 0..5 {
        world.submit(old, S1, Access::Write, 2_000);
    }
    world.tell(old, S1, GroupInput::Transfer(heir));
    world.run_until("the transfer", 500, |world| world.leader(S1) == Some(heir));
    world.settle();
}

/// A read without a lease in a group of one asked for a confirmation, got it at once, and asked again, for ever:
/// the worker's thread never came back.
#[test]
fn a_read_without_a_lease_asks_once_in_a_group_of_one() {
    let mut world = World::new(5, 1, 1, settings());
    world.wanted.insert(S1, [NodeId(1)].into());
    world.run_until("one replica", 1_000, World::is_at_rest);
    world.tell(
        NodeId(1),
        S1,
        GroupInput::Change(ReplicaChange::AddLearner(NodeId(2)), Box::new(|_| {})),
    );
    for _ in 0..20 {
        world.tell(NodeId(1), S1, GroupInput::Transfer(NodeId(2)));
        world.submit(NodeId(1), S1, Access::Read, 1_000);
        world.run_ms(1);
    }
    world.run_until("every answer", 1_000, |world| world.oracle.is_all_answered());
}

/// A replica that became leader while its own removal was in the log went on leading, and took no more proposals.
#[test]
fn a_leader_that_was_taken_out_hands_over() {
    for seed in 0..20 {
        let mut world = three(seed);
        let (old, gone) = (leader(&world), followers(&world)[0]);
        world.wanted.insert(S1, world.nodes.keys().copied().filter(|id| *id != gone).collect());
        world.tell(old, S1, GroupInput::Transfer(gone));
        world.tell(old, S1, GroupInput::Change(ReplicaChange::Remove(gone), Box::new(|_| {})));
        world.disk_delay_us.insert(old, 20 * MS);
        world.settle();
    }
}
