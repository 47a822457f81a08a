//! What the process occupies, as the operating system says.
//! Owns: [`Footprint`]: reading it, and the least that was seen beside what is counted. Never: counts anything itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::{CpuStatus, MemoryStatus};

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
        if let Some(resident) = Resident::read() {
            self.account(memory, &resident);
        }
    }

    fn account(&self, memory: &mut MemoryStatus, resident: &Resident) {
        let beside = resident.own.saturating_sub(memory.counted());
        let idle = self.idle.fetch_min(beside, Ordering::Relaxed).min(beside);
        memory.resident = resident.own + resident.program;
        memory.resident_peak = resident.peak;
        memory.machine = resident.machine;
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
    /// What the machine has.
    machine: u64,
}

impl Resident {
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let machine = std::fs::read_to_string("/proc/meminfo").ok();
        let field = |name: &str| bytes_of(&text, name);
        let program = field("RssFile:")? + field("RssShmem:")?;
        let machine = machine.and_then(|text| bytes_of(&text, "MemTotal:")).unwrap_or(0);
        Some(Self { own: field("RssAnon:")?, program, peak: field("VmHWM:")?, machine })
    }
}

/// A field of /proc that is counted in kB.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Length of the steps in which Linux counts processor time, milliseconds (USER_HZ, 100 on every platform).
const CPU_STEP_MS: u64 = 10;

/// The processor time that the process has used, where the system has /proc.
pub(crate) fn cpu() -> Option<CpuStatus> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold anything; behind it, utime and stime are the 12th and
    // 13th field (proc(5) counts them as 14 and 15).
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok().map(|steps| steps * CPU_STEP_MS);
    Some(CpuStatus { user_ms: next()?, system_ms: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_anyway_is_the_least_that_was_seen() {
        let footprint = Footprint::default();
        let look = |own, entries| {
            let mut memory = MemoryStatus { entries, ..MemoryStatus::default() };
            footprint
                .account(&mut memory, &Resident { own, program: 1_000, peak: 9_000, machine: 0 });
            assert_eq!((memory.resident, memory.resident_peak), (own + 1_000, 9_000));
            memory.startup
        };
        assert_eq!(look(5_000, 0), 6_000);
        assert_eq!(look(5_000, 3_000), 3_000, "most of it is known to be something else");
        assert_eq!(look(5_000, 0), 3_000, "what was seen once is remembered");
        assert_eq!(look(2_000, 8_000), 1_000, "more may be counted than is resident yet");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_grows_with_work() {
        let used = || cpu().map_or(0, |cpu| cpu.user_ms + cpu.system_ms);
        let (before, mut sum) = (used(), 0u64);
        while used() < before + 2 * CPU_STEP_MS {
            sum = (0..100_000).fold(sum, |sum, n| sum.wrapping_mul(31) ^ std::hint::black_box(n));
        }
        assert!(std::hint::black_box(sum) != 1 && cpu().is_some());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_was_written_to_is_resident() {
        // The system counts pages by the thread and adds them up late, so a small difference says nothing.
        let filled = std::hint::black_box(vec![1u8; 64 << 20]);
        let resident = Resident::read().expect("this system has /proc");
        let least = filled.len() as u64 / 2;
        assert!(resident.own > least && resident.peak > least);
    }
}
