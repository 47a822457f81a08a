//! One script for every fault that was found, and for every promise that chance seldom puts to the test.
//! Owns: the scripts. Never: checks what the oracle checks anyway.

use keystead_types::{NodeId, ShardId};
use raft::eraftpb::{Entry, Message, MessageType};

use super::world::{MS, World, settings};
use crate::entry::ReplicaChange;
use crate::mail::PeerMessage;
use crate::outcome::Access;
use crate::settings::{Durability, Settings};
use crate::worker::{GroupInput, Input};

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

/// INV-R11: two followers commit what the leader's slow disk does not have yet, and must not apply it before the leader does:
/// it still answers reads without it.
#[test]
fn nobody_applies_what_the_leader_has_not_applied() {
    let mut world = three(21);
    let (leader, others) = (leader(&world), followers(&world));
    world.disk_delay_us.insert(leader, 200 * MS);
    for _ in 0..40 {
        world.submit(leader, S1, Access::Write, 2_000);
        for _ in 0..10 {
            world.run_ms(1);
            let applied = |id: NodeId| world.cell(id, S1).expect("it runs").applied();
            assert!(others.iter().all(|id| applied(*id) <= applied(leader)));
        }
    }
    assert_eq!(world.leader(S1), Some(leader), "a slow disk is no reason to campaign");
    world.settle();
}

/// A run whose apply panics, and those behind it in the same entry, were dropped without an answer.
/// INV-WK1: it is taken out; the oracle, which looks at every lease, sees that its lease went before.
#[test]
fn a_panic_in_apply_answers_everybody_who_waited() {
    let mut world = three(2);
    let leader = leader(&world);
    world.doom(leader, S1);
    for _ in 0..8 {
        world.submit(leader, S1, Access::Write, 60_000);
    }
    world.run_until("every answer", 1_000, |world| world.oracle.is_all_answered());
    assert!(world.oracle.failed.iter().any(|(node, _, group)| (*node, *group) == (leader, S1)));
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

/// The others may commit a leader's removal before its own disk has its last entries. Raft 0.7 panics when it then hears
/// of them, since it looks for the leader's own progress (seed 248998714329 of `sim`).
#[test]
fn a_leader_that_is_taken_out_before_its_disk_is_done_does_not_fall() {
    for seed in 0..60 {
        let mut world = three(seed);
        let (old, gone, third) = (leader(&world), followers(&world)[0], followers(&world)[1]);
        world.wanted.insert(S1, [old, third].into());
        // The old leader commits the removal only when it hands over; the new one's first entry is committed by the others.
        world.cut.insert((third, old));
        world.disk_delay_us.insert(old, 40 * MS);
        world.disk_delay_us.insert(gone, 80 * MS);
        world.tell(old, S1, GroupInput::Change(ReplicaChange::Remove(gone), Box::new(|_| {})));
        world.tell(old, S1, GroupInput::Transfer(gone));
        for _ in 0..60 {
            world.submit(gone, S1, Access::Write, 2_000);
            world.run_ms(5);
        }
        world.cut.clear();
        world.settle();
    }
}

/// A leader whose removal is committed may have proposed more behind it, and hears that others have that. Raft 0.7 panics when
/// it commits it, since it looks for the leader's own progress (found by `sim`).
#[test]
fn a_leader_that_is_taken_out_hears_the_others_and_does_not_fall() {
    for seed in 0..60 {
        let in_flight = Settings { entries_in_flight_max: 8, ..settings() };
        let mut world = World::new(seed, 3, 1, in_flight);
        world.run_until("three replicas", 10_000, World::is_at_rest);
        let (old, gone, third) = (leader(&world), followers(&world)[0], followers(&world)[1]);
        world.wanted.insert(S1, [old, third].into());
        world.disk_delay_us.insert(old, seed * MS);
        world.disk_delay_us.insert(third, 20 * MS);
        world.tell(old, S1, GroupInput::Change(ReplicaChange::Remove(gone), Box::new(|_| {})));
        world.tell(old, S1, GroupInput::Transfer(gone));
        for _ in 0..60 {
            world.submit(gone, S1, Access::Write, 2_000);
            world.run_ms(3);
        }
        world.settle();
    }
}

/// Two that campaigned at the same moment for the same term went on doing so: what was varied was the wait for a vote in advance,
/// which is never long, and not the wait for the vote.
#[test]
fn two_candidates_of_one_moment_do_not_stay_in_step() {
    let mut waits = Vec::new();
    for seed in 0..400 {
        let mut world = three(seed);
        let fallen = leader(&world);
        world.crash(fallen, true);
        let mut waited_ms = 0;
        while world.leader(S1).is_none_or(|node| node == fallen) {
            world.run_ms(5);
            waited_ms += 5;
            assert!(waited_ms < 20_000, "nobody leads (seed {seed})");
        }
        waits.push(waited_ms);
    }
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(median < 700 && longest < 1_700, "median {median} ms, longest {longest} ms");
}

fn deliver(world: &mut World, message: Message) {
    let to = NodeId(message.to);
    let running = world.node(to).running.as_mut().expect("the node runs");
    running.inputs.push(Input::Messages(vec![PeerMessage { group: S1, message }]));
    world.wake_soon(to);
    world.run_ms(5);
}

fn message(world: &World, kind: MessageType, from: NodeId, to: NodeId) -> Message {
    let term = world.cell(leader(world), S1).expect("the leader runs").term().0;
    let mut message = Message { from: from.0, to: to.0, term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

/// Raft 0.7 with `batch_append` put entries into an append that stood at another index. The follower acknowledged
/// the index plus their number, and the leader committed what nobody else had (seed 0).
#[test]
fn a_follower_acknowledges_only_entries_that_follow_the_index() {
    let mut world = three(6);
    let (leader, follower) = (leader(&world), followers(&world)[0]);
    for _ in 0..4 {
        world.submit(leader, S1, Access::Write, 2_000);
        world.run_ms(20);
    }
    world.run_until("rest", 1_000, World::is_at_rest);
    let last = world.cell(follower, S1).expect("it runs").log_bounds().1.0;
    let mut append = message(&world, MessageType::MsgAppend, leader, follower);
    (append.index, append.log_term, append.commit) = (last, append.term, last);
    let entries =
        (last - 2..=last).map(|index| Entry { index, term: append.term, ..Entry::default() });
    append.set_entries(entries.collect::<Vec<_>>().into());
    deliver(&mut world, append);
    world.run_ms(100);
    let progress = world.cell(leader, S1).expect("it runs").progress();
    assert!(
        progress.iter().all(|p| p.matched.0 <= last),
        "acknowledged beyond {last}: {progress:?}"
    );
    world.settle();
}

/// INV-L3: an answer to a campaign of long ago made a follower forget its leader, and free to vote for another one
/// while the leader's lease went on.
#[test]
fn a_late_answer_does_not_end_a_promise() {
    let mut world = three(7);
    let (others, before) =
        (followers(&world), world.cell(leader(&world), S1).expect("it runs").term());
    for kind in [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse] {
        let mut answer = message(&world, kind, others[1], others[0]);
        answer.term += 1;
        answer.reject = true;
        deliver(&mut world, answer);
        assert_eq!(world.cell(others[0], S1).expect("it runs").term(), before, "{kind:?}");
    }
    world.settle();
}

/// INV-L2: from the moment a transfer begins there is no lease, whatever becomes of it.
#[test]
fn a_transfer_bars_the_lease_for_the_rest_of_the_term() {
    let mut world = three(8);
    let (leader, heir) = (leader(&world), followers(&world)[0]);
    let has_lease = |world: &World| {
        let node = &world.nodes[&leader];
        world.cell(leader, S1).expect("it runs").may_read(node.monotonic(world.now_us))
    };
    world.run_until("a lease", 1_000, has_lease);
    world.cut.insert((leader, heir));
    world.tell(leader, S1, GroupInput::Transfer(heir));
    world.run_ms(1);
    assert!(!has_lease(&world), "INV-L2");
    world.run_ms(300);
    assert!(!has_lease(&world), "INV-L2");
    let id = world.submit(leader, S1, Access::Read, 1_000).expect("it runs");
    world
        .run_until("a read confirmed by a majority", 1_000, |world| world.oracle.is_all_answered());
    assert!(world.oracle.count.reads > 0, "read {id} was not answered");
    world.settle();
}

/// A full disk: new writes are refused, appends are not taken, and everything goes on when there is room.
#[test]
fn a_full_disk_refuses_writes_and_lives_on() {
    let mut world = three(9);
    let (leader, others) = (leader(&world), followers(&world));
    world.is_full.extend(others.iter().copied());
    world.submit(leader, S1, Access::Write, 300);
    world.run_ms(500);
    assert_eq!(
        world.oracle.count.unknown, 1,
        "nobody took it, but it may yet happen: {:?}",
        world.oracle.count
    );
    assert_eq!(world.leader(S1), Some(leader), "heartbeats are answered all the same");
    world.is_full.insert(leader);
    world.submit(leader, S1, Access::Write, 300);
    world.run_ms(50);
    assert_eq!(world.oracle.count.rejected, 1, "{:?}", world.oracle.count);
    world.settle();
}

/// A leader whose disk was full went on leading and refused every write, although a majority had room (found by
/// `keystead torture`: 6 s without a write in six of 16 shards).
#[test]
fn a_leader_whose_disk_is_full_hands_over_to_one_that_has_room() {
    let mut world = three(9);
    let (old, others) = (leader(&world), followers(&world));
    world.is_full.insert(old);
    // One of the others has no room either: leadership does not stay there, nor come back.
    world.is_full.insert(others[1]);
    let is_elsewhere = |world: &World| world.leader(S1) == Some(others[0]);
    world.run_until("the one with room leads", 5_000, is_elsewhere);
    world.run_ms(10_000);
    assert!(is_elsewhere(&world), "nobody has a reason to take it away again");
    world.is_full.remove(&others[1]);
    world.submit(others[0], S1, Access::Write, 2_000);
    world.run_until("an answer", 2_000, |world| world.oracle.is_all_answered());
    assert_eq!(world.oracle.count.rejected + world.oracle.count.unknown, 0);
    world.settle();
}

/// A restarted replica has forgotten whom it promised a lease: for an election timeout and more it does not vote.
#[test]
fn a_restarted_replica_votes_for_nobody_for_a_while() {
    let mut world = three(10);
    let (old, others) = (leader(&world), followers(&world));
    world.crash(others[0], true);
    world.crash(others[1], true);
    world.isolate(old);
    world.after(0, super::world::Happening::Restart(others[0]));
    world.after(0, super::world::Happening::Restart(others[1]));
    world.run_ms(500);
    assert!(
        others.iter().all(|id| world.role(*id, S1) != crate::Role::Leader),
        "{}",
        world.describe()
    );
    world.run_until("a new leader", 3_000, |world| {
        others.iter().any(|id| world.role(*id, S1) == crate::Role::Leader)
    });
    world.cut.clear();
    world.settle();
}

/// INV-R8. A replica that was taken out and came back empty within a term: what its earlier life had acknowledged and the
/// network delivered late made the leader count entries that the new one does not have (seed 433).
#[test]
fn a_late_acknowledgement_of_an_earlier_life_counts_for_nothing() {
    let mut world = three(11);
    let (leader, gone) = (leader(&world), followers(&world)[0]);
    world.submit(leader, S1, Access::Write, 2_000);
    world.run_ms(200);
    let mut late = message(&world, MessageType::MsgAppendResponse, gone, leader);
    late.index = world.cell(gone, S1).expect("it runs").log_bounds().1.0;
    let all = world.wanted[&S1].clone();
    world.wanted.insert(S1, all.iter().copied().filter(|id| *id != gone).collect());
    world.run_until("its leaving", 5_000, |world| progress_of(world, leader, gone).is_none());
    let (life, now_us) = (world.nodes[&gone].life, world.now_us);
    world.oracle.failed.insert((gone, life, S1));
    world.node(gone).let_go(S1, now_us);
    world.cut.insert((leader, gone));
    world.wanted.insert(S1, all);
    world.run_until("its return", 5_000, |world| progress_of(world, leader, gone).is_some());
    deliver(&mut world, late);
    world.run_ms(100);
    assert_eq!(progress_of(&world, leader, gone), Some(0), "it has nothing yet");
    world.cut.clear();
    world.settle();
}

/// A replica that campaigned in a newer term and restarted has seen no mark of that term. It tells its leader of the term in
/// answer to what comes from it, which is the only way back for it; the leader took that for an acknowledgement of an
/// earlier life, and went on without that replica for good (seed 416322408409 of `sim`).
#[test]
fn a_replica_in_a_newer_term_is_heard_though_it_has_no_mark() {
    let mut world = three(11);
    let (leader, ahead) = (leader(&world), followers(&world)[0]);
    let term = world.cell(leader, S1).expect("it runs").term();
    let mut answer = message(&world, MessageType::MsgAppendResponse, ahead, leader);
    answer.term += 1;
    deliver(&mut world, answer);
    world.run_ms(100);
    assert!(world.cell(leader, S1).expect("it runs").term() > term, "the leader has heard");
    world.settle();
}

fn progress_of(world: &World, leader: NodeId, of: NodeId) -> Option<u64> {
    let progress = world.cell(leader, S1)?.progress();
    progress.iter().find(|p| p.node == of).map(|p| p.matched.0)
}

/// With `replicated` a power failure takes entries from a follower that it had acknowledged. Nothing told
/// the leader as long as nobody wrote, and it took the follower for level.
#[test]
fn a_follower_that_lost_its_tail_is_brought_up_again() {
    let losses = (0..10).filter(|seed| loses_its_tail(*seed)).count();
    assert!(losses > 2, "only {losses} power failures lost anything: that tests nothing");
}

/// Plays one power failure; true if it took something.
fn loses_its_tail(seed: u64) -> bool {
    let settings = Settings { durability: Durability::Replicated, ..settings() };
    let mut world = World::new(seed, 3, 1, settings);
    world.run_until("three replicas", 10_000, World::is_at_rest);
    let (leader, follower) = (leader(&world), followers(&world)[0]);
    let term = world.cell(leader, S1).expect("it runs").term();
    for _ in 0..5 {
        world.submit(leader, S1, Access::Write, 2_000);
        world.run_ms(20);
    }
    let last = |world: &World, id| world.cell(id, S1).map_or(0, |cell| cell.log_bounds().1.0);
    let had = last(&world, follower);
    world.crash(follower, false);
    world.cut.insert((leader, follower));
    world.after(0, super::world::Happening::Restart(follower));
    world.run_until("its start", 100, |world| world.role(follower, S1) != crate::Role::Down);
    let has_lost = last(&world, follower) < had;
    world.cut.clear();
    // Nobody writes: no append of a new entry will tell the leader.
    world.run_until("the lost entries", 2_000, |world| last(world, follower) >= had);
    assert_eq!(world.cell(leader, S1).expect("it runs").term(), term, "the leader stayed");
    world.settle();
    has_lost
}

/// A replica took a snapshot, its disk took longer than an election timeout to store it, and it campaigned: raft looked
/// for the entries that the snapshot had replaced, and panicked (found by the simulator, seed 119).
#[test]
fn a_replica_with_a_snapshot_that_is_not_stored_yet_does_not_campaign() {
    let mut world = three(11);
    let (old, behind) = (leader(&world), followers(&world)[0]);
    world.crash(behind, true);
    for _ in 0..400 {
        world.submit(old, S1, Access::Write, 2_000);
        world.run_ms(2);
    }
    world.after(0, super::world::Happening::Restart(behind));
    world.run_ms(1);
    world.disk_delay_us.insert(behind, 8_000 * MS);
    let has_taken = |world: &World| {
        let cell = world.cell(behind, S1).expect("it runs");
        cell.snapshot().0 > 300 && cell.applied() >= cell.snapshot()
    };
    world.run_until("a snapshot in memory", 5_000, has_taken);
    world.isolate(behind);
    world.run_ms(2_500);
    assert!(!world.oracle.failed.iter().any(|(node, ..)| *node == behind), "it panicked");
    world.settle();
}

/// INV-R9. With `replicated`, two of three lose their power and with it what they had acknowledged; the third has it
/// committed. The leader and it went round in circles, dozens of messages a millisecond, and its state stayed another.
#[test]
fn a_replica_whose_history_a_majority_has_lost_falls_and_says_so() {
    let falls = (0..10).filter(|seed| outlives_its_history(*seed)).count();
    assert!(falls > 2, "only {falls} losses of power took something: that tests nothing");
}

/// Plays one loss of power; true if it took something that the third replica has.
fn outlives_its_history(seed: u64) -> bool {
    let settings = Settings { durability: Durability::Replicated, ..settings() };
    let mut world = World::new(seed, 3, 1, settings);
    world.run_until("three replicas", 10_000, World::is_at_rest);
    let (leader, others) = (leader(&world), followers(&world));
    // Who is in the group is safe, once it is written; what comes after is not.
    world.run_ms(5);
    for node in world.nodes.values_mut() {
        node.running.as_mut().expect("it runs").sync_log();
    }
    for _ in 0..8 {
        world.submit(leader, S1, Access::Write, 2_000);
        world.run_ms(20);
    }
    world.run_until("rest", 2_000, World::is_at_rest);
    let committed = world.cell(leader, S1).expect("it runs").applied().0;
    world.isolate(leader);
    for id in others {
        world.crash(id, false);
        world.after(0, super::world::Happening::Restart(id));
    }
    // What was told is lost: this mode does not promise it. The oracle begins anew.
    world.oracle = super::oracle::Oracle::default();
    world.run_until("another leader", 5_000, |world| others_lead(world, leader).is_some());
    let heir = others_lead(&world, leader).and_then(|id| world.cell(id, S1));
    // The leader of a new term has one entry of its own.
    let has_lost = heir.is_some_and(|cell| cell.log_bounds().1.0 <= committed);
    world.cut.clear();
    world.run_ms(2_000);
    assert_eq!(has_lost, !world.outlived.is_empty(), "seed {seed}: {:?}", world.outlived);
    has_lost
}

fn others_lead(world: &World, old: NodeId) -> Option<NodeId> {
    world.nodes.keys().copied().find(|id| *id != old && world.role(*id, S1) == crate::Role::Leader)
}
