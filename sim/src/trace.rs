//! What happened, as one number: two runs of one seed must come to the same.
//! Owns: [`Trace`], and the last lines for whoever looks at a failure. Never: influences anything.

use std::collections::VecDeque;
use std::fmt::Arguments;

/// Lines kept for a failure.
const LINES_KEPT: usize = 4_000;

/// A digest of everything that happened, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    digest: u64,
    facts: u64,
    keeps_lines: bool,
    lines: VecDeque<String>,
    /// The digest after every fact, if whoever compares wants to know where two runs part.
    steps: Option<Vec<u64>>,
}

impl Trace {
    /// A trace that also keeps its last lines, or every step.
    #[must_use]
    pub fn new(keeps_lines: bool, keeps_steps: bool) -> Self {
        Self { keeps_lines, steps: keeps_steps.then(Vec::new), ..Self::default() }
    }

    /// Notes a fact.
    pub fn note(&mut self, fact: u64) {
        self.digest = (self.digest.rotate_left(7) ^ fact).wrapping_mul(0x2545_f491_4f6c_dd1d);
        self.facts += 1;
        if let Some(steps) = &mut self.steps {
            steps.push(self.digest);
        }
    }

    /// Notes bytes.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        self.note(u64::from(crc32c::crc32c(bytes)) ^ (bytes.len() as u64) << 32);
    }

    /// Keeps a line for people, if lines are kept.
    pub fn line(&mut self, now_us: u64, line: Arguments<'_>) {
        if self.keeps_lines {
            if self.lines.len() == LINES_KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{:>12.6} {line}", now_us as f64 / 1e6));
        }
    }

    /// The digest and the number of facts in it.
    #[must_use]
    pub const fn digest(&self) -> (u64, u64) {
        (self.digest, self.facts)
    }

    /// The digest after every fact, if they were kept.
    #[must_use]
    pub fn steps(&self) -> &[u64] {
        self.steps.as_deref().unwrap_or_default()
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
