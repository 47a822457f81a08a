//! The simulator itself: one seed is one history, and some seeds hold.

use keystead_sim::play::play;
use keystead_sim::scenario::{Manner, Scenario};
use keystead_sim::trace::Trace;

fn steps_of(seed: u64) -> (Vec<u64>, (u64, u64)) {
    let played = play(Scenario::draw(seed, Manner::Dense), Trace::new(false, true));
    (played.trace.steps().to_vec(), played.trace.digest())
}

/// Everything that is sent, written, applied, answered or decided is a fact of the trace: were anything drawn from
/// elsewhere than the seed, two runs would part at some fact.
#[test]
fn one_seed_is_one_history() {
    for seed in [1, 2, 20, 36, 1_000_003] {
        let (first, digest) = steps_of(seed);
        let (second, again) = steps_of(seed);
        let parting = first.iter().zip(&second).position(|(one, other)| one != other);
        assert_eq!(parting, None, "seed {seed} parts from itself at this fact");
        assert_eq!(digest, again, "seed {seed}");
        assert!(digest.1 > 1_000, "seed {seed} has only {} facts", digest.1);
    }
}
