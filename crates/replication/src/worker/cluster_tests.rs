//! Real workers in a simulated cluster: every promise of this crate, under everything that may go wrong.
//!
//! Owns: the seeds, and a script for every fault that was once found. Never: threads, sleeps or the machine's clock;
//! one seed is one history, bit for bit.
//!
//! - `machine`: a replicated history of ids; `node`: a worker over a log on a disk in memory
//! - `world`: time, chance and the network; `faults`: what goes wrong; `oracle`: what must hold (see there)
//!
//! A failure names its seed. `KEYSTEAD_SEED=n cargo test -p keystead-replication a_seed` plays it again;
//! `KEYSTEAD_SEEDS=first..last` plays others than the usual ones.

mod faults;
mod machine;
mod node;
mod oracle;
mod recovered;
mod scripts;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use self::oracle::Count;
use self::world::{World, settings};
use crate::rng::Rng;
use crate::settings::{Durability, Settings};

/// Seeds played by every run of the tests.
const SEEDS: Range<u64> = 0..150;
/// How long things go wrong in each.
const TORMENT_MS: u64 = 5_000;

fn settings_of(seed: u64) -> Settings {
    let mut rng = Rng::new(!seed);
    Settings {
        durability: if rng.below(4) == 0 { Durability::Replicated } else { Durability::Fsync },
        entries_in_flight_max: 1 + rng.below(4),
        ..settings()
    }
}

fn play(seed: u64) -> (u64, Count) {
    let mut world = World::new(seed, 4, 2, settings_of(seed));
    world.run_ms(seed % 7 * 200);
    world.torment_ms(TORMENT_MS);
    world.settle();
    (world.oracle.trace, world.oracle.count)
}

fn play_all(seeds: Range<u64>) -> Count {
    let mut sum = Count::default();
    for seed in seeds {
        let count = match catch_unwind(AssertUnwindSafe(|| play(seed))) {
            Ok((_, count)) => count,
            Err(panic) => {
                tell(&format!(
                    "seed {seed} failed; KEYSTEAD_SEED={seed} cargo test -p keystead-replication a_seed"
                ));
                resume_unwind(panic)
            }
        };
        sum.acknowledged += count.acknowledged;
        sum.reads += count.reads;
        sum.rejected += count.rejected;
        sum.unknown += count.unknown;
        sum.lost_with_node += count.lost_with_node;
        sum.leaders += count.leaders;
    }
    sum
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must learn the seed")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[test]
fn every_seed_keeps_every_promise() {
    let named = std::env::var("KEYSTEAD_SEEDS").ok().and_then(|range| {
        let (first, last) = range.split_once("..")?;
        Some(first.parse().ok()?..last.parse().ok()?)
    });
    let seeds = named.unwrap_or(SEEDS);
    let played = seeds.end - seeds.start;
    let sum = play_all(seeds);
    tell(&format!("{played} seeds: {sum:?}"));
    // A run in which nothing happens proves nothing.
    assert!(sum.acknowledged > played * 20, "{sum:?}");
    assert!(
        sum.reads > played * 10 && sum.leaders > played * 3 && sum.unknown > played / 4,
        "{sum:?}"
    );
}

#[test]
fn a_seed_can_be_played_again() {
    if let Some(seed) = std::env::var("KEYSTEAD_SEED").ok().and_then(|seed| seed.parse().ok()) {
        tell(&format!("{:?}", play(seed)));
    }
}

#[test]
fn one_seed_is_one_history() {
    for seed in [3, 1_000_003] {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
}
