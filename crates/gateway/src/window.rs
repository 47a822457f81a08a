//! The commands of one connection whose outcome is awaited, and the order of their replies.
//!
//! Owns: one run of commands per shard, what came back for each, and the putting together of the
//! replies in the order of the commands. Never: a socket, a decision about a command (`pipeline.rs`).
//!
//! ```text
//! commands      SET a 1   SET b 2   NOPE      SET c 3        (a, c in s1; b in s2)
//! runs          s1: SET a, SET c              s2: SET b
//! pieces        s1 x1     s2 x1     inline    s1 x1          replies leave in this order
//! ```
//! A window is gathered, then in flight until the last of its runs has ended, then its replies are
//! written; while it is in flight nothing further of the connection is executed.
//!
//! INV-G1: replies leave in the order of their commands, one for each.
//! INV-G2: a window holds reads or writes, never both, so that no read overtakes a write of its
//! connection, and no write a read that is still under way.
//! INV-G7: a command that may wait has a window of its own: nothing that its client asked for before waits with it.

use std::ops::Range;

use keystead_node::tracking::Origin;
use keystead_node::{Access, Door, Outcome, Refusal, Run, Ticket, UnknownReason};
use keystead_resp::{Protocol, ReplyWriter, skip_reply};
use keystead_types::{DatabaseId, Monotonic, ShardId};

use crate::buffers::{BUFFER_BYTES, Buffers};
use crate::reply::Failure;
use crate::slow_log::KEPT_BYTES;

mod tally;

/// Most runs of one window: as many as a ticket can number.
pub(crate) const WINDOW_RUNS_MAX: usize = 1 << RUN_BITS;

const AWAITED: &str = "INV-G1: a run without an outcome in a complete window";

const RUN_BITS: u32 = 12;
const SLOT_BITS: u32 = 20;
/// The number in the tickets of runs that belong to no connection.
pub(crate) const NO_CONNECTION: u32 = (1 << SLOT_BITS) - 1;
/// Most connections of one thread: as many as a ticket can number.
pub(crate) const THREAD_CONNECTIONS_MAX: usize = NO_CONNECTION as usize;

/// Which run of which window of which connection a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The window; guards against a completion for a window that its connection has left behind.
    pub(crate) serial: u32,
    /// Where the thread keeps the connection.
    pub(crate) slot: u32,
    /// The run's position in the window.
    pub(crate) run: u32,
}

impl Address {
    /// The ticket that the node knows the run by.
    pub(crate) fn ticket(self) -> Ticket {
        assert!(
            self.slot <= NO_CONNECTION && (self.run as usize) < WINDOW_RUNS_MAX,
            "a ticket has no room for connection {} and run {}",
            self.slot,
            self.run
        );
        let low = self.slot << RUN_BITS | self.run;
        Ticket(u64::from(self.serial) << 32 | u64::from(low))
    }

    /// What [`ticket`](Self::ticket) was made of.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the ticket is taken apart as it was composed"
    )]
    pub(crate) fn of(ticket: Ticket) -> Self {
        let low = ticket.0 as u32;
        Self {
            serial: (ticket.0 >> 32) as u32,
            slot: low >> RUN_BITS,
            run: low & ((1 << RUN_BITS) - 1),
        }
    }
}

/// The window of one connection. Reused: nothing in it is freed between two windows.
#[derive(Debug, Default)]
pub(crate) struct Window {
    serial: u32,
    /// When its first command was taken.
    since: Monotonic,
    runs: Vec<ShardRun>,
    /// The commands of all runs, in the order of their arrival.
    commands: Vec<Command>,
    /// Commands that do not stand in the connection's input as the node is to get them.
    rewritten: Vec<u8>,
    pieces: Vec<Piece>,
    /// Replies that were known at once, waiting for those before them.
    inline: Vec<u8>,
    /// Replies of runs that ended, waiting for the others.
    received: Vec<u8>,
    bytes: usize,
    inline_count: usize,
    /// Runs handed over that have not ended.
    outstanding: usize,
    is_submitted: bool,
    /// True if its one run is a command that may wait.
    waits: bool,
    /// Set when a run's replies went straight to the connection's output.
    is_written_through: bool,
    /// Errors among the replies.
    errors: Vec<tally::ErrorReply>,
    /// The beginning of the commands, in case that they turn out to be slow.
    kept: Vec<u8>,
}

/// Commands of one shard.
#[derive(Debug)]
struct ShardRun {
    shard: ShardId,
    access: Access,
    /// Its first and last command.
    first: usize,
    last: usize,
    result: RunResult,
    /// How much of the replies was given out, bytes.
    read: usize,
}

/// Where a command's bytes lie until the window is submitted.
#[derive(Clone, Copy, Debug)]
struct Command {
    /// Its position in the command table.
    row: u16,
    place: Place,
    start: usize,
    length: usize,
    /// The next command of the same run; none behind the last.
    next: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the connection's input, which stays as it is until then.
    Input,
    /// In the window's `rewritten`.
    Rewritten,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum RunResult {
    /// Not yet.
    Awaited,
    /// The replies, one behind the other, in the window's `received`.
    Done(Range<usize>),
    /// Nothing happened.
    Refused(Refusal),
    /// Nobody knows.
    Unknown(UnknownReason),
}

/// Neighbouring replies from one source.
#[derive(Clone, Copy, Debug)]
struct Piece {
    source: Source,
    /// Replies if from a run, bytes if inline.
    length: usize,
    is_silent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Run(usize),
    Inline,
}

/// One command on its way into a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// Its position in the command table.
    pub(crate) row: u16,
    pub(crate) shard: ShardId,
    pub(crate) access: Access,
    /// The command in canonical form.
    pub(crate) wire: &'a [u8],
    /// Where these bytes stand in the connection's input, if they do.
    pub(crate) input_start: Option<usize>,
    /// True if the client wants no reply (`CLIENT REPLY`).
    pub(crate) is_silent: bool,
}

/// Where submitted runs come from and how their replies are to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission<'a> {
    pub(crate) serial: u32,
    pub(crate) slot: u32,
    pub(crate) protocol: Protocol,
    /// The database that the connection has selected; it selects another only between two windows.
    pub(crate) database: DatabaseId,
    /// What the connection's own changes are known by.
    pub(crate) origin: Origin,
    /// The connection's input, unchanged since the window's first command.
    pub(crate) input: &'a [u8],
    /// True if slow commands are to be shown.
    pub(crate) keeps_beginning: bool,
}

impl Window {
    /// Notes when its first command was taken.
    pub(crate) fn begin(&mut self, now: Monotonic) {
        self.since = now;
    }

    /// When its first command was taken.
    pub(crate) fn since(&self) -> Monotonic {
        self.since
    }

    /// True if it holds no command.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// True if its runs were handed over and not all of them have ended.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.outstanding > 0
    }

    /// True if its runs were handed over and all of them have ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_submitted && self.outstanding == 0
    }

    /// True if it holds runs of this kind.
    pub(crate) fn holds(&self, access: Access) -> bool {
        self.runs.first().is_some_and(|run| run.access == access)
    }

    /// Commands gathered so far, and bytes of commands and of replies that wait for those before them.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.commands.len() + self.inline_count, self.bytes + self.inline.len())
    }

    /// Number of runs.
    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// The window's number, as in the tickets of its runs.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// Adds a command behind the others of its shard.
    pub(crate) fn push(&mut self, entry: Entry<'_>) {
        assert!(!self.holds(opposite(entry.access)), "INV-G2: reads and writes in one window");
        // From the back: a pipeline's next command often goes where the last one went.
        let run = self.runs.iter().rposition(|run| run.shard == entry.shard);
        let run = self.add_command(entry, run);
        self.push_piece(Piece { source: Source::Run(run), length: 1, is_silent: entry.is_silent });
    }

    /// Adds a run of its own that ends in one reply, whatever commands it holds (a transaction, or
    /// one shard's part of a command that goes to several).
    pub(crate) fn push_single(&mut self, entry: Entry<'_>) {
        let run = self.add_command(entry, None);
        self.pieces.push(Piece { source: Source::Run(run), length: 1, is_silent: entry.is_silent });
    }

    /// As [`push_single`](Self::push_single), for a command that may wait.
    pub(crate) fn push_waiting(&mut self, entry: Entry<'_>) {
        assert!(self.is_empty(), "INV-G7: a command that waits has a window of its own");
        self.push_single(entry);
        self.waits = true;
    }

    /// Adds a command to a run, or to a new one; returns the run's position.
    fn add_command(&mut self, entry: Entry<'_>, run: Option<usize>) -> usize {
        assert!(!self.is_submitted, "INV-G1: a command joins a window in flight");
        let (place, start) = match entry.input_start {
            Some(start) => (Place::Input, start),
            None => (Place::Rewritten, self.rewritten.len()),
        };
        if place == Place::Rewritten {
            self.rewritten.extend_from_slice(entry.wire);
        }
        let at = self.commands.len();
        let (row, length) = (entry.row, entry.wire.len());
        self.commands.push(Command { row, place, start, length, next: None });
        self.bytes += entry.wire.len();
        if let Some(run) = run {
            let last = std::mem::replace(&mut self.runs[run].last, at);
            self.commands[last].next = Some(at);
            return run;
        }
        let Entry { shard, access, .. } = entry;
        let result = RunResult::Awaited;
        self.runs.push(ShardRun { shard, access, first: at, last: at, result, read: 0 });
        self.runs.len() - 1
    }

    /// Adds a reply that is known already: what `write` appends.
    pub(crate) fn push_inline(&mut self, is_silent: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.inline.len();
        write(&mut self.inline);
        let length = self.inline.len() - before;
        self.inline_count += 1;
        self.push_piece(Piece { source: Source::Inline, length, is_silent });
    }

    fn push_piece(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if last.source == piece.source && last.is_silent == piece.is_silent => {
                last.length += piece.length;
            }
            _ => self.pieces.push(piece),
        }
    }

    /// Hands all runs to the node.
    pub(crate) fn submit(
        &mut self,
        submission: Submission<'_>,
        door: &mut dyn Door,
        buffers: &mut Buffers,
    ) {
        let Submission { serial, slot, protocol, database, origin, input, keeps_beginning } =
            submission;
        self.serial = serial;
        self.is_submitted = true;
        self.outstanding = self.runs.len();
        let mut scratch = buffers.take();
        let mut kept = std::mem::take(&mut self.kept);
        for (at, run) in (0u32..).zip(&self.runs) {
            let ShardRun { shard, access, .. } = *run;
            let commands = self.run_bytes(run, input, &mut scratch);
            // What follows something that was cut could not be told from it.
            if keeps_beginning && kept.len() < KEPT_BYTES {
                let room = KEPT_BYTES - kept.len();
                kept.extend_from_slice(&commands[..commands.len().min(room)]);
            }
            let ticket = Address { serial, slot, run: at }.ticket();
            let run = Run { ticket, shard, database, commands, protocol, access, origin };
            if self.waits { door.wait(run) } else { door.submit(run) }
        }
        self.kept = kept;
        buffers.give(scratch);
    }

    /// The commands of a run, one behind the other: in place if they are neighbours, else in `scratch`.
    fn run_bytes<'b>(
        &'b self,
        run: &ShardRun,
        input: &'b [u8],
        scratch: &'b mut Vec<u8>,
    ) -> &'b [u8] {
        let bytes_of = |place: Place| match place {
            Place::Input => input,
            Place::Rewritten => &self.rewritten,
        };
        let Command { place, start, length, mut next, .. } = self.commands[run.first];
        let mut end = start + length;
        while let Some(neighbour) = next.map(|at| self.commands[at])
            && neighbour.place == place
            && neighbour.start == end
        {
            end += neighbour.length;
            next = neighbour.next;
        }
        if next.is_none() {
            return &bytes_of(place)[start..end];
        }
        scratch.clear();
        scratch.extend_from_slice(&bytes_of(place)[start..end]);
        while let Some(at) = next {
            let command = self.commands[at];
            let bytes = bytes_of(command.place);
            scratch.extend_from_slice(&bytes[command.start..command.start + command.length]);
            next = command.next;
        }
        scratch
    }

    /// Notes how a run ended. Replies that are next in order anyway are appended to `output` at once.
    pub(crate) fn end_run(&mut self, run: u32, outcome: Outcome<'_>, output: &mut Vec<u8>) {
        if let (Outcome::Done(replies), [piece]) = (&outcome, self.pieces.as_slice())
            && !piece.is_silent
            && self.outstanding > 0
        {
            self.look_for_errors(run as usize, &outcome);
            output.extend_from_slice(replies);
            self.is_written_through = true;
            self.outstanding = 0;
            return;
        }
        self.end_run_apart(run, outcome);
    }

    /// As [`end_run`](Self::end_run), but keeps the replies for [`results`](Self::results).
    pub(crate) fn end_run_apart(&mut self, run: u32, outcome: Outcome<'_>) {
        let at = run as usize;
        let is_awaited = |run: &ShardRun| run.result == RunResult::Awaited;
        if self.outstanding == 0 || !self.runs.get(at).is_some_and(is_awaited) {
            return;
        }
        self.look_for_errors(at, &outcome);
        let Some(run) = self.runs.get_mut(at) else { return };
        self.outstanding -= 1;
        run.result = match outcome {
            Outcome::Done(replies) => {
                let start = self.received.len();
                self.received.extend_from_slice(replies);
                RunResult::Done(start..self.received.len())
            }
            Outcome::Refused(refusal) => RunResult::Refused(refusal),
            Outcome::Unknown(reason) => RunResult::Unknown(reason),
        };
    }

    /// How the runs ended, in the order in which they were added.
    pub(crate) fn results(&self) -> impl ExactSizeIterator<Item = (ShardId, Outcome<'_>)> {
        assert!(self.is_complete(), "INV-G1: results of a window in flight");
        self.runs.iter().map(|run| {
            let outcome = match &run.result {
                RunResult::Done(range) => Outcome::Done(&self.received[range.clone()]),
                RunResult::Refused(refusal) => Outcome::Refused(refusal.clone()),
                RunResult::Unknown(reason) => Outcome::Unknown(*reason),
                RunResult::Awaited => unreachable!("{AWAITED}"),
            };
            (run.shard, outcome)
        })
    }

    /// Appends the replies to `output`, in the order of the commands.
    pub(crate) fn write_replies(&mut self, output: &mut Vec<u8>, protocol: Protocol) {
        assert!(self.is_complete(), "INV-G1: replies of a window in flight");
        if self.is_written_through {
            return;
        }
        let mut inline_read = 0;
        for at in 0..self.pieces.len() {
            let piece = self.pieces[at];
            let before = output.len();
            match piece.source {
                Source::Inline => {
                    let end = inline_read + piece.length;
                    output.extend_from_slice(&self.inline[inline_read..end]);
                    inline_read = end;
                }
                Source::Run(at) => {
                    let writer = &mut ReplyWriter::new(output, protocol);
                    self.runs[at].write(piece.length, &self.received, writer);
                }
            }
            if piece.is_silent {
                output.truncate(before);
            }
        }
    }

    /// Makes it as new. Memory beyond the ordinary is given back.
    pub(crate) fn reset(&mut self) {
        self.runs.clear();
        self.commands.clear();
        self.pieces.clear();
        for buffer in [&mut self.rewritten, &mut self.inline, &mut self.received] {
            buffer.clear();
            buffer.shrink_to(BUFFER_BYTES);
        }
        self.bytes = 0;
        self.inline_count = 0;
        self.outstanding = 0;
        self.is_submitted = false;
        self.waits = false;
        self.is_written_through = false;
        self.errors.clear();
        self.kept.clear();
    }
}

impl ShardRun {
    /// Writes the next `count` replies.
    fn write(&mut self, count: usize, received: &[u8], writer: &mut ReplyWriter<'_>) {
        let failure = match &self.result {
            RunResult::Done(range) => {
                let rest = &received[range.clone()][self.read..];
                let length = replies_length(rest, count);
                writer.raw(&rest[..length]);
                self.read += length;
                return;
            }
            RunResult::Refused(refusal) => Failure::Refused(refusal),
            RunResult::Unknown(reason) => match self.access {
                Access::Read => Failure::ReadLost(*reason),
                Access::Write => Failure::Unknown(*reason),
            },
            RunResult::Awaited => unreachable!("{AWAITED}"),
        };
        for _ in 0..count {
            writer.error(&failure);
        }
    }
}

/// Bytes of the first `count` replies in `replies`.
fn replies_length(replies: &[u8], count: usize) -> usize {
    let mut length = 0;
    for _ in 0..count {
        let next = skip_reply(&replies[length..]);
        let Ok(Some(next)) = next else {
            panic!(
                "INV-G1: a run ended with fewer replies than commands: {next:?} at byte {length}"
            )
        };
        length += next;
    }
    length
}

const fn opposite(access: Access) -> Access {
    match access {
        Access::Read => Access::Write,
        Access::Write => Access::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ticket_holds_its_address(
            serial in any::<u32>(),
            slot in 0u32..1 << SLOT_BITS,
            run in 0u32..1 << RUN_BITS,
        ) {
            let address = Address { serial, slot, run };
            prop_assert_eq!(Address::of(address.ticket()), address);
        }
    }

    #[test]
    fn neighbours_are_handed_over_in_place_and_others_are_gathered() {
        let input = b"aaabbbcccddd";
        let mut window = Window::default();
        let mut push = |shard: u32, wire: &[u8], input_start| {
            let (shard, access) = (ShardId(shard), Access::Write);
            window.push(Entry { row: 0, shard, access, wire, input_start, is_silent: false });
        };
        push(1, b"aaa", Some(0));
        push(1, b"bbb", Some(3));
        push(2, b"ccc", Some(6));
        push(3, b"x", None);
        push(2, b"ddd", Some(9));
        push(3, b"y", None);
        push(3, b"aaa", Some(0));
        let bytes = |run: usize| {
            let mut scratch = Vec::new();
            let bytes = window.run_bytes(&window.runs[run], input, &mut scratch).to_vec();
            (bytes, !scratch.is_empty())
        };
        assert_eq!(bytes(0), (b"aaabbb".to_vec(), false));
        assert_eq!(bytes(1), (b"cccddd".to_vec(), false));
        assert_eq!(bytes(2), (b"xyaaa".to_vec(), true));
    }
}
