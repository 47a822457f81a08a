//! Carries a plan out: injects, holds, heals, and measures how the cluster bears it.
//!
//! Owns: what is broken at the moment, and the record of it. Never: decides what comes next (see `plan`), or what the
//! record is worth (see `report`).
//!
//! A shard's silence is the cluster's fault only while more than half of its replicas are up and connected; `Reach` keeps
//! that picture, and it is changed before a fault and after its heal. A restarted node is up when it answers clients;
//! one whose disk is full cannot take writes, and counts as down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Placement, wait_until_level};
use super::error::TortureError;
use super::load::{Gap, Load};
use super::plan::{Form, Injection, Plan, Round};
use super::reach::{Reach, between};
use super::wait::{Stop, try_for};
use super::wire::field;

/// Longest wait for all replicas to be level after the last heal.
pub(super) const LEVEL_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a restarted node to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a node to find its disk full: the load must fill what it has set aside.
const FULL_MAX: Duration = Duration::from_secs(30);

/// What came of the faults.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// How often each form was injected and seen to have had an effect.
    pub(super) struck: BTreeMap<Form, u64>,
    /// How often it was injected without one.
    pub(super) missed: BTreeMap<Form, u64>,
    /// From the fall of a leader to the first write on its shard, milliseconds.
    pub(super) failovers_ms: Vec<u64>,
    pub(super) recoveries: Vec<Recovery>,
    /// By shard: the longest gap, and during which round.
    pub(super) gaps: Vec<(Gap, String)>,
    /// What went wrong beside the history: a node that ended by itself, replicas that did not become level.
    pub(super) failures: Vec<String>,
}

/// How long it took from the last heal of a round until every replica was level.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Recovery {
    /// What was healed.
    pub after: String,
    /// Milliseconds.
    pub level_ms: u64,
}

/// A fault that is on.
struct Active {
    form: Form,
    nodes: Vec<usize>,
    cuts: BTreeSet<(usize, usize)>,
    /// Shards that were led by a node hit.
    deposed: Vec<u32>,
    since_us: u64,
    has_struck: bool,
}

/// See the module.
pub(super) struct Conductor<'a> {
    cluster: &'a mut Cluster,
    load: &'a Load,
    stop: &'a Stop,
    tell: &'a dyn Fn(&str),
    reach: Reach,
    placement: Placement,
    record: Record,
}

impl<'a> Conductor<'a> {
    pub(super) fn new(
        cluster: &'a mut Cluster,
        load: &'a Load,
        stop: &'a Stop,
        tell: &'a dyn Fn(&str),
    ) -> Self {
        let reach = Reach::all(cluster.nodes.len());
        let gaps = (0..cluster.shards()).map(|_| (Gap::default(), String::new())).collect();
        let record = Record { gaps, ..Record::default() };
        Self { cluster, load, stop, tell, reach, placement: Placement::default(), record }
    }

    /// Carries rounds out until the time is over, something was found, or the word to stop is given.
    pub(super) fn run(mut self, plan: &mut Plan, time: Duration) -> Result<Record, TortureError> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && !self.has_failed() && !self.stop.is_requested() {
            let Some(round) = plan.next() else {
                self.stop.pause(deadline.saturating_duration_since(Instant::now()));
                break;
            };
            self.round(&round)?;
        }
        self.note_gaps("the end");
        Ok(self.record)
    }

    fn has_failed(&self) -> bool {
        self.load.violations() > 0 || !self.record.failures.is_empty()
    }

    fn round(&mut self, round: &Round) -> Result<(), TortureError> {
        self.placement = self.cluster.placement();
        let mut active: Vec<Active> = Vec::new();
        for (at, injection) in round.injections.iter().enumerate() {
            if at > 0 {
                self.stop.pause(round.lead);
            }
            let taken: Vec<usize> = active.iter().flat_map(|fault| fault.nodes.clone()).collect();
            active.push(self.begin(injection, &taken)?);
        }
        let name = names(&active);
        self.hold(&mut active, round.hold);
        if let [fault] = &active[..] {
            self.note_failovers(fault);
        }
        for fault in active {
            self.end(fault)?;
        }
        self.recover(&name);
        self.stop.pause(round.calm);
        self.note_gaps(&name);
        Ok(())
    }

    /// Injects a fault. Whatever it excuses is excused before.
    fn begin(&mut self, injection: &Injection, taken: &[usize]) -> Result<Active, TortureError> {
        let form = injection.form;
        let all: Vec<usize> = (0..self.cluster.nodes.len()).collect();
        let leader = self.placement.leaders.get(&injection.shard).copied();
        let mut target = leader.filter(|_| form.hits_leader()).unwrap_or(injection.node);
        if taken.contains(&target) && taken.len() < all.len() {
            target = all.iter().copied().find(|node| !taken.contains(node)).unwrap_or(target);
        }
        let other = if injection.other == target { injection.node } else { injection.other };
        let nodes = if form.hits_all() { all.clone() } else { vec![target] };
        let mut fault = Active {
            form,
            cuts: cuts_of(form, target, other, &all),
            deposed: Vec::new(),
            nodes,
            since_us: 0,
            has_struck: true,
        };
        // Who leads after a first fault is not known.
        if form.deposes() && taken.is_empty() {
            let led = |node: &usize| self.placement.led_by(*node);
            fault.deposed = fault.nodes.iter().flat_map(led).collect();
        }
        (self.tell)(&format!("{:>6.1} s  {}", self.seconds(), fault.describe(self.cluster)));
        if form.fells() {
            fault.nodes.iter().for_each(|node| self.reach.set_up(*node, false));
        }
        self.reach.cuts_mut().extend(fault.cuts.iter().copied());
        self.excuse();
        fault.since_us = self.load.now_us();
        self.strike(&fault)?;
        fault.deposed.iter().for_each(|shard| self.load.arm_shard(*shard));
        Ok(fault)
    }

    fn strike(&mut self, fault: &Active) -> Result<(), TortureError> {
        match fault.form {
            Form::KillOne | Form::KillLeader | Form::KillAll => self.kill(&fault.nodes)?,
            Form::PowerLoss | Form::PowerLossAll => {
                self.kill(&fault.nodes)?;
                for node in &fault.nodes {
                    if let Some(image) = &mut self.cluster.images[*node] {
                        image.lose_power()?;
                    }
                }
            }
            Form::Pause | Form::PauseLeader => {
                for node in &fault.nodes {
                    self.cluster.nodes[*node].pause()?;
                }
            }
            Form::CutOff | Form::CutOffLeader | Form::OneWay | Form::Bridge => self.apply_cuts()?,
            Form::SlowLink => self.slow(fault.nodes[0], true)?,
            Form::DiskFull => {
                if let Some(image) = &self.cluster.images[fault.nodes[0]] {
                    image.fill()?;
                }
            }
        }
        Ok(())
    }

    fn kill(&mut self, nodes: &[usize]) -> Result<(), TortureError> {
        nodes.iter().try_for_each(|node| self.cluster.nodes[*node].kill())
    }

    fn apply_cuts(&mut self) -> Result<(), TortureError> {
        match &mut self.cluster.network {
            Some(network) => network.set_cuts(self.reach.cuts().clone()),
            None => Ok(()),
        }
    }

    fn slow(&mut self, node: usize, is_slow: bool) -> Result<(), TortureError> {
        match &mut self.cluster.network {
            Some(network) => network.set_slow(node, is_slow),
            None => Ok(()),
        }
    }

    /// Lets faults last. A disk counts as full once its node has found it so.
    fn hold(&mut self, active: &mut [Active], time: Duration) {
        for fault in active.iter_mut().filter(|fault| fault.form == Form::DiskFull) {
            let node = &self.cluster.nodes[fault.nodes[0]];
            let is_full = || {
                let told = field(&node.info("durability")?, "log_is_full");
                (self.stop.is_requested() || told.as_deref() == Some("1")).then_some(())
            };
            fault.has_struck = try_for(FULL_MAX, is_full).is_some();
        }
        self.stop.pause(time);
    }

    /// Undoes a fault. What it excused is excused no longer afterwards.
    fn end(&mut self, mut fault: Active) -> Result<(), TortureError> {
        match fault.form {
            Form::KillOne
            | Form::KillLeader
            | Form::KillAll
            | Form::PowerLoss
            | Form::PowerLossAll => {
                for node in &fault.nodes {
                    self.cluster.nodes[*node].start()?;
                }
                for node in &fault.nodes {
                    self.wait_for_answers(*node);
                }
            }
            Form::Pause | Form::PauseLeader => {
                for node in &fault.nodes {
                    self.cluster.nodes[*node].resume()?;
                }
            }
            Form::CutOff | Form::CutOffLeader | Form::OneWay | Form::Bridge => {
                fault.has_struck = self.dropped_by(&fault.cuts)? > 0;
                for cut in &fault.cuts {
                    self.reach.cuts_mut().remove(cut);
                }
                self.apply_cuts()?;
            }
            Form::SlowLink => self.slow(fault.nodes[0], false)?,
            Form::DiskFull => {
                if let Some(image) = &self.cluster.images[fault.nodes[0]] {
                    image.relieve()?;
                }
            }
        }
        fault.nodes.iter().for_each(|node| self.reach.set_up(*node, true));
        self.excuse();
        let counts =
            if fault.has_struck { &mut self.record.struck } else { &mut self.record.missed };
        *counts.entry(fault.form).or_default() += 1;
        Ok(())
    }

    fn wait_for_answers(&mut self, at: usize) {
        let node = &mut self.cluster.nodes[at];
        let answers =
            try_for(ANSWER_MAX, || (node.answers() || node.take_end().is_some()).then_some(()));
        if answers.is_none() || !node.is_running() {
            let what = if node.is_running() { "does not answer" } else { "ended by itself" };
            self.record.failures.push(format!("node {} {what} after its start", node.name));
        }
    }

    /// Packets that the rules of these links' ends have dropped.
    fn dropped_by(&self, cuts: &BTreeSet<(usize, usize)>) -> Result<u64, TortureError> {
        let Some(network) = &self.cluster.network else { return Ok(0) };
        let ends: BTreeSet<usize> = cuts.iter().map(|(_, to)| *to).collect();
        ends.into_iter().map(|node| network.dropped(node)).sum()
    }

    /// A shard failed over if a write succeeded that began after its leader had fallen, while it was still gone. Where
    /// two faults overlap there may be no majority for a while, so that the time would say nothing.
    fn note_failovers(&mut self, fault: &Active) {
        for shard in &fault.deposed {
            if let Some(success) = self.load.first_success_us(*shard) {
                self.record.failovers_ms.push(success.saturating_sub(fault.since_us) / 1000);
            }
        }
    }

    /// Tells the load which shards have a majority that is up and connected.
    fn excuse(&self) {
        for shard in 1..=self.cluster.shards() {
            let has_majority = self
                .placement
                .replicas
                .get(&shard)
                .is_none_or(|replicas| self.reach.has_majority(replicas));
            self.load.set_excused(shard, !has_majority);
        }
    }

    /// Waits until everything is level again.
    fn recover(&mut self, name: &str) {
        let healed = Instant::now();
        let is_level = wait_until_level(self.cluster, LEVEL_MAX);
        for node in &mut self.cluster.nodes {
            if let Some(status) = node.take_end() {
                let what = format!("node {} ended by itself ({status}) during: {name}", node.name);
                self.record.failures.push(what);
            }
        }
        if !is_level {
            let what = format!("replicas were not level within {LEVEL_MAX:?} after: {name}");
            self.record.failures.push(what);
            return;
        }
        let level_ms = u64::try_from(healed.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.record.recoveries.push(Recovery { after: name.to_owned(), level_ms });
    }

    fn note_gaps(&mut self, name: &str) {
        let gaps = self.load.take_longest_gaps();
        for (kept, gap) in self.record.gaps.iter_mut().zip(gaps) {
            if gap.length_us > kept.0.length_us {
                *kept = (gap, name.to_owned());
            }
        }
    }

    fn seconds(&self) -> f64 {
        self.load.start_time().elapsed().as_secs_f64()
    }
}

impl Active {
    fn describe(&self, cluster: &Cluster) -> String {
        let name = |node: &usize| cluster.nodes[*node].name.as_str();
        let on = match self.form {
            Form::OneWay => self
                .cuts
                .iter()
                .map(|(from, to)| format!("{} to {}", name(from), name(to)))
                .collect(),
            Form::Bridge => {
                let pairs = self.cuts.iter().filter(|(a, b)| a < b);
                pairs.map(|(a, b)| format!("{}|{}", name(a), name(b))).collect::<Vec<_>>().join(" ")
            }
            _ => self.nodes.iter().map(name).collect::<Vec<_>>().join(", "),
        };
        let deposed = match self.deposed.len() {
            0 => String::new(),
            count => format!(", leader of {count} shards"),
        };
        format!("{}: {on}{deposed}", self.form)
    }
}

fn names(active: &[Active]) -> String {
    active.iter().map(|fault| fault.form.to_string()).collect::<Vec<_>>().join(" + ")
}

/// The links that a form cuts.
fn cuts_of(form: Form, node: usize, other: usize, all: &[usize]) -> BTreeSet<(usize, usize)> {
    match form {
        Form::CutOff | Form::CutOffLeader => {
            let others: Vec<usize> = all.iter().copied().filter(|at| *at != node).collect();
            between(&[node], &others)
        }
        Form::OneWay => BTreeSet::from([(node, other)]),
        Form::Bridge => {
            // The one in the middle sees both sides; these do not see each other.
            let sides: Vec<usize> = all.iter().copied().filter(|at| *at != node).collect();
            let (one, another) = sides.split_at(sides.len() / 2);
            between(one, another)
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_leaves_the_middle_connected_to_all() {
        let all = [0, 1, 2, 3, 4];
        let cuts = cuts_of(Form::Bridge, 2, 0, &all);
        assert!(cuts.iter().all(|(a, b)| *a != 2 && *b != 2));
        assert_eq!(cuts.len(), 8);
        let mut reach = Reach::all(5);
        *reach.cuts_mut() = cuts;
        assert!(reach.has_majority(&all));
        assert_eq!(cuts_of(Form::OneWay, 1, 2, &all), BTreeSet::from([(1, 2)]));
        assert_eq!(cuts_of(Form::CutOff, 0, 2, &[0, 1, 2]).len(), 4);
    }
}
