//! How long commands take: what is being timed on one io thread, and where the times go.
//!
//! Owns: [`Meter`], the figures of INFO and LATENCY that come of it, what goes to the [`Alarms`](crate::alarm::Alarms). Never: a
//! look at the clock that can be spared.
//!
//! ```text
//! GET a     GET b     GET c                 each read looks at the clock anyway, to hold it against the lease:
//! |         |         |         |           where one begins, the one before ends; one look more at the end
//! SET a     SET b  ->  log  ->  outcome     one look when the window begins, one for all that a turn of the
//! |                             |           pump brings: commands that wait together took equally long
//! ```
//! So a command that is answered at once took the work itself; one that goes through a log, or to the node that leads its
//! shard, took everything up to its outcome, disks of a majority included. The time that a command waits on purpose
//! (flag `blocking`) is not taken.

use keystead_resp::{Decoder, Limits};
use keystead_store::command::{self, Command, flags};
use keystead_types::Monotonic;

use crate::dispatch::command_at;
use crate::local::Local;
use crate::registry::{Client, NO_COMMAND};
use crate::slow_log::Shown;
use crate::window::Window;

/// Slow commands of one batch that are told of; a client that sends more of them at once gains nothing from the others.
const SLOW_MAX: usize = 128;

/// What is being timed on one io thread.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The command of which the end is awaited, or [`NO_COMMAND`].
    row: u16,
    /// Where it begins in its connection's input.
    at: usize,
    since: Monotonic,
    /// What was slow in the present batch.
    slow: Vec<Slow>,
    /// The last window that was told of: when it ended, and how long it took.
    told: (Monotonic, u64),
}

#[derive(Clone, Copy, Debug)]
struct Slow {
    row: u16,
    at: usize,
    took_ns: u64,
}

impl Default for Meter {
    fn default() -> Self {
        let (since, told) = (Monotonic::default(), (Monotonic::default(), 0));
        Self { row: NO_COMMAND, at: 0, since, slow: Vec::new(), told }
    }
}

impl Local {
    /// A command that is answered at once began at `since`; the one before it was over by then.
    #[inline]
    pub(crate) fn begin_command(&mut self, row: u16, at: usize, since: Monotonic) {
        if self.meter.row != NO_COMMAND {
            self.end_command(since);
        }
        (self.meter.row, self.meter.at, self.meter.since) = (row, at, since);
    }

    #[inline]
    fn end_command(&mut self, until: Monotonic) {
        let Meter { row, at, since, .. } = self.meter;
        let took_ns = until.0.saturating_sub(since.0);
        if let Some(row) = self.stats.row(row) {
            row.note(took_ns, 1);
        }
        if took_ns >= self.shared.alarms.due_ns() && self.meter.slow.len() < SLOW_MAX {
            self.meter.slow.push(Slow { row, at, took_ns });
        }
    }

    /// Every command of a batch that is answered at once is over; `input` is where they stand.
    #[inline]
    pub(crate) fn end_batch(&mut self, input: &[u8], client: &Client) {
        if self.meter.row == NO_COMMAND {
            return;
        }
        self.end_command(self.shared.clock.monotonic_now());
        self.meter.row = NO_COMMAND;
        if !self.meter.slow.is_empty() {
            self.tell_of_batch(input, client);
        }
    }

    #[cold]
    fn tell_of_batch(&mut self, input: &[u8], client: &Client) {
        let mut decoder = Decoder::new(Limits {
            bulk_bytes_max: self.shared.config.bulk_bytes_max,
            ..Limits::default()
        });
        for Slow { row, at, took_ns } in std::mem::take(&mut self.meter.slow) {
            let (Some(row), Some(rest)) = (command_at(row), input.get(at..)) else { continue };
            self.shared.alarms.note_latency(row, took_ns, self.unix_s());
            if self.shared.alarms.is_slow(row, took_ns)
                && let Ok(Some(_)) = decoder.decode(rest)
            {
                self.log_slow(Shown::of(decoder.args(rest)), took_ns, client);
            }
        }
    }

    /// All commands of a window have their outcome.
    pub(crate) fn end_window(&mut self, window: &mut Window, client: &Client) {
        let took_ns = self.moment.0.saturating_sub(window.since().0);
        for (row, count) in window.rows() {
            let waits = command_at(row).is_some_and(|row| row.flags & flags::BLOCKING != 0);
            if !waits && let Some(row) = self.stats.row(row) {
                row.note(took_ns, count);
            }
        }
        if took_ns >= self.shared.alarms.due_ns() {
            self.tell_of_window(window, took_ns, client);
        }
    }

    /// Windows that end in one turn of the pump waited for the same log most often: one that took no longer than another
    /// one of them tells nothing new, and telling of each would make a busy server slower. Whoever asks for every
    /// command (a threshold of 0) gets every command.
    #[cold]
    fn tell_of_window(&mut self, window: &Window, took_ns: u64, client: &Client) {
        let is_nothing_new = self.meter.told.0 == self.moment && took_ns <= self.meter.told.1;
        if is_nothing_new && self.shared.alarms.due_ns() > 0 {
            return;
        }
        self.meter.told = (self.moment, took_ns);
        let first = window.rows().next().and_then(|(row, _)| command_at(row));
        if let Some(row) = first.filter(|row| row.flags & flags::BLOCKING == 0) {
            self.shared.alarms.note_latency(row, took_ns, self.unix_s());
        }
        for (name, shown) in Shown::of_kept(window.kept()) {
            let row = command::find(name).filter(|row| is_shown(row));
            if row.is_some_and(|row| self.shared.alarms.is_slow(row, took_ns)) {
                self.log_slow(shown, took_ns, client);
            }
        }
    }

    fn log_slow(&self, command: Shown, took_ns: u64, client: &Client) {
        let (took_us, unix_s) = (took_ns / 1000, self.unix_s());
        self.shared.alarms.slow_log.add(command, took_us, unix_s, client);
    }

    fn unix_s(&self) -> u64 {
        self.shared.clock.unix_now().0 / 1000
    }
}

/// True if the slow log may show it as part of a window: neither what waits on purpose, nor what is around a transaction.
fn is_shown(row: &Command) -> bool {
    row.flags & flags::BLOCKING == 0 && !matches!(row.name, "multi" | "exec")
}
