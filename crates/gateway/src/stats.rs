//! Counts of what the gateway did, for INFO and LATENCY HISTOGRAM.
//! Owns: one set of counters per io thread and their sums. Never: a figure of a shard (see `node`).
//! A counter is written by its own thread only, so an addition needs no locked instruction.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::histogram::{Spread, Times};

/// Different error codes that a thread counts apart: scripts may make up any. The others are counted in the sum only.
const ERROR_CODES_MAX: usize = 128;
/// Longest error code that is counted apart, bytes.
const ERROR_CODE_BYTES_MAX: usize = 32;

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

    /// Replaces the count: for figures that are no sums. Only the owning thread may call it.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What one io thread counted.
#[derive(Debug, Default)]
pub(crate) struct ThreadStats {
    pub(crate) connections: Counter,
    pub(crate) keyspace_hits: Counter,
    pub(crate) keyspace_misses: Counter,
    pub(crate) input_bytes: Counter,
    pub(crate) output_bytes: Counter,
    pub(crate) errors: Counter,
    pub(crate) protocol_errors: Counter,
    /// Connections closed because their client did not read its replies.
    pub(crate) slow_readers: Counter,
    /// By position in the command table.
    pub(crate) rows: Box<[RowStats]>,
    /// Within the last second: commands, bytes in, bytes out.
    pub(crate) rates: [Counter; 3],
    codes: Mutex<BTreeMap<Box<str>, u64>>,
}

/// What one io thread counted of one command.
#[derive(Debug, Default)]
pub(crate) struct RowStats {
    /// Executed, those that failed included.
    pub(crate) calls: Counter,
    /// Refused before they were executed.
    pub(crate) rejected: Counter,
    /// Executed and answered with an error.
    pub(crate) failed: Counter,
    /// Time of all that `times` holds, nanoseconds.
    time_ns: Counter,
    /// Most commands are never used, so that there is none until the first.
    times: OnceLock<Box<Times>>,
}

impl RowStats {
    /// Notes that the command took `ns`, `count` times.
    #[inline]
    pub(crate) fn note(&self, ns: u64, count: u64) {
        self.time_ns.add(ns.wrapping_mul(count));
        self.times.get_or_init(Box::default).note(ns, count);
    }
}

impl ThreadStats {
    /// The counters of the row at a position of the command table.
    #[inline]
    pub(crate) fn row(&self, position: u16) -> Option<&RowStats> {
        self.rows.get(usize::from(position))
    }

    /// Notes an error reply; `reply` begins with its code, behind a dash or not.
    #[cold]
    pub(crate) fn note_error(&self, reply: &[u8]) {
        self.errors.add(1);
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let code = text.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        let Ok(code) = std::str::from_utf8(code) else { return };
        let mut codes = self.codes.lock();
        if let Some(count) = codes.get_mut(code) {
            *count += 1;
        } else if code.len() <= ERROR_CODE_BYTES_MAX && codes.len() < ERROR_CODES_MAX {
            codes.insert(code.into(), 1);
        }
    }

    /// Commands executed so far.
    pub(crate) fn commands(&self) -> u64 {
        self.rows.iter().map(|row| row.calls.get()).sum()
    }
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
    /// Within the last second: commands, bytes in, bytes out.
    pub(crate) rates: [u64; 3],
    /// By position in the command table.
    pub(crate) rows: Vec<RowTotals>,
    /// Error replies by their code.
    pub(crate) codes: BTreeMap<Box<str>, u64>,
}

/// Sums over all threads for one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowTotals {
    pub(crate) calls: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    pub(crate) time_ns: u64,
    pub(crate) times: Spread,
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
            let rows = (0..commands).map(|_| RowStats::default()).collect();
            threads.push(Arc::new(ThreadStats { rows, ..ThreadStats::default() }));
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
        self.threads.lock().iter().for_each(|thread| sum.add(thread));
        sum
    }
}

impl Totals {
    fn add(&mut self, thread: &ThreadStats) {
        self.connections += thread.connections.get();
        self.commands += thread.commands();
        self.keyspace_hits += thread.keyspace_hits.get();
        self.keyspace_misses += thread.keyspace_misses.get();
        self.input_bytes += thread.input_bytes.get();
        self.output_bytes += thread.output_bytes.get();
        self.errors += thread.errors.get();
        self.protocol_errors += thread.protocol_errors.get();
        self.slow_readers += thread.slow_readers.get();
        for (sum, rate) in self.rates.iter_mut().zip(&thread.rates) {
            *sum += rate.get();
        }
        self.rows.resize(thread.rows.len(), RowTotals::default());
        for (sum, row) in self.rows.iter_mut().zip(&thread.rows) {
            sum.calls += row.calls.get();
            sum.rejected += row.rejected.get();
            sum.failed += row.failed.get();
            sum.time_ns += row.time_ns.get();
            if let Some(times) = row.times.get() {
                sum.times.add(times);
            }
        }
        for (code, count) in &*thread.codes.lock() {
            *self.codes.entry(code.clone()).or_default() += count;
        }
    }

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
        for (row, base) in self.rows.iter_mut().zip(&base.rows) {
            row.calls -= base.calls;
            row.rejected -= base.rejected;
            row.failed -= base.failed;
            row.time_ns -= base.time_ns;
            row.times.subtract(&base.times);
        }
        for (code, count) in &base.codes {
            if let Some(sum) = self.codes.get_mut(code) {
                *sum -= count;
            }
        }
        self.codes.retain(|_, count| *count > 0);
    }
}
