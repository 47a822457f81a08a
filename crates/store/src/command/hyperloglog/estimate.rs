//! From registers to a cardinality.
//! Source: Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284), the improved raw
//! estimator, which Redis uses. Only sums, products and square roots, so that every replica comes to the same number.

use super::sketch::{REGISTERS, Registers};

/// Bits of a hash that are counted into a register.
const COUNTED_BITS: usize = 50;
/// 1 / (2 ln 2), to which the constant of the raw estimator tends.
const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;

/// How many different elements the registers have probably seen.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate is positive, and one past 64 bits is cut"
)]
pub(super) fn cardinality(registers: &Registers) -> u64 {
    let mut counts = [0u32; 64];
    for register in registers {
        counts[usize::from(*register & 63)] += 1;
    }
    let all = REGISTERS as f64;
    let mut z = all * tau((all - f64::from(counts[COUNTED_BITS + 1])) / all);
    for count in counts[1..=COUNTED_BITS].iter().rev() {
        z += f64::from(*count);
        z *= 0.5;
    }
    z += all * sigma(f64::from(counts[0]) / all);
    (ALPHA_INFINITY * all * all / z).round() as u64
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        let before = z;
        x = x.sqrt();
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        let before = z;
        x *= x;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}
