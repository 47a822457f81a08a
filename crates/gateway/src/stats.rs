//! Counts of what the gateway did, for INFO.
//! Owns: one set of counters per io thread and their sums. Never: a figure of a shard (see `node`).
//! A counter is written by its own thread only, so an addition needs no locked instruction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`. Only the owning thread may call it.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one io thread counted.
#[derive(Debug, Default)]
pub(crate) struct ThreadStats {
    pub(crate) connections: Counter,
    pub(crate) commands: Counter,
    pub(crate) keyspace_hits: Counter,
    pub(crate) keyspace_misses: Counter,
    pub(crate) input_bytes: Counter,
    pub(crate) output_bytes: Counter,
    pub(crate) errors: Counter,
    pub(crate) protocol_errors: Counter,
    /// Connections closed because their client did not read its replies.
    pub(crate) slow_readers: Counter,
    /// By position in the command table.
    pub(crate) calls: Box<[Counter]>,
}

/// Sums over all threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
    pub(crate) commands: u64,
    pub(crate) keyspace_hits: u64,
    pub(crate) keyspace_misses: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) errors: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) slow_readers: u64,
    pub(crate) calls: Vec<u64>,
}

/// The counters of all threads, dead ones included.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    threads: Mutex<Vec<Arc<ThreadStats>>>,
    /// Connections refused at the limit.
    pub(crate) rejected: AtomicU64,
    /// What the sums were at the last CONFIG RESETSTAT.
    base: Mutex<Totals>,
}

impl Stats {
    /// The counters of io thread `position`; a restarted thread goes on with those of the dead one.
    pub(crate) fn thread(&self, position: usize, commands: usize) -> Arc<ThreadStats> {
        let mut threads = self.threads.lock();
        while threads.len() <= position {
            let calls = (0..commands).map(|_| Counter::default()).collect();
            threads.push(Arc::new(ThreadStats { calls, ..ThreadStats::default() }));
        }
        Arc::clone(&threads[position])
    }

    /// Sums since the start or the last [`reset`](Self::reset).
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.sum();
        totals.subtract(&self.base.lock());
        totals
    }

    /// Lets all sums begin at zero.
    pub(crate) fn reset(&self) {
        let sum = self.sum();
        *self.base.lock() = sum;
    }

    fn sum(&self) -> Totals {
        let mut sum =
            Totals { rejected: self.rejected.load(Ordering::Relaxed), ..Totals::default() };
        for thread in &*self.threads.lock() {
            sum.connections += thread.connections.get();
            sum.commands += thread.commands.get();
            sum.keyspace_hits += thread.keyspace_hits.get();
            sum.keyspace_misses += thread.keyspace_misses.get();
            sum.input_bytes += thread.input_bytes.get();
            sum.output_bytes += thread.output_bytes.get();
            sum.errors += thread.errors.get();
            sum.protocol_errors += thread.protocol_errors.get();
            sum.slow_readers += thread.slow_readers.get();
            sum.calls.resize(thread.calls.len(), 0);
            for (total, calls) in sum.calls.iter_mut().zip(&thread.calls) {
                *total += calls.get();
            }
        }
        sum
    }
}

impl Totals {
    fn subtract(&mut self, base: &Self) {
        self.connections -= base.connections;
        self.rejected -= base.rejected;
        self.commands -= base.commands;
        self.keyspace_hits -= base.keyspace_hits;
        self.keyspace_misses -= base.keyspace_misses;
        self.input_bytes -= base.input_bytes;
        self.output_bytes -= base.output_bytes;
        self.errors -= base.errors;
        self.protocol_errors -= base.protocol_errors;
        self.slow_readers -= base.slow_readers;
        for (total, base) in self.calls.iter_mut().zip(&base.calls) {
            *total -= base;
        }
    }
}
