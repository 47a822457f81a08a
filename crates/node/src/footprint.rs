//! What the process occupies, as the operating system says.
//! Owns: [`Footprint`]: reading it, and the least that was seen beside what is counted. Never: counts anything itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::MemoryStatus;

/// See the module.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// The least of what was resident, no part of a file, and not counted.
    idle: AtomicU64,
}

impl Default for Footprint {
    fn default() -> Self {
        Self { idle: AtomicU64::new(u64::MAX) }
    }
}

impl Footprint {
    /// Fills in what the system says, and what the process needs beside all that is counted in `memory`.
    ///
    /// That is the program's own pages, and the least that was ever resident beside them and not counted. A node asks
    /// itself every second while it is young; what it reads its log into at a restart is gone a moment later, so the
    /// figure falls then.
    pub(crate) fn measure(&self, memory: &mut MemoryStatus) {
        let Some(resident) = Resident::read() else { return };
        let beside = resident.own.saturating_sub(memory.counted());
        let idle = self.idle.fetch_min(beside, Ordering::Relaxed).min(beside);
        memory.resident = resident.own + resident.program;
        memory.resident_peak = resident.peak;
        memory.startup = resident.program + idle;
    }
}

/// Resident bytes, where the system has /proc.
struct Resident {
    /// Pages that are no part of a file.
    own: u64,
    /// Pages of the program and its libraries.
    program: u64,
    /// The most that both ever were.
    peak: u64,
}

impl Resident {
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
        };
        let program = field("RssFile:")? + field("RssShmem:")?;
        Some(Self { own: field("RssAnon:")?, program, peak: field("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_needed_anyway_is_the_least_that_was_seen() {
        let footprint = Footprint::default();
        let mut idle = MemoryStatus::default();
        footprint.measure(&mut idle);
        assert!(idle.resident > 0 && idle.startup == idle.resident && idle.resident_peak > 0);
        // Far more than other tests of this process make the difference between two looks.
        let counted = Resident::read().map_or(0, |resident| resident.own);
        let mut filled = MemoryStatus { entries: counted, ..MemoryStatus::default() };
        footprint.measure(&mut filled);
        assert!(filled.startup < idle.startup, "most of it is known to be something else");
        let mut again = MemoryStatus::default();
        footprint.measure(&mut again);
        assert!(again.startup < idle.startup, "what was seen once is remembered");
    }
}
