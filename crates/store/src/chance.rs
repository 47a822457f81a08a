//! Numbers that look random and follow from a seed.
//! Owns: the sequence (SplitMix64) and a fair choice below a bound. Never: where a seed comes from: an entry of the log, or
//! for plain reads the store.
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.

/// Distance of the states that [`mixed`] is applied to.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number of the sequence that stands at `state`.
pub(crate) const fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Makes of a random number one below `bound`; 0 if there is none.
pub(crate) fn below(random: u64, bound: usize) -> usize {
    let scaled = (u128::from(random) * bound as u128) >> 64;
    usize::try_from(scaled).expect("a fraction of a usize is a usize")
}

/// A sequence of its own.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The sequence of a command: all commands of a log entry share its seed, so `salt` must differ between two that
    /// would otherwise choose alike (a hash of the key, the size of what is chosen from).
    pub(crate) const fn new(seed: u64, salt: u64) -> Self {
        Self(seed ^ mixed(salt))
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence_and_a_salt_another() {
        let draw = |seed, salt| {
            let mut chance = Chance::new(seed, salt);
            [chance.next(), chance.next()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2)[0], draw(1, 2)[1]);
    }

    #[test]
    fn a_choice_stays_below_its_bound() {
        assert_eq!(below(u64::MAX, 10), 9);
        assert_eq!(below(0, 10), 0);
        assert_eq!(below(u64::MAX, 0), 0);
    }
}
