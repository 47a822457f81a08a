//! One seed from beginning to end.
//! Owns: the order of storm and calm. Never: catches a failure (see `runner`).

use crate::coverage::Coverage;
use crate::scenario::{Manner, SECOND, Scenario};
use crate::trace::Trace;
use crate::world::{Happening, World};

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// What was put to the test.
    pub coverage: Coverage,
    /// How long it lasted in the world, microseconds.
    pub simulated_us: u64,
    /// What happened, as one number.
    pub trace: Trace,
}

/// Plays a scenario. Panics if a promise is broken.
#[must_use]
pub fn play(scenario: Scenario, trace: Trace) -> Played {
    let mut world = World::new(scenario, trace);
    play_in(&mut world);
    Played { coverage: world.coverage, simulated_us: world.now_us, trace: world.trace }
}

/// What a seed plays, by itself.
#[must_use]
pub fn play_seed(seed: u64, manner: Manner) -> Played {
    play(Scenario::draw(seed, manner), Trace::default())
}

/// As [`play`], in a world that whoever calls keeps.
pub fn play_in(world: &mut World) {
    world.open_workload();
    world.workload.is_open = false;
    world.rest();
    for _ in 0..world.scenario.storms {
        world.workload.is_open = true;
        world.open_workload();
        world.is_stormy = true;
        world.after(0, Happening::Nemesis);
        world.run_for(world.scenario.storm_us);
        world.calm_down();
        // Clients go on in calm for a while: what the storm left behind shows in what they are told.
        world.run_for(SECOND * world.scenario.scale);
        world.rest();
        if world.scenario.quiet_us > 0 {
            world.run_for(world.scenario.quiet_us);
        }
    }
}
