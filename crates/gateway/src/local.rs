//! What belongs to one io thread and is shared by its connections.
//! Owns: [`Local`] (buffers, windows, counters, coarse time) and [`Shared`] (what all threads share).
//! Never: a socket, the door.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keystead_node::pubsub::Inbox;
use keystead_types::{Clock, Monotonic};

use crate::access_log::AccessLog;
use crate::alarm::Alarms;
use crate::attention::Attention;
use crate::buffers::Buffers;
use crate::config::{GatewayConfig, LiveSettings};
use crate::meter::Meter;
use crate::registry::Registry;
use crate::release::Releases;
use crate::stats::{Stats, ThreadStats};
use crate::wake::Wake;
use crate::window::Window;

/// Idle windows that a thread keeps.
const WINDOWS_KEPT: usize = 256;

/// What all io threads of a gateway share.
pub(crate) struct Shared {
    pub(crate) config: GatewayConfig,
    pub(crate) live: LiveSettings,
    pub(crate) registry: Arc<Registry>,
    pub(crate) stats: Stats,
    pub(crate) alarms: Alarms,
    pub(crate) attention: Attention,
    pub(crate) access_log: AccessLog,
    pub(crate) clock: Arc<dyn Clock>,
    /// Drawn at start; tells one incarnation of the gateway from the next.
    pub(crate) incarnation: u64,
    /// Watches begun so far.
    pub(crate) watches: AtomicU32,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Shared {
    /// What a gateway begins with. `incarnation` is to differ from start to start.
    pub(crate) fn new(config: GatewayConfig, clock: Arc<dyn Clock>, incarnation: u64) -> Self {
        Self {
            live: LiveSettings::new(&config),
            config,
            registry: Arc::default(),
            stats: Stats::default(),
            alarms: Alarms::default(),
            attention: Attention::default(),
            access_log: AccessLog::default(),
            clock,
            incarnation,
            watches: AtomicU32::new(0),
        }
    }

    /// Seconds of the gateway's clock.
    pub(crate) fn now_s(&self) -> u32 {
        u32::try_from(self.clock.monotonic_now().0 / 1_000_000_000).unwrap_or(u32::MAX)
    }
}

/// What the connections of one thread share.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stats: Arc<ThreadStats>,
    pub(crate) buffers: Buffers,
    /// Coarse time, renewed every second: precise enough for idle times.
    pub(crate) now_s: u32,
    /// When the pump last found that windows had ended.
    pub(crate) moment: Monotonic,
    pub(crate) meter: Meter,
    /// Runs that were submitted since the thread's pump last flushed.
    pub(crate) unflushed: usize,
    /// True once the thread is to end: each connection is closed behind its next reply.
    pub(crate) is_draining: bool,
    #[expect(clippy::vec_box, reason = "boxes pass between thread and connections as they are")]
    windows: Vec<Box<Window>>,
    pub(crate) releases: Releases,
    /// Messages for the thread's connections.
    pub(crate) inbox: Arc<Inbox>,
    /// Where the thread keeps connections that are shown commands (MONITOR).
    pub(crate) monitors: Vec<u32>,
    /// Wakes the thread's pump.
    pub(crate) wake: Wake,
    serial: u32,
    random: u64,
    /// Commands, bytes in and bytes out when the rates were last renewed, and when that was.
    rated: ([u64; 3], Monotonic),
}

impl Local {
    /// The belongings of io thread `position`.
    pub(crate) fn new(shared: Arc<Shared>, position: usize, wake: Wake) -> Self {
        let own_wake = wake.clone();
        let inbox = shared.config.bus.open_inbox(move || wake.wake());
        let stats = shared.stats.thread(position, crate::dispatch::command_count());
        let rated = (sums_of(&stats), shared.clock.monotonic_now());
        let random = shared.incarnation ^ (position as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            now_s: shared.now_s(),
            stats,
            shared,
            buffers: Buffers::default(),
            moment: Monotonic::default(),
            meter: Meter::default(),
            unflushed: 0,
            is_draining: false,
            windows: Vec::new(),
            releases: Releases::default(),
            inbox,
            monitors: Vec::new(),
            wake: own_wake,
            serial: 0,
            random: random | 1,
            rated,
        }
    }

    /// A number for a window, different from all that may still be in flight.
    pub(crate) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// An empty window that begins now.
    pub(crate) fn take_window(&mut self) -> Box<Window> {
        let mut window = self.windows.pop().unwrap_or_default();
        window.begin(self.shared.clock.monotonic_now());
        window
    }

    /// Takes a window back.
    pub(crate) fn give_window(&mut self, mut window: Box<Window>) {
        window.reset();
        if self.windows.len() < WINDOWS_KEPT {
            self.windows.push(window);
        }
    }

    /// A number for a watch that no other watch of the cluster has: this node's and start's own upper
    /// half, and a count.
    pub(crate) fn next_watch_id(&self) -> u64 {
        let count = self.shared.watches.fetch_add(1, Ordering::Relaxed);
        let own = self.shared.incarnation ^ (self.shared.incarnation >> 32);
        own << 32 | u64::from(count)
    }

    /// Renews what INFO says of the last second. To be called once a second.
    pub(crate) fn renew_rates(&mut self) {
        let stats = &self.stats;
        let sums = sums_of(stats);
        let now = self.shared.clock.monotonic_now();
        let (before, since) = std::mem::replace(&mut self.rated, (sums, now));
        let passed_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX).max(1);
        for ((rate, sum), before) in stats.rates.iter().zip(sums).zip(before) {
            rate.set((sum - before).saturating_mul(1000) / passed_ms);
        }
    }

    /// A number that is hard to guess by accident, not by an adversary (xorshift64*).
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Commands, bytes in and bytes out so far.
fn sums_of(stats: &ThreadStats) -> [u64; 3] {
    [stats.commands(), stats.input_bytes.get(), stats.output_bytes.get()]
}
