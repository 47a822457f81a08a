//! What becomes of one command: read at once, sent through the log, or run here.
//!
//! Owns: finding the row, the checks before a command runs, the shard its keys belong to, and the
//! rule which command may stand beside which in a window. Never: what a command means (see `store`
//! for data, `session.rs` for connections). Called by: `pipeline.rs`, once per decoded command, and
//! again for a command that was held.
//!
//! Keys of one command must lie in one *shard*: a shard is atomic, so keys in different slots of it
//! are welcome, and with one shard everything works as in a single Redis.

use std::sync::LazyLock;

use keystead_node::Access;
use keystead_resp::{Args, ReplyWriter, RunDecoder, decode::is_cross_protocol};
use keystead_store::CommandError;
use keystead_store::command::{
    self, Command, GatherCommand, Handler, Query, SessionCommand, flags,
};
use keystead_types::{ShardId, Slot};

use crate::gather;
use crate::pipeline::Turn;
use crate::purpose::Purpose;
use crate::registry::NO_COMMAND;
use crate::reply::Failure;
use crate::session::{self, Session, SessionCall};
use crate::stats::ThreadStats;
use crate::window::{Entry, WINDOW_RUNS_MAX, Window};

/// What the pipeline is to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with the next command.
    Next,
    /// Send the window out, and go on when it is complete.
    Submit,
    /// Send the window out, and look at this command again when it is complete.
    Hold,
    /// As `Hold`, but only once CLIENT PAUSE is over.
    Pause,
    /// Execute nothing more; close once the replies are sent.
    Close,
    /// Close at once, without an answer.
    Abandon,
}

/// Where a command belongs.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    shard: ShardId,
    /// Its first key and that one's slot.
    key: Option<(&'a [u8], Slot)>,
}

/// One command's way through the gateway.
pub(crate) struct Dispatch<'a, 't> {
    pub(crate) turn: &'a mut Turn<'t>,
    pub(crate) session: &'a mut Session,
    pub(crate) output: &'a mut Vec<u8>,
    pub(crate) window: &'a mut Option<Box<Window>>,
    pub(crate) purpose: &'a mut Purpose,
    /// Where the command begins in the connection's input.
    pub(crate) position: usize,
    /// Its row, for counters; none before it was found.
    pub(crate) row: u16,
    /// False if it was refused or only queued, and so was not called.
    pub(crate) is_call: bool,
    /// Where the command stands in the connection's input, if it stands there in canonical form.
    pub(crate) input_start: Option<usize>,
}

impl Dispatch<'_, '_> {
    /// Executes the command, or says why not.
    #[inline]
    pub(crate) fn execute(&mut self, args: Args<'_>) -> Verdict {
        let row = match command::resolve(args) {
            Ok(row) => row,
            Err(error) => return self.refuse_unresolved(args, &error),
        };
        self.row = command_position(row);
        self.session.client().note_command(self.row, self.turn.local.now_s);
        if self.turn.local.shared.attention.is_wanted() {
            return self.execute_watched(row, args);
        }
        self.execute_called(row, args)
    }

    /// As [`execute_called`](Self::execute_called), while somebody watches commands or holds them back.
    #[cold]
    fn execute_watched(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        if self.is_held_back(row) {
            return Verdict::Pause;
        }
        if self.session.is_monitor() && row.flags & (flags::WRITE | flags::READONLY) != 0 {
            return self.fail(&Failure::Monitoring);
        }
        let verdict = self.execute_called(row, args);
        if verdict != Verdict::Hold && self.turn.local.shared.attention.is_watched() {
            self.session.show(row, args, self.turn);
        }
        verdict
    }

    /// True if CLIENT PAUSE holds the command back. Whoever made a pause can end it.
    fn is_held_back(&self, row: &Command) -> bool {
        let now = self.turn.local.shared.clock.monotonic_now();
        let Some(pause) = self.turn.local.shared.attention.pause(now) else { return false };
        use SessionCommand as Cmd;
        match row.handler {
            Handler::Session(Cmd::ClientPause | Cmd::ClientUnpause) => false,
            _ if !pause.is_for_writes => true,
            Handler::Session(Cmd::Exec) => self.session.has_queued_write(),
            Handler::Session(Cmd::Publish | Cmd::SPublish) => true,
            // What a script writes is known when it runs.
            _ => row.is_write() || matches!(row.handler, Handler::Write(_)),
        }
    }

    #[inline]
    fn execute_called(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        let verdict = if self.session.is_tracking() {
            self.execute_tracked(row, args)
        } else {
            self.execute_row(row, args)
        };
        if verdict != Verdict::Hold
            && self.is_call
            && let Some(row) = self.turn.local.stats.row(self.row)
        {
            row.calls.add(1);
        }
        verdict
    }

    #[inline]
    pub(crate) fn execute_row(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        if !self.session.is_authenticated() && row.flags & flags::NO_AUTH == 0 {
            return self.fail(&Failure::NotAuthenticated);
        }
        if self.session.is_listening() && self.session.is_confined(row) {
            return self.fail(&Failure::Listening { command: row.name });
        }
        if row.flags & flags::NAMES_DATABASE != 0 {
            let databases = self.turn.local.shared.config.databases;
            if let Some(bounded) = command::database::bounded(row, args, databases) {
                return self.execute_bounded(row, &bounded);
            }
        }
        self.execute_permitted(row, args)
    }

    /// Executes a command of this gateway's making, which stands in no input.
    #[cold]
    fn execute_bounded(&mut self, row: &'static Command, command: &[u8]) -> Verdict {
        let mut spans = Vec::new();
        let args = RunDecoder::new(command).next(&mut spans).ok().flatten();
        let args = args.expect("what `bounded` encodes is a command");
        self.input_start = None;
        self.execute_permitted(row, args)
    }

    #[inline]
    fn execute_permitted(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        if self.session.is_queueing() && !ends_queueing(row) {
            return self.queue(row, args);
        }
        match row.handler {
            Handler::Read(_) => self.read(row, args),
            Handler::Write(_) => self.write(row, args),
            Handler::Wait(kind) => self.wait(row, kind, args),
            Handler::Gather(kind) => self.gather(kind, row, args),
            Handler::Session(kind) => self.run_session_command(kind, row, args),
            Handler::Refused(why) => self.refuse(row.name, why),
        }
    }

    #[inline]
    pub(crate) fn read(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        if self.window.as_ref().is_some_and(|window| window.holds(Access::Write)) {
            return Verdict::Hold;
        }
        let place = match self.place_of(row, args) {
            Ok(place) => place,
            Err(failure) => return self.fail(&failure),
        };
        self.read_in(place, row, args)
    }

    /// Reads from memory if this node may, else with the window.
    #[inline]
    fn read_in(&mut self, place: Place<'_>, row: &'static Command, args: Args<'_>) -> Verdict {
        let query = Query { database: self.session.database(), row, args, key: place.key };
        if !self.try_read(place.shard, &query) {
            return self.push(place.shard, Access::Read, args);
        }
        self.session.command_ended();
        Verdict::Next
    }

    /// Answers from memory, if this node may.
    #[inline]
    fn try_read(&mut self, shard: ShardId, query: &Query<'_>) -> bool {
        let (protocol, is_silent) = (self.session.protocol(), self.session.is_silent());
        let door = &*self.turn.door;
        let stats = &self.turn.local.stats;
        let row = self.row;
        let read = |out: &mut Vec<u8>| {
            let before = out.len();
            let since = door.try_read(shard, query, &mut ReplyWriter::new(out, protocol))?;
            match &out[before..] {
                [b'$', b'-', ..] | [b'_', ..] => stats.keyspace_misses.add(1),
                [b'-', ..] => note_failed(stats, row, &out[before..]),
                _ => stats.keyspace_hits.add(1),
            }
            Some(since)
        };
        let since = match self.window {
            None => {
                let before = self.output.len();
                let since = read(self.output);
                if is_silent {
                    self.output.truncate(before);
                }
                since
            }
            Some(window) => {
                let mut since = None;
                window.push_inline(is_silent, |out| since = read(out));
                since
            }
        };
        let Some(since) = since else { return false };
        self.turn.local.begin_command(row, self.position, since);
        true
    }

    #[inline]
    pub(crate) fn write(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        if self.window.as_ref().is_some_and(|window| window.holds(Access::Read)) {
            return Verdict::Hold;
        }
        match self.shard_of(row, args) {
            Ok(shard) => self.push(shard, Access::Write, args),
            Err(failure) => self.fail(&failure),
        }
    }

    /// Adds the command to the window.
    #[inline]
    fn push(&mut self, shard: ShardId, access: Access, args: Args<'_>) -> Verdict {
        let local = &mut *self.turn.local;
        let window = self.window.get_or_insert_with(|| local.take_window());
        if window.run_count() >= WINDOW_RUNS_MAX {
            return Verdict::Hold;
        }
        let is_silent = self.session.is_silent();
        let (row, input_start) = (self.row, self.input_start);
        window.push(Entry { row, shard, access, wire: args.wire(), input_start, is_silent });
        self.session.command_ended();
        Verdict::Next
    }

    /// Runs a command on all shards.
    fn gather(&mut self, kind: GatherCommand, row: &'static Command, args: Args<'_>) -> Verdict {
        if self.window.is_some() {
            return Verdict::Hold;
        }
        let since = self.turn.local.shared.clock.monotonic_now();
        let verdict = gather::begin(self, (kind, row), args);
        if verdict == Verdict::Next {
            self.turn.local.begin_command(self.row, self.position, since);
        }
        verdict
    }

    fn run_session_command(
        &mut self,
        kind: SessionCommand,
        row: &'static Command,
        args: Args<'_>,
    ) -> Verdict {
        // Its answer may tell of what stands before it (INFO, WAIT), and a transaction has a window
        // of its own.
        if self.window.is_some() {
            return Verdict::Hold;
        }
        let since = self.turn.local.shared.clock.monotonic_now();
        let verdict = self.run_by_kind(kind, row, args);
        match verdict {
            Verdict::Next | Verdict::Close => {
                self.turn.local.begin_command(self.row, self.position, since);
            }
            // It comes again.
            Verdict::Pause => self.is_call = false,
            _ => {}
        }
        verdict
    }

    fn run_by_kind(
        &mut self,
        kind: SessionCommand,
        row: &'static Command,
        args: Args<'_>,
    ) -> Verdict {
        match kind {
            SessionCommand::Multi => self.begin_transaction(),
            SessionCommand::Exec => self.execute_transaction(),
            SessionCommand::Discard => self.discard_transaction(),
            SessionCommand::Watch => self.watch(args),
            SessionCommand::Unwatch => self.unwatch(),
            // Channels of one command lie in one shard, like keys; any node takes them.
            SessionCommand::SSubscribe | SessionCommand::SUnsubscribe => {
                match self.shard_of_channels(args) {
                    Ok(()) => self.call_session(kind, args),
                    Err(failure) => self.fail(&failure),
                }
            }
            SessionCommand::ClusterSync => self.compare_replicas(args),
            SessionCommand::Debug if session::debug::is_about_key(args) => {
                self.look_at_key(row, args)
            }
            _ if kind.looks_into_slot() => self.look_into_slot(row, args),
            _ => self.call_session(kind, args),
        }
    }

    fn shard_of_channels(&self, args: Args<'_>) -> Result<(), Failure<'static>> {
        if args.len() > 1 { self.shard_of_all(args.from(1)).map(|_| ()) } else { Ok(()) }
    }

    /// Asks the shard that serves the slot.
    fn look_into_slot(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        let shard = match self.shard_of_slot(args) {
            Ok(shard) => shard,
            Err(failure) => return self.fail(&failure),
        };
        self.read_in(Place { shard, key: None }, row, args)
    }

    /// Asks the shard that has the key, which stands in third place.
    fn look_at_key(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        let shard = match self.shard_of_all(args.from(2)) {
            Ok(shard) => shard,
            Err(failure) => return self.fail(&failure),
        };
        self.read_in(Place { shard, key: None }, row, args)
    }

    /// The shard of the slot that the command names; any shard can say what is wrong with another number.
    pub(crate) fn shard_of_slot(&self, args: Args<'_>) -> Result<ShardId, Failure<'static>> {
        let door = &*self.turn.door;
        let named = command::slot_named(args).and_then(|slot| door.shard_of(slot));
        named.or_else(|| door.shards().first().copied()).ok_or(Failure::NoTopology)
    }

    fn call_session(&mut self, kind: SessionCommand, args: Args<'_>) -> Verdict {
        let before = self.output.len();
        let mut call =
            SessionCall { turn: self.turn, session: self.session, output: self.output, args };
        let verdict = match call.run(kind) {
            Ok(verdict) => verdict,
            Err(failure) => {
                self.output.truncate(before);
                self.session.note_failure();
                note_failed(&self.turn.local.stats, self.row, failure.to_string().as_bytes());
                return self.answer(|reply| reply.error(&failure));
            }
        };
        // Confirmations of subscriptions are messages, which CLIENT REPLY does not silence.
        if self.session.is_silent() && !kind.changes_subscriptions() {
            self.output.truncate(before);
        }
        self.session.command_ended();
        verdict
    }

    /// The shard that all keys of the command belong to; the first shard for one without keys.
    #[inline]
    pub(crate) fn shard_of(
        &self,
        row: &'static Command,
        args: Args<'_>,
    ) -> Result<ShardId, Failure<'static>> {
        self.place_of(row, args).map(|place| place.shard)
    }

    #[inline]
    fn place_of<'k>(
        &self,
        row: &'static Command,
        args: Args<'k>,
    ) -> Result<Place<'k>, Failure<'static>> {
        let door = &*self.turn.door;
        let mut keys = row.keys(args);
        let Some(first) = keys.next() else {
            let shard = door.shards().first().copied().ok_or(Failure::NoTopology)?;
            return Ok(Place { shard, key: None });
        };
        let slot = Slot::of_key(first);
        let shard = door.shard_of(slot).ok_or(Failure::NoTopology)?;
        for key in keys {
            if door.shard_of(Slot::of_key(key)) != Some(shard) {
                return Err(Failure::CrossSlot);
            }
        }
        Ok(Place { shard, key: Some((first, slot)) })
    }

    /// Says why a command is not carried over, and what to use instead.
    #[cold]
    pub(crate) fn refuse(&mut self, command: &'static str, why: &'static str) -> Verdict {
        self.fail(&Failure::Command(&CommandError::Refused { command, why }))
    }

    #[cold]
    fn refuse_unresolved(&mut self, args: Args<'_>, error: &CommandError) -> Verdict {
        let is_unknown = matches!(error, CommandError::UnknownCommand { .. });
        if is_unknown && args.get(0).is_some_and(is_cross_protocol) {
            tracing::warn!(
                client = self.session.client().id,
                peer = ?self.session.client().peer,
                "a browser was made to talk to this port; connection closed"
            );
            return Verdict::Abandon;
        }
        if let CommandError::Arity { command } = error
            && let Some(row) = command::find(command.as_bytes())
        {
            self.row = command_position(row);
        }
        if matches!(error, CommandError::Arity { command: "exec" }) {
            return self.abort_malformed_exec();
        }
        self.fail(&Failure::Command(error))
    }

    /// Refuses the command: answers with an error, in its place among the replies.
    #[cold]
    pub(crate) fn fail(&mut self, failure: &Failure<'_>) -> Verdict {
        self.session.note_failure();
        self.is_call = false;
        let stats = &self.turn.local.stats;
        stats.note_error(failure.to_string().as_bytes());
        if let Some(row) = stats.row(self.row) {
            row.rejected.add(1);
        }
        self.answer(|reply| reply.error(failure))
    }

    /// Answers at once, in its place among the replies.
    pub(crate) fn answer(&mut self, write: impl FnOnce(&mut ReplyWriter<'_>)) -> Verdict {
        let (protocol, is_silent) = (self.session.protocol(), self.session.is_silent());
        match self.window {
            Some(window) => {
                window.push_inline(is_silent, |out| write(&mut ReplyWriter::new(out, protocol)))
            }
            None => {
                let before = self.output.len();
                write(&mut ReplyWriter::new(self.output, protocol));
                if is_silent {
                    self.output.truncate(before);
                }
            }
        }
        self.session.command_ended();
        Verdict::Next
    }
}

/// Counts a command that was executed and failed.
#[cold]
pub(crate) fn note_failed(stats: &ThreadStats, row: u16, error: &[u8]) {
    stats.note_error(error);
    if let Some(row) = stats.row(row) {
        row.failed.add(1);
    }
}

/// True for the commands that MULTI does not queue.
const fn ends_queueing(row: &Command) -> bool {
    matches!(
        row.handler,
        Handler::Session(
            SessionCommand::Multi
                | SessionCommand::Exec
                | SessionCommand::Discard
                | SessionCommand::Watch
                | SessionCommand::Quit
                | SessionCommand::Reset
        )
    )
}

/// All rows: those of the table in its order, then all subcommands.
static ROWS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
    let subcommands = command::TABLE.iter().flat_map(|row| row.subcommands);
    command::TABLE.iter().chain(subcommands).collect()
});

/// Number of rows, subcommands included.
pub(crate) fn command_count() -> usize {
    ROWS.len()
}

/// The row at a position that [`command_position`] gave.
pub(crate) fn command_at(position: u16) -> Option<&'static Command> {
    ROWS.get(usize::from(position)).copied()
}

/// A number for the row, for counters.
#[inline]
fn command_position(row: &'static Command) -> u16 {
    let offset = std::ptr::from_ref(row).addr().wrapping_sub(command::TABLE.as_ptr().addr());
    let at = offset / size_of::<Command>();
    if at < command::TABLE.len() {
        return u16::try_from(at).unwrap_or(NO_COMMAND);
    }
    subcommand_position(row)
}

#[cold]
fn subcommand_position(row: &'static Command) -> u16 {
    let at = ROWS.iter().position(|known| std::ptr::eq(*known, row));
    at.and_then(|at| u16::try_from(at).ok()).unwrap_or(NO_COMMAND)
}
