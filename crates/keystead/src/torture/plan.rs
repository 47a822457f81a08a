//! Which fault comes when, drawn from a seed.
//! Owns: the forms of faults, their names, their order, which two may overlap. Never: injects one.

use std::fmt;
use std::time::Duration;

use super::draw::Draw;

/// A kind of fault, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9`.
    Kill,
    /// SIGSTOP.
    Pause,
    /// Links that are cut.
    Cut,
    /// Links that are slow.
    SlowLink,
    /// A disk that fills up.
    DiskFull,
    /// What was not fsynced is gone.
    PowerLoss,
    /// Clients that leave in the middle of a command.
    HangUp,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Kill,
        Self::Pause,
        Self::Cut,
        Self::SlowLink,
        Self::DiskFull,
        Self::PowerLoss,
        Self::HangUp,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Cut => "partition",
            Self::SlowLink => "slow-link",
            Self::DiskFull => "disk-full",
            Self::PowerLoss => "power-loss",
            Self::HangUp => "hang-up",
        }
    }

    /// The fault of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    fn forms(self) -> &'static [Form] {
        match self {
            Self::Kill => &[Form::KillOne, Form::KillLeader, Form::KillLeader, Form::KillAll],
            Self::Pause => &[Form::Pause, Form::PauseLeader],
            Self::Cut => &[Form::CutOff, Form::CutOffLeader, Form::OneWay, Form::Bridge],
            Self::SlowLink => &[Form::SlowLink],
            Self::DiskFull => &[Form::DiskFull],
            Self::PowerLoss => &[Form::PowerLoss, Form::PowerLossAll],
            // The load does it all the time.
            Self::HangUp => &[],
        }
    }
}

/// What exactly is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    KillOne,
    KillLeader,
    KillAll,
    Pause,
    PauseLeader,
    CutOff,
    CutOffLeader,
    OneWay,
    Bridge,
    SlowLink,
    DiskFull,
    PowerLoss,
    PowerLossAll,
}

impl Form {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::KillOne | Self::KillLeader | Self::KillAll => Fault::Kill,
            Self::Pause | Self::PauseLeader => Fault::Pause,
            Self::CutOff | Self::CutOffLeader | Self::OneWay | Self::Bridge => Fault::Cut,
            Self::SlowLink => Fault::SlowLink,
            Self::DiskFull => Fault::DiskFull,
            Self::PowerLoss | Self::PowerLossAll => Fault::PowerLoss,
        }
    }

    /// True if it is aimed at the node that leads a certain shard; each shard has its turn.
    pub(super) fn hits_leader(self) -> bool {
        matches!(self, Self::KillLeader | Self::PauseLeader | Self::CutOffLeader)
    }

    /// True if it takes every node at once.
    pub(super) fn hits_all(self) -> bool {
        matches!(self, Self::KillAll | Self::PowerLossAll)
    }

    /// True if the nodes hit cannot serve a shard meanwhile, so that who led there must be replaced.
    pub(super) fn deposes(self) -> bool {
        !matches!(self, Self::OneWay | Self::Bridge | Self::SlowLink | Self::DiskFull)
    }

    /// True if the nodes hit cannot take writes meanwhile.
    pub(super) fn fells(self) -> bool {
        let fault = self.fault();
        matches!(fault, Fault::Kill | Fault::Pause | Fault::PowerLoss | Fault::DiskFull)
    }

    /// True if both can be on at once: not two of a kind that would undo each other, and nothing else while all are down.
    fn overlaps(self, other: Self) -> bool {
        let (a, b) = (self.fault(), other.fault());
        let is_quiet = |form: Self| matches!(form.fault(), Fault::Cut | Fault::SlowLink);
        a != b && (!self.hits_all() || is_quiet(other)) && (!other.hits_all() || is_quiet(self))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillOne => "kill one",
            Self::KillLeader => "kill leader",
            Self::KillAll => "kill all",
            Self::Pause => "pause",
            Self::PauseLeader => "pause leader",
            Self::CutOff => "cut off one",
            Self::CutOffLeader => "cut off leader",
            Self::OneWay => "one-way link",
            Self::Bridge => "bridge",
            Self::SlowLink => "slow link",
            Self::DiskFull => "disk full",
            Self::PowerLoss => "power loss of one",
            Self::PowerLossAll => "power loss of all",
        })
    }
}

/// A fault with its aim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Injection {
    pub(super) form: Form,
    /// The node hit, unless the form is aimed at a leader.
    pub(super) node: usize,
    /// A second node, where the form has one: the other end of a link, the node in the middle of a bridge.
    pub(super) other: usize,
    /// The shard whose leader is hit, where the form is aimed at one.
    pub(super) shard: u32,
}

/// One fault or two that overlap, then calm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) injections: Vec<Injection>,
    /// Between the first fault and the second.
    pub(super) lead: Duration,
    /// From the last fault to the first heal.
    pub(super) hold: Duration,
    /// From the last heal to the next round.
    pub(super) calm: Duration,
}

/// Every this many rounds two faults overlap.
const PAIR_EVERY: u64 = 3;
/// Shortest time that a fault lasts: longer than the promise, so that a shard that stays without a leader is seen.
const HOLD_MS_MIN: u64 = 4_000;
const HOLD_MS_SPREAD: u64 = 3_000;
const LEAD_MS_MIN: u64 = 200;
const LEAD_MS_SPREAD: u64 = 1_800;
const CALM_MS_MIN: u64 = 500;
const CALM_MS_SPREAD: u64 = 1_500;

/// An endless sequence of rounds; the same for the same seed and shape.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    draw: Draw,
    forms: Vec<Form>,
    bag: Vec<Form>,
    nodes: usize,
    shards: u32,
    next_shard: u32,
    rounds: u64,
    /// What was acknowledged may stand in memory only, so that power must never fail at a majority.
    spares_memory: bool,
}

impl Plan {
    pub(super) fn new(seed: u64, faults: &[Fault], nodes: usize, shards: u32) -> Self {
        let forms = faults.iter().flat_map(|fault| fault.forms()).copied();
        // A single node has no links, and its death is the death of all.
        let forms =
            forms.filter(|form| nodes >= 3 || form.hits_all() || *form == Form::Pause).collect();
        let draw = Draw::new(seed);
        Self {
            draw,
            forms,
            bag: Vec::new(),
            nodes,
            shards,
            next_shard: 0,
            rounds: 0,
            spares_memory: false,
        }
    }

    /// Lets power fail at one node at a time only, and with nothing else: for nodes that acknowledge from memory.
    pub(super) fn spare_memory(&mut self) {
        self.spares_memory = true;
        self.forms.retain(|form| *form != Form::PowerLossAll);
    }

    fn may_pair(&self, a: Form, b: Form) -> bool {
        let is_power = |form: Form| form.fault() == Fault::PowerLoss;
        a.overlaps(b) && !(self.spares_memory && (is_power(a) || is_power(b)))
    }

    /// The next round; `None` if there is nothing that could be done.
    pub(super) fn next(&mut self) -> Option<Round> {
        self.rounds += 1;
        let first = self.take_form(|_, _| true)?;
        let mut injections = vec![self.aim(first, None)];
        if self.rounds.is_multiple_of(PAIR_EVERY)
            && let Some(second) = self.take_form(|plan, form| plan.may_pair(form, first))
        {
            let hit = injections[0].node;
            injections.push(self.aim(second, Some(hit)));
        }
        let mut time = |min, spread| Duration::from_millis(min + self.draw.below(spread));
        Some(Round {
            injections,
            lead: time(LEAD_MS_MIN, LEAD_MS_SPREAD),
            hold: time(HOLD_MS_MIN, HOLD_MS_SPREAD),
            calm: time(CALM_MS_MIN, CALM_MS_SPREAD),
        })
    }

    /// Takes a form that fits out of the bag; an empty bag is filled with each form once.
    fn take_form(&mut self, fits: impl Fn(&Self, Form) -> bool) -> Option<Form> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.forms);
            self.draw.shuffle(&mut self.bag);
        }
        let at = self.bag.iter().rposition(|form| fits(self, *form))?;
        Some(self.bag.remove(at))
    }

    fn aim(&mut self, form: Form, taken: Option<usize>) -> Injection {
        let mut node = self.draw.place(self.nodes);
        if taken == Some(node) {
            node = (node + 1) % self.nodes;
        }
        let step = if self.nodes > 1 { 1 + self.draw.place(self.nodes - 1) } else { 0 };
        let other = (node + step) % self.nodes;
        if form.hits_leader() {
            self.next_shard = self.next_shard % self.shards + 1;
        }
        Injection { form, node, other, shard: self.next_shard.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rounds(seed: u64, count: usize) -> Vec<Round> {
        let mut plan = Plan::new(seed, &Fault::ALL, 3, 16);
        (0..count).map(|_| plan.next().expect("an endless plan")).collect()
    }

    #[test]
    fn one_seed_is_one_plan() {
        assert_eq!(rounds(7, 40), rounds(7, 40));
        assert_ne!(rounds(7, 40), rounds(8, 40));
    }

    #[test]
    fn every_form_has_its_turn_and_pairs_overlap_on_two_nodes() {
        let rounds = rounds(1, 60);
        let seen: BTreeSet<Form> = rounds
            .iter()
            .flat_map(|round| &round.injections)
            .map(|injection| injection.form)
            .collect();
        assert_eq!(seen.len(), 13);
        let pairs: Vec<&Round> =
            rounds.iter().filter(|round| round.injections.len() == 2).collect();
        assert!(pairs.len() >= 10);
        for pair in pairs {
            let (a, b) = (pair.injections[0], pair.injections[1]);
            assert_ne!(a.node, b.node);
            assert!(a.form.overlaps(b.form) && b.form.overlaps(a.form));
        }
        assert!(rounds.iter().all(|r| r.injections.iter().all(|i| i.node != i.other)));
    }

    #[test]
    fn each_shard_loses_its_leader_in_turn() {
        let mut plan = Plan::new(3, &[Fault::Kill], 3, 4);
        let mut shards = Vec::new();
        while shards.len() < 8 {
            let round = plan.next().expect("an endless plan");
            let hit = round.injections.iter().filter(|injection| injection.form.hits_leader());
            shards.extend(hit.map(|injection| injection.shard));
        }
        assert_eq!(shards[..8], [1, 2, 3, 4, 1, 2, 3, 4]);
    }

    #[test]
    fn power_fails_alone_where_memory_is_all_there_is() {
        let mut plan = Plan::new(1, &Fault::ALL, 3, 16);
        plan.spare_memory();
        for _ in 0..100 {
            let forms: Vec<Form> =
                plan.next().expect("an endless plan").injections.iter().map(|i| i.form).collect();
            assert!(!forms.contains(&Form::PowerLossAll));
            assert!(!forms.contains(&Form::PowerLoss) || forms.len() == 1);
        }
    }

    #[test]
    fn names_lead_back_to_faults() {
        for fault in Fault::ALL {
            assert_eq!(Fault::of_name(fault.name()), Some(fault));
        }
        assert_eq!(Fault::of_name("meteor"), None);
        assert!(Plan::new(1, &[Fault::HangUp], 3, 16).next().is_none());
    }
}
