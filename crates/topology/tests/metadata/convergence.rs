//! From any state the plan comes to rest, and every step on the way is safe.
//! The model asserts INV-TOP9 and INV-TOP10 at each step, `apply` asserts the invariants of the state.

use keystead_topology::NodeState;
use keystead_types::NodeId;
use proptest::prelude::*;

use super::model::{HOUR_MS, Model};

#[derive(Clone, Debug)]
enum Event {
    Join {
        zone: usize,
    },
    Drain {
        node: usize,
    },
    Return {
        node: usize,
    },
    Away {
        node: usize,
        away_ms: u64,
    },
    /// So many steps of the plan are carried out, then something else happens.
    Work {
        steps: usize,
    },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0usize..3).prop_map(|zone| Event::Join { zone }),
        2 => any::<usize>().prop_map(|node| Event::Drain { node }),
        2 => any::<usize>().prop_map(|node| Event::Return { node }),
        2 => (any::<usize>(), prop_oneof![Just(1000), Just(HOUR_MS)])
            .prop_map(|(node, away_ms)| Event::Away { node, away_ms }),
        4 => (1usize..40).prop_map(|steps| Event::Work { steps }),
    ]
}

fn happen(model: &mut Model, event: &Event, zones: &[&str]) {
    let ids: Vec<NodeId> = model.topology.nodes().keys().copied().collect();
    let state = |model: &Model, node: usize| model.topology.nodes()[&ids[node % ids.len()]].state;
    match *event {
        Event::Join { zone } => {
            if ids.len() < 8 {
                model.join(ids.len() as u64 + 1, zones[zone % zones.len()]);
            }
        }
        Event::Drain { node } => {
            if state(model, node) == NodeState::Active {
                model.set_state(ids[node % ids.len()].0, NodeState::Draining);
            }
        }
        Event::Return { node } => {
            if state(model, node) == NodeState::Draining {
                model.set_state(ids[node % ids.len()].0, NodeState::Active);
            }
            model.set_away(ids[node % ids.len()].0, 0);
        }
        Event::Away { node, away_ms } => model.set_away(ids[node % ids.len()].0, away_ms),
        Event::Work { mut steps } => {
            while steps > 0 {
                let Some(&step) = model.plan().first() else { break };
                model.carry_out(step);
                steps -= 1;
            }
        }
    }
}

proptest! {
    #[test]
    fn the_plan_comes_to_rest_and_leaves_nothing_undone(
        shards in 1u32..12,
        is_zoned in any::<bool>(),
        events in proptest::collection::vec(any_event(), 0..25),
    ) {
        let zones: &[&str] = if is_zoned { &["a", "b", "c"] } else { &["a"] };
        let mut model = Model::founded(shards, "a");
        for event in &events {
            happen(&mut model, event, zones);
        }
        // Some nodes are away: it must come to rest here too.
        model.settle();
        let ids: Vec<u64> = model.topology.nodes().keys().map(|node| node.0).collect();
        for &id in &ids {
            model.set_away(id, 0);
        }
        model.settle();
        let active: Vec<NodeId> = model.topology.nodes().values()
            .filter(|node| node.state == NodeState::Active).map(|node| node.id).collect();
        if active.is_empty() {
            // All are being drained: nobody can take over, and nothing may be lost.
            return Ok(());
        }
        let wanted = model.topology.replicas_wanted();
        for shard in model.topology.shards().values() {
            prop_assert_eq!(shard.voters().count(), wanted, "{:?}", shard);
            prop_assert_eq!(shard.learners().count(), 0, "{:?}", shard);
            prop_assert!(shard.replacement.is_none());
            prop_assert!(shard.voters().all(|node| active.contains(&node)), "{:?}", shard);
        }
        let loads = model.loads();
        let on_active: Vec<usize> = active.iter().map(|node| loads[node]).collect();
        if let (false, Some(max), Some(min)) = (is_zoned, on_active.iter().max(), on_active.iter().min()) {
            prop_assert!(max - min <= 1, "uneven: {:?}", loads);
        }
        model.check_twins();
    }
}
