//! One measurement, and the median of several.
//! Owns: what is measured. Never: how (see `row` and `swarm`).

use serde_json::{Value, json};

/// What one run of a load against one server showed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    /// Operations per second.
    pub(super) rate: f64,
    /// Latency that half of the operations stayed under, milliseconds.
    pub(super) p50_ms: f64,
    /// Latency that 99 of 100 operations stayed under, milliseconds.
    pub(super) p99_ms: f64,
    /// Latency that 999 of 1000 operations stayed under, milliseconds.
    pub(super) p999_ms: f64,
    /// CPU time of all the server's processes per operation, microseconds.
    pub(super) cpu_us: f64,
    /// Resident memory of all the server's processes when the load ended, bytes.
    pub(super) resident_bytes: f64,
}

impl Sample {
    pub(super) fn to_json(self) -> Value {
        json!({
            "ops_per_second": self.rate,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "p999_ms": self.p999_ms,
            "cpu_us_per_op": self.cpu_us,
            "resident_bytes": self.resident_bytes,
        })
    }
}

/// The median of each figure by itself.
pub(super) fn median(samples: &[Sample]) -> Sample {
    let of = |figure: fn(&Sample) -> f64| median_of(samples.iter().map(figure).collect());
    Sample {
        rate: of(|s| s.rate),
        p50_ms: of(|s| s.p50_ms),
        p99_ms: of(|s| s.p99_ms),
        p999_ms: of(|s| s.p999_ms),
        cpu_us: of(|s| s.cpu_us),
        resident_bytes: of(|s| s.resident_bytes),
    }
}

/// The middle value, or the mean of the two middle ones; 0 of nothing.
pub(super) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [] => 0.0,
        values if values.len() % 2 == 1 => values[values.len() / 2],
        values => f64::midpoint(values[values.len() / 2 - 1], values[values.len() / 2]),
    }
}

/// How far the rounds lie apart: from the least to the greatest, percent of the median; 0 of nothing.
pub(super) fn spread_percent(values: &[f64]) -> f64 {
    let median = median_of(values.to_vec());
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if median > 0.0 { (most - least) / median * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::{median_of, spread_percent};

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median_of(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median_of(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_spread_is_a_share_of_the_median() {
        assert_eq!(spread_percent(&[90.0, 100.0, 120.0]), 30.0);
        assert_eq!(spread_percent(&[5.0]), 0.0);
        assert_eq!(spread_percent(&[]), 0.0);
    }
}
