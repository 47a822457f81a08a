//! How the machine itself did meanwhile: its disk, its processors.
//! Owns: that measure. Never: an excuse; a gap is a gap, but whoever looks for its cause should look here first.

use std::path::Path;
use std::time::{Duration, Instant};

use keystead_wal::{Disk, DiskFile, RealDisk};
use parking_lot::Mutex;

use crate::torture::wait::pause;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What is written before each sync.
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// The worst that was seen.
#[derive(Debug, Default)]
pub(super) struct Machine {
    worst: Mutex<Worst>,
}

/// The worst that was seen of a machine.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Worst {
    /// The longest fsync of 4 KiB beside the nodes' data, milliseconds.
    pub sync_ms: u64,
    /// When it ended, milliseconds of the run.
    pub sync_at_ms: u64,
    /// How much longer than asked a thread slept, milliseconds: how long it waited for a processor.
    pub stall_ms: u64,
    /// When it woke, milliseconds of the run.
    pub stall_at_ms: u64,
}

impl Machine {
    /// Looks until `is_over`. Without a directory only the processors are looked at.
    pub(super) fn watch(&self, dir: Option<&Path>, start: Instant, is_over: impl Fn() -> bool) {
        // A disk that cannot be probed is told by a sync of 0 ms.
        let probe = dir.and_then(|dir| RealDisk.create(&dir.join("probe")).ok());
        while !is_over() {
            let began = Instant::now();
            if let Some(file) = &probe
                && file.write_at(&BLOCK, 0).and_then(|()| file.sync()).is_ok()
            {
                let (took, at) = (millis(began.elapsed()), millis(start.elapsed()));
                let mut worst = self.worst.lock();
                if took > worst.sync_ms {
                    (worst.sync_ms, worst.sync_at_ms) = (took, at);
                }
            }
            let began = Instant::now();
            pause(LOOK_EVERY);
            let took = millis(began.elapsed().saturating_sub(LOOK_EVERY));
            let mut worst = self.worst.lock();
            if took > worst.stall_ms {
                (worst.stall_ms, worst.stall_at_ms) = (took, millis(start.elapsed()));
            }
        }
    }

    pub(super) fn worst(&self) -> Worst {
        *self.worst.lock()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
