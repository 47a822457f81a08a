//! What a figure should be: the goals of each row, and whether they are met.
//! Owns: [`Limit`], [`Goal`]. Never: makes a run fail: a goal that is missed is a finding, not an error.

use std::fmt;

use super::sample::Sample;

/// A bound of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// What a load should reach; nothing is asked where there is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Goal {
    /// Operations per second, at least.
    pub(super) rate_min: Option<f64>,
    /// CPU microseconds per operation, at most.
    pub(super) cpu_us_max: Option<f64>,
}

impl Limit {
    pub(super) fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }

    /// `met` or `missed`.
    pub(super) fn verdict(self, figure: f64) -> &'static str {
        if self.is_met(figure) { "met" } else { "missed" }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

impl Goal {
    pub(super) const NONE: Self = Self { rate_min: None, cpu_us_max: None };

    /// So many microseconds of CPU, at most.
    pub(super) const fn cpu_us(most: f64) -> Self {
        Self { rate_min: None, cpu_us_max: Some(most) }
    }

    /// So many operations per second, at least.
    pub(super) const fn rate(least: f64) -> Self {
        Self { rate_min: Some(least), cpu_us_max: None }
    }

    /// Both.
    pub(super) const fn rate_and_cpu_us(least: f64, most: f64) -> Self {
        Self { rate_min: Some(least), cpu_us_max: Some(most) }
    }

    /// `met`, or which figure is missed; nothing if nothing is asked.
    pub(super) fn verdict(&self, sample: &Sample) -> Option<&'static str> {
        let is_rate_met = self.rate_min.map(|least| sample.rate >= least);
        let is_cpu_met = self.cpu_us_max.map(|most| sample.cpu_us <= most);
        match (is_rate_met, is_cpu_met) {
            (None, None) => None,
            (Some(false), Some(false)) => Some("missed: rate, CPU"),
            (Some(false), _) => Some("missed: rate"),
            (_, Some(false)) => Some("missed: CPU"),
            _ => Some("met"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(least) = self.rate_min {
            write!(f, ">= {} k/s", least / 1000.0)?;
        }
        if self.rate_min.is_some() && self.cpu_us_max.is_some() {
            write!(f, ", ")?;
        }
        if let Some(most) = self.cpu_us_max {
            write!(f, "<= {most} us")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, Limit};
    use crate::bench::sample::Sample;

    #[test]
    fn a_goal_names_what_is_missed() {
        let sample = Sample { rate: 50_000.0, cpu_us: 6.0, ..Sample::default() };
        assert_eq!(Goal::NONE.verdict(&sample), None);
        assert_eq!(Goal::cpu_us(6.0).verdict(&sample), Some("met"));
        assert_eq!(Goal::rate(60e3).verdict(&sample), Some("missed: rate"));
        assert_eq!(Goal::rate_and_cpu_us(50e3, 5.0).verdict(&sample), Some("missed: CPU"));
        assert_eq!(Goal::rate_and_cpu_us(60e3, 5.0).verdict(&sample), Some("missed: rate, CPU"));
        assert_eq!(Goal::rate_and_cpu_us(62e3, 15.5).to_string(), ">= 62 k/s, <= 15.5 us");
    }

    #[test]
    fn limits_hold_at_their_bound() {
        assert!(Limit::AtMost(0.4).is_met(0.4) && Limit::AtLeast(0.4).is_met(0.4));
        assert!(!Limit::AtMost(0.4).is_met(0.5) && !Limit::AtLeast(0.4).is_met(0.3));
        assert_eq!(Limit::AtLeast(120.0).to_string(), ">= 120");
    }
}
