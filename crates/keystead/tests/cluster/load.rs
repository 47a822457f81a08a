//! The load of the torture as tests handle it: what it finds, fails the test.
//! Owns: deadlines, and sums over shards. Never: a client or a judge; those are the torture's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) use keystead::torture::tag_in;
use keystead::torture::{self, Counts, LoadOptions};

use crate::cluster::Cluster;
use crate::wait::pause;

/// A load that runs.
pub(crate) struct Load {
    load: torture::Load,
    shards: u32,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_with_values(cluster, 0)
    }

    /// As [`start`](Self::start), each written value filled up to `value_bytes`.
    pub(crate) fn start_with_values(cluster: &Cluster, value_bytes: usize) -> Self {
        let (addresses, shards) = (cluster.addresses(), cluster.shards);
        let histories = Some(cluster.dir().join("histories"));
        let options =
            LoadOptions { addresses, shards, value_bytes, histories, ..LoadOptions::default() };
        let load = Self { load: torture::Load::start(options).expect("the clients start"), shards };
        load.wait_for_writes("before the first fault", Duration::from_secs(20));
        load.take_longest_gap();
        load
    }

    /// Forgets earlier writes: from now on the first success of each shard is waited for.
    pub(crate) fn arm(&self) {
        self.load.arm();
    }

    /// Waits until a write to every shard has succeeded since [`arm`](Self::arm).
    pub(crate) fn wait_for_writes(&self, when: &str, within: Duration) {
        let all: Vec<u32> = (1..=self.shards).collect();
        self.first_writes(when, &all, Instant::now(), within);
    }

    /// How long after `fault` a write to each of these shards had succeeded that began after [`arm`](Self::arm).
    pub(crate) fn first_writes(
        &self,
        when: &str,
        shards: &[u32],
        fault: Instant,
        within: Duration,
    ) -> Vec<Duration> {
        let fault = fault.saturating_duration_since(self.load.start_time());
        let found = self.load.first_successes_us(shards, within).unwrap_or_else(|| {
            panic!("not within {within:?}: a write to each of the shards {shards:?} {when}")
        });
        found.into_iter().map(|at| Duration::from_micros(at).saturating_sub(fault)).collect()
    }

    /// The longest time that any shard was without a success since the last call.
    pub(crate) fn take_longest_gap(&self) -> Duration {
        let gaps = self.load.take_longest_gaps();
        Duration::from_micros(gaps.iter().map(|gap| gap.length_us).max().unwrap_or(0))
    }

    fn sum(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        self.load.counts().iter().map(of).sum()
    }

    /// Writes acknowledged so far.
    pub(crate) fn acked(&self) -> u64 {
        self.sum(|counts| counts.acked)
    }

    /// Writes refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.sum(|counts| counts.refused)
    }

    /// Writes so far whose connection had ended in order before they were read.
    pub(crate) fn cut_off(&self) -> u64 {
        self.sum(|counts| counts.cut_off)
    }

    /// From now on nodes end only in order: a write whose connection ended without a reply must not happen.
    pub(crate) fn expect_ends_in_order(&self) {
        self.load.expect_ends_in_order();
    }

    /// Why writes were in doubt since the last call, and how many for each reason.
    pub(crate) fn take_doubts(&self) -> BTreeMap<String, u64> {
        self.load.take_doubts()
    }

    /// Ends the load, reads everything back from every node that runs, and judges it all.
    ///
    /// # Panics
    /// If anything was lost, went back, or was refused and yet happened.
    pub(crate) fn finish(self, cluster: &Cluster) -> Counts {
        let nodes: Vec<_> = cluster.running().map(|node| node.client_address).collect();
        let figures = self.load.finish(&nodes);
        assert_eq!(figures.violations, 0, "{:#?}", figures.violations_kept);
        assert_eq!(figures.undecided, 0, "{:?}", figures.undecided_why);
        assert_eq!(figures.clients_fallen, 0, "a client fell; see above");
        figures.total
    }
}

/// Waits out a fault under load, telling whether anybody got through meanwhile.
pub(crate) fn writes_during(load: &Load, time: Duration) -> u64 {
    let before = load.acked();
    pause(time);
    load.acked() - before
}
