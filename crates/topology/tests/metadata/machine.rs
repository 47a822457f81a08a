//! Promises of the machine itself: guards, outcomes, bytes, and that no command breaks it.

use std::collections::BTreeMap;

use keystead_topology::{
    Action, CodecError, Command, NodeState, Outcome, Rejection, RejectionKind, ReplicaRole,
    SlotMap, Step, Topology,
};
use keystead_types::{Epoch, LogIndex, NodeId, SLOT_COUNT, ShardId, Slot};
use proptest::prelude::*;

use super::model::{Model, record};

fn step(shard: u32, action: Action) -> Command {
    Command::BeginStep(Step { shard: ShardId(shard), action })
}

fn add(node: u64) -> Action {
    Action::AddLearner { node: NodeId(node), replaces: None }
}

#[test]
fn founding_covers_all_slots_with_the_founder_and_happens_once() {
    for shards in [1, 3, 16, 1024] {
        let mut model = Model::founded(shards, "");
        let map = SlotMap::of(&model.topology).unwrap();
        let counts: Vec<u16> =
            model.topology.shards().values().skip(1).map(|shard| shard.slots.count()).collect();
        assert_eq!(
            counts.iter().map(|&count| u32::from(count)).sum::<u32>(),
            u32::from(SLOT_COUNT)
        );
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        for number in (0..SLOT_COUNT).step_by(7) {
            let slot = Slot::new(number).unwrap();
            assert_eq!(Some(map.shard_of(slot)), model.topology.shard_of(slot));
        }
        let again = Command::Found { cluster_id: 9, hash_seed: 9, shards: 1, node: record(2, "") };
        assert_eq!(model.apply(again), Err(Rejection::AlreadyFounded { cluster_id: 0xc1 }));
    }
}

#[test]
fn nothing_happens_before_founding() {
    let mut topology = Topology::new();
    let early = Command::RegisterNode { node: record(1, "") };
    assert_eq!(topology.apply(LogIndex(1), early), Err(Rejection::NotFounded));
    assert!(SlotMap::of(&topology).is_none());
    assert_eq!(Topology::load(&topology.dump()).unwrap(), topology);
}

// INV-TOP7
#[test]
fn a_step_is_begun_once_and_ends_once() {
    let mut model = Model::founded(2, "");
    model.join(2, "");
    let Outcome::StepBegun { step: id } = model.must(step(1, add(2))) else { panic!() };
    assert!(model.shard(1).is_hosted_by(NodeId(2)), "it must create its replica now");
    let second = model.apply(step(1, add(2)));
    assert_eq!(second, Err(Rejection::StepInProgress { shard: ShardId(1), step: id }));
    let shard = ShardId(1);
    model.must(Command::ConfirmStep { shard, step: id, conf_index: LogIndex(10) });
    assert_eq!(model.shard(1).learners().collect::<Vec<_>>(), [NodeId(2)]);
    let late = model.apply(Command::AbortStep { shard, step: id, reason: "late".into() });
    assert_eq!(late, Err(Rejection::StaleStep { shard, step: id }));
    assert_eq!(late.unwrap_err().kind(), RejectionKind::Conflict);
    let impossible = model.apply(step(1, add(2)));
    assert!(matches!(impossible, Err(Rejection::ActionImpossible { .. })));
}

#[test]
fn members_seen_by_the_leader_complete_a_step_whose_confirmation_was_lost() {
    let mut model = Model::founded(1, "");
    model.join(2, "");
    model.must(step(1, Action::AddLearner { node: NodeId(2), replaces: Some(NodeId(1)) }));
    let members = |role| BTreeMap::from([(NodeId(1), ReplicaRole::Voter), (NodeId(2), role)]);
    let seen = |conf_index, role| Command::SetReplicas {
        shard: ShardId(1),
        conf_index: LogIndex(conf_index),
        replicas: members(role),
    };
    assert_eq!(model.must(seen(12, ReplicaRole::Voter)), Outcome::Changed);
    assert_eq!(model.shard(1).step, None);
    assert!(model.shard(1).replacement.is_some(), "who replaces whom is not forgotten");
    assert_eq!(model.must(seen(12, ReplicaRole::Voter)), Outcome::Unchanged);
    let stale = model.apply(seen(11, ReplicaRole::Learner));
    assert!(matches!(stale, Err(Rejection::StaleConf { .. })), "{stale:?}");
}

#[test]
fn a_node_leaves_only_drained_and_never_returns() {
    let mut model = Model::founded(1, "");
    model.join(2, "");
    model.settle();
    let node = NodeId(2);
    let gone = Command::SetNodeState { node, state: NodeState::Gone };
    assert!(matches!(model.apply(gone.clone()), Err(Rejection::StateChange { .. })));
    model.set_state(2, NodeState::Draining);
    assert!(matches!(model.apply(gone.clone()), Err(Rejection::NotDrained { .. })));
    model.settle();
    model.must(gone);
    let back = model.apply(Command::RegisterNode { node: record(2, "") });
    assert_eq!(back, Err(Rejection::NodeGone { node }));
    model.join(3, "");
    model.check_twins();
}

#[test]
fn a_restarted_node_brings_its_new_address_but_an_older_start_does_not() {
    let mut model = Model::founded(1, "");
    let moved = |incarnation, addr: &str| {
        let mut node = record(1, "");
        node.incarnation = incarnation;
        node.peer_addr = addr.to_owned();
        Command::RegisterNode { node }
    };
    let epoch = model.topology.epoch();
    model.must(moved(3, "10.0.0.9:17379"));
    assert!(model.topology.epoch() > epoch);
    assert!(matches!(model.apply(moved(2, "old:1")), Err(Rejection::StaleIncarnation { .. })));
    assert_eq!(model.topology.nodes()[&NodeId(1)].peer_addr, "10.0.0.9:17379");
    let mut twin = record(2, "");
    twin.peer_addr = "10.0.0.9:17379".to_owned();
    let taken = model.apply(Command::RegisterNode { node: twin });
    assert!(matches!(taken, Err(Rejection::AddressTaken { node: NodeId(1), .. })));
}

#[test]
fn a_draining_node_loses_its_address_to_its_successor() {
    let mut model = Model::founded(1, "");
    let mut successor = record(2, "");
    successor.peer_addr = record(1, "").peer_addr;
    model.must(Command::SetNodeState { node: NodeId(1), state: NodeState::Draining });
    assert!(!model.topology.is_displaced(NodeId(1)), "nobody has come in its place yet");
    model.must(Command::RegisterNode { node: successor });
    assert!(model.topology.is_displaced(NodeId(1)));
    assert!(!model.topology.is_displaced(NodeId(2)));
}

/// A node that lost its disk while it was on its way in kept its address for ever, and its successor out.
#[test]
fn whoever_had_a_newcomers_address_gives_way() {
    let mut model = Model::founded(1, "");
    let at_address_of = |id: u64, old: u64| {
        let mut node = record(id, "");
        node.peer_addr = record(old, "").peer_addr;
        node
    };
    let (second, third) = (at_address_of(2, 1), at_address_of(3, 1));
    assert_eq!(model.topology.displaced_by(&record(9, "")), None);
    assert_eq!(model.topology.displaced_by(&record(1, "")), None, "it is there itself");
    for (newcomer, old, state) in
        [(second, NodeId(1), NodeState::Draining), (third, NodeId(2), NodeState::Gone)]
    {
        let way = model.topology.displaced_by(&newcomer);
        assert_eq!(way, Some((old, state)));
        model.must(Command::SetNodeState { node: old, state });
        assert_eq!(model.topology.displaced_by(&newcomer), None, "the address is free");
        model.must(Command::RegisterNode { node: newcomer });
    }
}

// INV-TOP11
#[test]
#[should_panic(expected = "INV-TOP11")]
fn an_entry_is_never_applied_twice() {
    let mut topology = Topology::new();
    for _ in 0..2 {
        let command =
            Command::Found { cluster_id: 1, hash_seed: 1, shards: 1, node: record(1, "") };
        topology.apply(LogIndex(1), command).unwrap();
    }
}

#[test]
fn settings_that_placement_follows_are_checked_when_set() {
    let mut model = Model::founded(1, "");
    let set = |name: &str, value: Option<&str>| Command::SetSetting {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let refused = model.apply(set("placement.replicas", Some("0"))).unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::Invalid);
    assert_eq!(refused.to_string(), "placement.replicas must be a number from 1 to 9");
    assert_eq!(model.must(set("motd", Some("hello"))), Outcome::Changed);
    assert_eq!(model.must(set("motd", Some("hello"))), Outcome::Unchanged);
    model.must(set("motd", None));
    assert!(model.topology.settings().is_empty());
}

#[test]
fn commands_read_well_in_a_log() {
    let lines = [
        step(3, Action::AddLearner { node: NodeId(4), replaces: Some(NodeId(1)) }),
        Command::ConfirmStep { shard: ShardId(3), step: LogIndex(17), conf_index: LogIndex(99) },
        Command::SetReplicas {
            shard: ShardId(3),
            conf_index: LogIndex(99),
            replicas: BTreeMap::from([(NodeId(4), ReplicaRole::Learner)]),
        },
        Command::SetNodeState { node: NodeId(4), state: NodeState::Draining },
    ]
    .map(|command| String::from_utf8(command.encode()).unwrap());
    assert_eq!(
        lines,
        [
            r#"{"do":"begin_step","shard":3,"action":{"do":"add_learner","node":4,"replaces":1}}"#,
            r#"{"do":"confirm_step","shard":3,"step":17,"conf_index":99}"#,
            r#"{"do":"set_replicas","shard":3,"conf_index":99,"replicas":[{"node":4,"role":"learner"}]}"#,
            r#"{"do":"set_node_state","node":4,"state":"draining"}"#,
        ]
    );
}

#[test]
fn foreign_and_damaged_dumps_are_refused() {
    let model = Model::founded(2, "");
    let dump = String::from_utf8(model.topology.dump()).unwrap();
    let newer = dump.replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(
        Topology::load(newer.as_bytes()),
        Err(CodecError::Version { version: 2, .. })
    ));
    let gap = dump.replacen("\"first\":8192", "\"first\":8193", 1);
    assert!(matches!(Topology::load(gap.as_bytes()), Err(CodecError::Damaged { .. })));
    assert!(matches!(Topology::load(&dump.as_bytes()[..40]), Err(CodecError::Dump { .. })));
    assert!(matches!(Command::decode(b"{\"do\":\"dance\"}"), Err(CodecError::Command { .. })));
}

fn any_action() -> impl Strategy<Value = Action> {
    let node = || (1u64..6).prop_map(NodeId);
    prop_oneof![
        (node(), proptest::option::of(node()))
            .prop_map(|(node, replaces)| Action::AddLearner { node, replaces }),
        node().prop_map(|node| Action::Promote { node }),
        node().prop_map(|node| Action::Remove { node }),
        node().prop_map(|to| Action::TransferLeader { to }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let node = || (0u64..6).prop_map(NodeId);
    let shard = || (0u32..4).prop_map(ShardId);
    let index = || (0u64..60).prop_map(LogIndex);
    let role = prop_oneof![Just(ReplicaRole::Voter), Just(ReplicaRole::Learner)];
    let state = prop_oneof![
        Just(NodeState::Joining),
        Just(NodeState::Active),
        Just(NodeState::Draining),
        Just(NodeState::Gone)
    ];
    prop_oneof![
        3 => (0u64..6).prop_map(|id| Command::RegisterNode { node: record(id, "") }),
        1 => (0u64..6, 0u64..3).prop_map(|(id, incarnation)| {
            let mut node = record(id, "z");
            node.incarnation = incarnation;
            Command::UpdateNode { node }
        }),
        4 => (node(), state).prop_map(|(node, state)| Command::SetNodeState { node, state }),
        4 => (shard(), any_action()).prop_map(|(shard, action)| Command::BeginStep(Step { shard, action })),
        4 => (shard(), index(), index())
            .prop_map(|(shard, step, conf_index)| Command::ConfirmStep { shard, step, conf_index }),
        1 => (shard(), index()).prop_map(|(shard, step)| Command::AbortStep { shard, step, reason: "r".into() }),
        2 => (shard(), index(), proptest::collection::btree_map(node(), role, 0..4))
            .prop_map(|(shard, conf_index, replicas)| Command::SetReplicas { shard, conf_index, replicas }),
        1 => (shard(), proptest::option::of(node()))
            .prop_map(|(shard, node)| Command::PreferLeader { shard, node }),
        1 => ("[a-c]{0,1}", proptest::option::of("[a-z]{0,3}"))
            .prop_map(|(name, value)| Command::SetSetting { name, value }),
        1 => ("[a-c]{0,1}", proptest::option::of("[a-z]{0,3}"))
            .prop_map(|(name, record)| Command::SetUser { name, record }),
    ]
}

proptest! {
    /// Asserted inside `apply`: INV-TOP1, INV-TOP2, INV-TOP3, INV-TOP4, INV-TOP5, INV-TOP6, INV-TOP8.
    #[test]
    fn no_run_of_commands_breaks_an_invariant(commands in proptest::collection::vec(any_command(), 0..80)) {
        let mut model = Model::founded(3, "");
        for command in commands {
            let before = model.topology.clone();
            // Confirmations name steps by chance; let many of them name the right one.
            let command = aimed(&model.topology, command);
            let refused = model.apply(command).is_err();
            if refused {
                prop_assert_eq!(model.topology.epoch(), before.epoch());
                prop_assert_eq!(model.topology.shards(), before.shards());
                prop_assert_eq!(model.topology.nodes(), before.nodes());
            }
            let visible = (before.nodes().len(), before.shards().values().map(|s| &s.replicas).collect::<Vec<_>>());
            let now = (
                model.topology.nodes().len(),
                model.topology.shards().values().map(|s| &s.replicas).collect::<Vec<_>>(),
            );
            if visible != now {
                prop_assert_eq!(model.topology.epoch(), Epoch(before.epoch().0 + 1));
            }
        }
        model.check_twins();
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Command::decode(&bytes).is_err());
        prop_assert!(Topology::load(&bytes).is_err());
    }
}

fn aimed(topology: &Topology, command: Command) -> Command {
    match command {
        Command::ConfirmStep { shard, conf_index, step } => {
            let real = topology.shards().get(&shard).and_then(|shard| shard.step);
            let step = real.filter(|_| step.0 % 4 != 0).map_or(step, |real| real.id);
            Command::ConfirmStep { shard, step, conf_index }
        }
        other => other,
    }
}
