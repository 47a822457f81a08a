//! The verdict on a run, and the figures behind it, for people and for programs.
//! Owns: when a run has passed, failed, or shown nothing. Never: measures.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use super::conduct::Recovery;
use super::load::{Counts, Figures};
use super::plan::Fault;

/// Longest time that a shard may be without a success while a majority of its replicas is up and connected.
pub const GAP_MS_MAX: u64 = 3_000;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Everything that was to happen happened, and nothing was found.
    Pass,
    /// Something was found that must not be.
    Fail,
    /// Nothing was found, but not everything that was to happen happened.
    Unknown,
}

/// How often a form of fault came.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FaultCount {
    /// Its kind, as on the command line.
    pub fault: &'static str,
    /// What was done.
    pub form: String,
    /// How often it was seen to have had an effect.
    pub struck: u64,
    /// How often it had none.
    pub missed: u64,
}

/// One shard.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ShardFigures {
    /// Which.
    pub shard: u32,
    /// Its operations.
    pub operations: Counts,
    /// The longest time without a success while a majority was up and connected.
    pub longest_gap_ms: u64,
    /// When that began, in milliseconds of the run.
    pub longest_gap_from_ms: u64,
    /// During which faults.
    pub longest_gap_during: String,
}

/// Changes of leaders.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Failovers {
    /// How many shards got a new leader because theirs had fallen.
    pub count: usize,
    /// From the fall to the first write, the median; 0 where times were not measured.
    pub median_ms: u64,
    /// The longest.
    pub worst_ms: u64,
}

impl Failovers {
    /// From the times that were measured.
    #[must_use]
    pub fn of(mut times_ms: Vec<u64>) -> Self {
        times_ms.sort_unstable();
        let median_ms = times_ms.get(times_ms.len() / 2).copied().unwrap_or_default();
        Self {
            count: times_ms.len(),
            median_ms,
            worst_ms: times_ms.last().copied().unwrap_or_default(),
        }
    }
}

/// Whether the replicas of each shard were found equal at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DigestCount {
    /// Shards whose replicas were equal, the metadata group among them.
    pub equal: u32,
    /// Shards whose replicas differed.
    pub different: u32,
    /// Shards whose digests could not be had.
    pub missing: u32,
}

/// Everything about a run.
#[derive(Debug, serde::Serialize)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not PASS.
    pub reasons: Vec<String>,
    /// The command line's seed: the same one gives the same order of faults.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// The durability of the nodes that were started.
    pub durability: Option<String>,
    /// Clients.
    pub clients: usize,
    /// How long faults came, in seconds.
    pub seconds: u64,
    /// Where the nodes ran, and by what means they were broken.
    pub ground: Vec<String>,
    /// What was asked for.
    pub asked: Vec<&'static str>,
    /// What came.
    pub faults: Vec<FaultCount>,
    /// Leaders.
    pub failovers: Failovers,
    /// Rounds.
    pub recoveries: Vec<Recovery>,
    /// Shards.
    pub shards: Vec<ShardFigures>,
    /// The judge's figures.
    pub history: Figures,
    /// Replicas.
    pub digests: DigestCount,
    /// What else went wrong.
    pub failures: Vec<String>,
    /// The word to stop came before the end.
    pub is_interrupted: bool,
    /// Where data, logs and histories are kept.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Decides, from everything else.
    pub(super) fn decide(&mut self) {
        let failures = self.reasons_to_fail();
        if !failures.is_empty() {
            (self.verdict, self.reasons) = (Verdict::Fail, failures);
            return;
        }
        self.reasons = self.reasons_to_doubt();
        self.verdict = if self.reasons.is_empty() { Verdict::Pass } else { Verdict::Unknown };
    }

    fn reasons_to_fail(&self) -> Vec<String> {
        let mut reasons = self.failures.clone();
        if self.history.violations > 0 {
            let count = self.history.violations;
            reasons.push(format!("{count} answers that cannot be true, the first of them below"));
        }
        for shard in self.shards.iter().filter(|shard| shard.longest_gap_ms >= GAP_MS_MAX) {
            reasons.push(format!(
                "shard {} took no write for {:.1} s from second {:.1} on, although a majority of its replicas was up \
                 and connected (during: {})",
                shard.shard,
                seconds(shard.longest_gap_ms),
                seconds(shard.longest_gap_from_ms),
                shard.longest_gap_during,
            ));
        }
        if self.digests.different > 0 {
            reasons.push(format!("the replicas of {} shards differ", self.digests.different));
        }
        reasons
    }

    fn reasons_to_doubt(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for asked in &self.asked {
            let struck: u64 =
                self.faults.iter().filter(|f| f.fault == *asked).map(|f| f.struck).sum();
            let is_seen =
                if *asked == Fault::HangUp.name() { self.history.hang_ups } else { struck } > 0;
            if !is_seen {
                reasons
                    .push(format!("{asked} never happened: what it would have done is not known"));
            }
        }
        if self.failovers.count == 0 {
            reasons.push("no failover was seen".to_owned());
        }
        if self.history.total.acked == 0 {
            reasons.push("no write was acknowledged".to_owned());
        }
        if self.history.undecided > 0 {
            let why = self.history.undecided_why.as_deref().unwrap_or_default();
            reasons
                .push(format!("{} histories could not be judged ({why})", self.history.undecided));
        }
        if self.history.clients_fallen > 0 {
            reasons.push(format!(
                "{} clients fell: a mistake in this program",
                self.history.clients_fallen
            ));
        }
        if self.digests.missing > 0 {
            reasons
                .push(format!("the replicas of {} shards were not compared", self.digests.missing));
        }
        if self.is_interrupted {
            reasons.push("it was stopped before its time".to_owned());
        }
        reasons
    }

    /// The report as JSON.
    ///
    /// # Panics
    /// Never: no part of a report can fail to become JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is numbers and strings")
    }

    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<12} {:<18} {:>6}", "FAULT", "FORM", "TIMES")?;
        for count in &self.faults {
            let missed = match count.missed {
                0 => String::new(),
                missed => format!("  (and {missed} without effect)"),
            };
            writeln!(f, "{:<12} {:<18} {:>6}{missed}", count.fault, count.form, count.struck)?;
        }
        if self.history.hang_ups > 0 {
            writeln!(
                f,
                "{:<12} {:<18} {:>6}",
                Fault::HangUp.name(),
                "clients hang up",
                self.history.hang_ups
            )?;
        }
        Ok(())
    }

    fn write_shards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:>5} {:>9} {:>8} {:>9} {:>9} {:>12}  DURING",
            "SHARD", "ACKED", "REFUSED", "UNCERTAIN", "READS", "LONGEST GAP"
        )?;
        for shard in &self.shards {
            let Counts { acked, refused, uncertain, reads, .. } = shard.operations;
            let gap = format!("{} ms", shard.longest_gap_ms);
            let row = format!(
                "{:>5} {acked:>9} {refused:>8} {uncertain:>9} {reads:>9} {gap:>12}  {}",
                shard.shard, shard.longest_gap_during
            );
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }

    fn write_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { acked, refused, uncertain, reads, .. } = self.history.total;
        writeln!(
            f,
            "\nOperations  {acked} writes acknowledged, {refused} refused, {uncertain} uncertain; {reads} reads"
        )?;
        writeln!(
            f,
            "History     {} keys judged, {} violations, {} undecided",
            self.history.keys, self.history.violations, self.history.undecided
        )?;
        let failovers = self.failovers;
        let times = match failovers.worst_ms {
            0 => String::new(),
            worst => {
                format!("; to the first write median {} ms, worst {worst} ms", failovers.median_ms)
            }
        };
        writeln!(f, "Failovers   {} of a shard{times}", failovers.count)?;
        let mut recoveries: Vec<&Recovery> = self.recoveries.iter().collect();
        recoveries.sort_by_key(|recovery| recovery.level_ms);
        if let (Some(middle), Some(worst)) =
            (recoveries.get(recoveries.len() / 2), recoveries.last())
        {
            writeln!(
                f,
                "Recovery    {} rounds; from heal to level median {} ms, worst {} ms (after {})",
                recoveries.len(),
                middle.level_ms,
                worst.level_ms,
                worst.after
            )?;
        }
        let gap = self.shards.iter().map(|shard| shard.longest_gap_ms).max().unwrap_or_default();
        writeln!(
            f,
            "Longest gap {gap} ms without a success while a majority was up and connected"
        )?;
        let machine = self.history.machine;
        writeln!(
            f,
            "Machine     longest fsync {} ms (at {:.1} s), longest wait for a processor {} ms (at {:.1} s)",
            machine.sync_ms,
            seconds(machine.sync_at_ms),
            machine.stall_ms,
            seconds(machine.stall_at_ms)
        )?;
        let DigestCount { equal, different, missing } = self.digests;
        writeln!(
            f,
            "Replicas    {equal} shards equal, {different} different, {missing} not compared"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durability = match &self.durability {
            Some(durability) => format!(", durability {durability}"),
            None => String::new(),
        };
        writeln!(
            f,
            "{} nodes, {} shards{durability}, {} clients, seed {}, {} s",
            self.nodes,
            self.shards.len(),
            self.clients,
            self.seed,
            self.seconds
        )?;
        self.ground.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        self.write_faults(f)?;
        self.write_shards(f)?;
        self.write_figures(f)?;
        for violation in &self.history.violations_kept {
            let mut line = format!("VIOLATION   shard {}: {}", violation.shard, violation.what);
            if let Some(path) = &violation.history {
                write!(line, " (history: {})", path.display())?;
            }
            writeln!(f, "{line}")?;
        }
        let word = match self.verdict {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Unknown => "UNKNOWN",
        };
        writeln!(f, "\n{word}")?;
        self.reasons.iter().try_for_each(|reason| writeln!(f, "- {reason}"))?;
        if let Some(kept) = &self.kept {
            writeln!(f, "- data, logs and histories are kept in {}", kept.display())?;
        }
        Ok(())
    }
}

fn seconds(ms: u64) -> f64 {
    // Milliseconds of a run are far below where a float loses whole numbers.
    #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^52 milliseconds")]
    let ms = ms as f64;
    ms / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Report {
        let total = Counts { acked: 10, ..Counts::default() };
        let shard = ShardFigures {
            shard: 1,
            operations: total,
            longest_gap_ms: 900,
            longest_gap_from_ms: 100,
            longest_gap_during: "kill one".into(),
        };
        let kill = FaultCount { fault: "kill", form: "kill one".into(), struck: 2, missed: 0 };
        Report {
            verdict: Verdict::Unknown,
            reasons: Vec::new(),
            seed: 1,
            nodes: 3,
            durability: Some("fsync".into()),
            clients: 8,
            seconds: 60,
            ground: vec!["loopback".into()],
            asked: vec!["kill"],
            faults: vec![kill],
            failovers: Failovers::of(vec![500, 700, 900]),
            recoveries: vec![Recovery { after: "kill one".into(), level_ms: 2_000 }],
            shards: vec![shard],
            history: Figures { total, keys: 4, ..Figures::default() },
            digests: DigestCount { equal: 2, ..DigestCount::default() },
            failures: Vec::new(),
            is_interrupted: false,
            kept: None,
        }
    }

    fn verdict(change: impl FnOnce(&mut Report)) -> (Verdict, String) {
        let mut report = clean();
        change(&mut report);
        report.decide();
        (report.verdict, report.reasons.join("; "))
    }

    #[test]
    fn a_run_passes_when_all_happened_and_nothing_was_found() {
        assert_eq!(verdict(|_| {}), (Verdict::Pass, String::new()));
    }

    #[test]
    fn what_was_found_fails_the_run() {
        for change in [
            (|r| r.history.violations = 1) as fn(&mut Report),
            |r| r.shards[0].longest_gap_ms = GAP_MS_MAX,
            |r| r.digests.different = 1,
            |r| r.failures.push("node n1 ended by itself".into()),
        ] {
            assert_eq!(verdict(change).0, Verdict::Fail);
        }
    }

    #[test]
    fn what_did_not_happen_leaves_the_run_unknown() {
        for change in [
            (|r| r.asked.push("power-loss")) as fn(&mut Report),
            |r| r.faults[0].struck = 0,
            |r| r.failovers = Failovers::default(),
            |r| r.history.undecided = 1,
            |r| r.history.clients_fallen = 1,
            |r| r.digests.missing = 1,
            |r| r.is_interrupted = true,
            |r| r.history.total.acked = 0,
        ] {
            let (verdict, reasons) = verdict(change);
            assert_eq!(verdict, Verdict::Unknown);
            assert!(!reasons.is_empty());
        }
    }

    #[test]
    fn a_person_finds_the_verdict_and_the_figures() {
        let mut report = clean();
        report.decide();
        let page = report.to_string();
        for told in ["PASS", "median 700 ms, worst 900 ms", "kill one", "900 ms", "2 shards equal"]
        {
            assert!(page.contains(told), "{told} in\n{page}");
        }
        assert!(report.to_json().contains("\"verdict\": \"PASS\""));
    }
}
