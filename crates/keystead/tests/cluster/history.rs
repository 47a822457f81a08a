//! What clients were told, and whether it can be true.
//!
//! Owns: registers, counters, and the verdict. Never: sends a command (see `load`).
//!
//! A register is a key with one writer that writes 1, 2, 3, ... Since values only grow, linearizability
//! comes down to this: a read that starts after a write was acknowledged, or after another read ended,
//! sees that value or a later one, wherever it is asked. A value whose write was refused is never seen.
//! A write in doubt may take effect much later, which would look like going back; so its register is
//! left as it is (its writer goes on with another key) and may be seen at either value, in this order.
//! A counter is incremented by many: at the end it lies between the acknowledged increments and these
//! plus the ones in doubt, and no two increments were answered with the same value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Violations kept; the first ones tell.
const VIOLATIONS_KEPT: usize = 20;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It happened.
    Acked,
    /// It did not happen.
    Refused,
    /// It did not happen: its connection had ended in order before it was read.
    CutOff,
    /// Nobody knows.
    Uncertain,
}

/// One key with one writer.
#[derive(Debug, Default)]
pub(crate) struct Register {
    pub(crate) key: String,
    sent: AtomicU64,
    acked: AtomicU64,
    seen: AtomicU64,
    uncertain: AtomicU64,
    refused: Mutex<BTreeSet<u64>>,
    values: Mutex<BTreeSet<u64>>,
}

impl Register {
    pub(crate) fn new(key: String) -> Self {
        Self { key, ..Self::default() }
    }

    /// The next value to write.
    pub(crate) fn begin_write(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn end_write(&self, value: u64, fate: Fate) {
        match fate {
            Fate::Acked => self.acked.store(value, Ordering::SeqCst),
            Fate::Refused | Fate::CutOff => {
                self.refused.lock().expect("no panic while held").insert(value);
            }
            Fate::Uncertain => self.uncertain.store(value, Ordering::SeqCst),
        }
    }

    /// The least value that a read may return that begins now.
    pub(crate) fn begin_read(&self) -> u64 {
        self.acked.load(Ordering::SeqCst).max(self.seen.load(Ordering::SeqCst))
    }

    /// Judges a read that began at `least` and returned `value`.
    pub(crate) fn end_read(&self, least: u64, value: u64) -> Result<(), String> {
        let sent = self.sent.load(Ordering::SeqCst);
        self.seen.fetch_max(value, Ordering::SeqCst);
        if value > least {
            // Only such a value may yet turn out to be refused.
            self.values.lock().expect("no panic while held").insert(value);
        }
        if value < least {
            return Err(format!(
                "{} went back: {value} was read after {least} had been acknowledged or read",
                self.key
            ));
        }
        if value > sent {
            return Err(format!("{} holds {value}, and only {sent} was written yet", self.key));
        }
        Ok(())
    }

    /// Refused values that were read.
    fn false_refusals(&self) -> Vec<u64> {
        let (refused, values) = (
            self.refused.lock().expect("no panic while held"),
            self.values.lock().expect("no panic while held"),
        );
        refused.intersection(&values).copied().collect()
    }
}

/// One key that many increment.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    pub(crate) key: String,
    acked: AtomicU64,
    uncertain: AtomicU64,
    answers: Mutex<Vec<u64>>,
}

impl Counter {
    pub(crate) fn new(key: String) -> Self {
        Self { key, ..Self::default() }
    }

    /// `answer` is what an acknowledged increment returned.
    pub(crate) fn end_increment(&self, fate: Fate, answer: u64) {
        match fate {
            Fate::Acked => {
                self.acked.fetch_add(1, Ordering::SeqCst);
                self.answers.lock().expect("no panic while held").push(answer);
            }
            Fate::Refused | Fate::CutOff => {}
            Fate::Uncertain => drop(self.uncertain.fetch_add(1, Ordering::SeqCst)),
        }
    }

    /// Judges the value at the end.
    pub(crate) fn judge(&self, value: u64) -> Result<(), String> {
        let (acked, uncertain) =
            (self.acked.load(Ordering::SeqCst), self.uncertain.load(Ordering::SeqCst));
        if value < acked || value > acked + uncertain {
            return Err(format!(
                "{} holds {value}, with {acked} increments acknowledged and {uncertain} in doubt",
                self.key
            ));
        }
        let answers = self.answers.lock().expect("no panic while held");
        let distinct: BTreeSet<u64> = answers.iter().copied().collect();
        if distinct.len() < answers.len() {
            return Err(format!("{}: two increments were answered with the same value", self.key));
        }
        Ok(())
    }
}

/// Totals and violations of one load.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) acked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) cut_off: AtomicU64,
    pub(crate) uncertain: AtomicU64,
    pub(crate) reads: AtomicU64,
    violations: AtomicU64,
    kept: Mutex<Vec<String>>,
    /// Why writes were in doubt, and how many for each reason.
    doubts: Mutex<BTreeMap<String, u64>>,
}

impl Verdict {
    pub(crate) fn count(&self, fate: Fate) {
        let total = match fate {
            Fate::Acked => &self.acked,
            Fate::Refused => &self.refused,
            Fate::CutOff => &self.cut_off,
            Fate::Uncertain => &self.uncertain,
        };
        total.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn doubt(&self, why: String) {
        *self.doubts.lock().expect("no panic while held").entry(why).or_default() += 1;
    }

    /// Why writes were in doubt since the last call.
    pub(crate) fn take_doubts(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.doubts.lock().expect("no panic while held"))
    }

    pub(crate) fn note(&self, outcome: Result<(), String>) {
        if let Err(violation) = outcome {
            self.violations.fetch_add(1, Ordering::SeqCst);
            let mut kept = self.kept.lock().expect("no panic while held");
            if kept.len() < VIOLATIONS_KEPT {
                kept.push(violation);
            }
        }
    }

    pub(crate) fn note_register(&self, register: &Register) {
        for value in register.false_refusals() {
            self.note(Err(format!(
                "{}: the write of {value} was refused, yet it was read",
                register.key
            )));
        }
    }

    /// # Panics
    /// If anything was violated.
    pub(crate) fn assert_clean(&self) {
        let count = self.violations.load(Ordering::SeqCst);
        let kept = self.kept.lock().expect("no panic while held");
        assert!(count == 0, "{count} violations, the first:\n{}", kept.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        let register = Register::new("k".into());
        let value = register.begin_write();
        register.end_write(value, Fate::Acked);
        let least = register.begin_read();
        register.end_read(least, 0).unwrap_err();
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let register = Register::new("k".into());
        register.begin_write();
        let least = register.begin_read();
        register.end_read(least, 1).unwrap();
        let least = register.begin_read();
        register.end_read(least, 0).unwrap_err();
    }

    #[test]
    fn a_refused_write_that_happened_is_found() {
        let (register, verdict) = (Register::new("k".into()), Verdict::default());
        let value = register.begin_write();
        register.end_read(register.begin_read(), value).unwrap();
        register.end_write(value, Fate::Refused);
        verdict.note_register(&register);
        assert_eq!(verdict.violations.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_write_in_doubt_may_show_late_but_not_vanish_again() {
        let register = Register::new("k".into());
        let value = register.begin_write();
        register.end_write(value, Fate::Uncertain);
        register.end_read(register.begin_read(), 0).unwrap();
        register.end_read(register.begin_read(), value).unwrap();
        register.end_read(register.begin_read(), 0).unwrap_err();
    }

    #[test]
    fn counters_lie_between_certain_and_possible() {
        let counter = Counter::new("c".into());
        counter.end_increment(Fate::Acked, 1);
        counter.end_increment(Fate::Uncertain, 0);
        counter.judge(0).unwrap_err();
        counter.judge(1).unwrap();
        counter.judge(2).unwrap();
        counter.judge(3).unwrap_err();
        counter.end_increment(Fate::Acked, 1);
        counter.judge(2).unwrap_err();
    }
}
