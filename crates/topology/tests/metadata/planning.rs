//! The planner's decisions in the situations that people will meet.

use keystead_topology::{Command, NodeState, Replication};
use keystead_types::{NodeId, ShardId};

use super::model::{HOUR_MS, Model};

fn values<K, V: Copy>(map: &std::collections::BTreeMap<K, V>) -> Vec<V> {
    map.values().copied().collect()
}

#[test]
fn three_nodes_end_with_three_replicas_each_and_level_leaders() {
    let mut model = Model::founded(16, "");
    model.join(2, "");
    model.join(3, "");
    let observed = model.observe();
    assert!(matches!(observed.replication(&model.topology), Replication::Repairing { .. }));
    model.settle();
    assert_eq!(values(&model.loads()), [17, 17, 17]);
    let leaders = values(&model.leader_counts());
    assert!(leaders.iter().max().unwrap() - leaders.iter().min().unwrap() <= 1, "{leaders:?}");
    let observed = model.observe();
    assert_eq!(observed.replication(&model.topology), Replication::Full);
    model.check_twins();
}

#[test]
fn a_fourth_node_takes_its_share_by_replacement() {
    let mut model = Model::founded(3, "");
    for id in 2..=3 {
        model.join(id, "");
    }
    model.settle();
    model.join(4, "");
    let diary = model.settle();
    assert_eq!(values(&model.loads()), [3, 3, 3, 3]);
    assert!(diary.iter().any(|step| step.contains("add learner n4 in place of")), "{diary:?}");
}

#[test]
fn replicas_of_one_shard_stand_in_different_zones() {
    let mut model = Model::founded(8, "a");
    for (id, zone) in [(2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
        model.join(id, zone);
    }
    model.settle();
    for shard in model.topology.shards().values() {
        let zones: std::collections::BTreeSet<&str> =
            shard.voters().map(|node| model.topology.nodes()[&node].zone.as_str()).collect();
        assert_eq!(zones.len(), 3, "{shard:?}");
    }
    assert!(model.loads().values().all(|&load| (4..=5).contains(&load)), "{:?}", model.loads());
}

#[test]
fn a_node_that_stays_away_is_replaced_only_after_the_grace_and_only_if_another_can_take_over() {
    let mut model = Model::founded(2, "");
    for id in 2..=4 {
        model.join(id, "");
    }
    model.settle();
    let held = model.topology.hosted_by(NodeId(2)).count();
    assert!(held > 0);
    model.set_away(2, 60_000);
    model.settle();
    assert_eq!(
        model.topology.hosted_by(NodeId(2)).count(),
        held,
        "one minute is no reason to copy shards"
    );
    model.set_away(2, HOUR_MS);
    let diary = model.settle();
    assert_eq!(model.topology.hosted_by(NodeId(2)).count(), 0, "{diary:?}");
    // Now three nodes are up for three replicas each: the next loss has no remedy, and none is tried.
    model.set_away(3, HOUR_MS);
    let before = model.topology.shards().clone();
    model.settle();
    assert_eq!(*model.topology.shards(), before);
}

#[test]
fn nothing_is_done_to_a_shard_without_a_majority() {
    let mut model = Model::founded(2, "");
    for id in 2..=3 {
        model.join(id, "");
    }
    model.settle();
    model.set_away(2, HOUR_MS);
    model.set_away(3, HOUR_MS);
    model.join(4, "");
    assert_eq!(model.plan(), []);
}

#[test]
fn a_drained_node_ends_empty_even_when_nobody_can_take_over() {
    let mut model = Model::founded(4, "");
    for id in 2..=3 {
        model.join(id, "");
    }
    model.settle();
    model.set_state(1, NodeState::Draining);
    let diary = model.settle();
    assert_eq!(values(&model.loads()), [0, 5, 5]);
    let handed_over = diary.iter().position(|step| step.contains("transfer"));
    let removed = diary.iter().position(|step| step.contains("remove n1"));
    assert!(removed.is_some() && handed_over.is_some(), "{diary:?}");
    model.set_state(1, NodeState::Gone);
}

#[test]
fn the_last_node_cannot_be_drained_away() {
    let mut model = Model::founded(1, "");
    model.set_state(1, NodeState::Draining);
    assert_eq!(model.plan(), []);
}

#[test]
fn a_plan_outlives_its_planner() {
    let mut model = Model::founded(1, "");
    for id in 2..=3 {
        model.join(id, "");
    }
    model.settle();
    model.join(4, "");
    model.set_state(1, NodeState::Draining);
    // One step at a time, each planned from nothing but what the topology says.
    let mut diary = Vec::new();
    while let Some(&step) = model.plan().iter().find(|step| step.shard == ShardId(1)) {
        diary.push(step.to_string());
        model.carry_out(step);
    }
    let told: Vec<&str> = diary.iter().map(|step| step.trim_start_matches("s1: ")).collect();
    let core: Vec<&str> =
        told.iter().copied().filter(|step| !step.starts_with("transfer")).collect();
    assert_eq!(core, ["add learner n4 in place of n1", "promote n4", "remove n1"]);
}

#[test]
fn a_learner_whose_node_is_lost_gives_up_its_place() {
    let mut model = Model::founded(1, "");
    model.join(2, "");
    let step = model.plan().into_iter().find(|step| step.shard == ShardId(1)).unwrap();
    model.carry_out(step);
    model.set_away(2, HOUR_MS);
    model.join(3, "");
    model.settle();
    assert_eq!(model.shard(1).voters().collect::<Vec<_>>(), [NodeId(1), NodeId(3)]);
    assert_eq!(model.shard(1).learners().count(), 0);
}

#[test]
fn a_preferred_leader_leads_whenever_it_can() {
    let mut model = Model::founded(3, "");
    for id in 2..=3 {
        model.join(id, "");
    }
    model.settle();
    for shard in 1..=3 {
        model.must(Command::PreferLeader { shard: ShardId(shard), node: Some(NodeId(3)) });
    }
    model.settle();
    assert!(model.leader_counts()[&NodeId(3)] >= 3);
    model.set_away(3, HOUR_MS);
    model.settle();
    assert_eq!(model.leader_counts()[&NodeId(3)], 0);
}

#[test]
fn no_more_is_begun_at_a_time_than_the_settings_allow() {
    let mut model = Model::founded(64, "");
    model.join(2, "");
    model.join(3, "");
    let set = |name: &str, value: &str| Command::SetSetting {
        name: name.into(),
        value: Some(value.into()),
    };
    model.must(set("placement.copies_max", "5"));
    assert_eq!(model.plan().len(), 5);
    for step in model.plan() {
        model.must(Command::BeginStep(step));
    }
    assert_eq!(model.plan(), [], "five copies are under way");
}

/// Carries out what is planned for one shard until it has this many voters.
fn work_until(model: &mut Model, shard: u32, voters: usize) {
    while model.shard(shard).voters().count() != voters {
        let planned = model.plan().into_iter().find(|step| step.shard == ShardId(shard));
        let step =
            planned.unwrap_or_else(|| panic!("nothing planned for {:?}", model.shard(shard)));
        model.carry_out(step);
    }
}

// Found by `the_plan_comes_to_rest`: the leader had nobody to hand over to but a node that leaves too.
#[test]
fn a_leader_hands_over_to_a_leaving_node_when_there_is_no_other() {
    let mut model = Model::founded(1, "");
    model.join(2, "");
    model.set_state(1, NodeState::Draining);
    work_until(&mut model, 1, 2);
    model.set_state(2, NodeState::Draining);
    model.join(3, "");
    model.settle();
    assert_eq!(model.shard(1).voters().collect::<Vec<_>>(), [NodeId(3)]);
}

// Found by `the_plan_comes_to_rest`: a second move of the shard was planned, and refused for ever.
#[test]
fn a_move_that_must_wait_is_not_overtaken_by_another_of_the_same_shard() {
    let mut model = Model::founded(4, "");
    model.join(2, "");
    model.settle();
    model.set_state(1, NodeState::Draining);
    model.join(3, "");
    work_until(&mut model, 1, 3);
    model.set_state(1, NodeState::Active);
    model.set_away(2, 1000);
    model.join(4, "");
    assert!(model.shard(1).replacement.is_some());
    model.settle();
    model.set_away(2, 0);
    model.settle();
    assert!(model.topology.shards().values().all(|shard| shard.voters().count() == 3));
}
