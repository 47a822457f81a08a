//! One connection without its socket: bytes in, commands executed in their order, bytes out.
//!
//! Owns: input and output of the connection, the decoder, the window, and when the next command may
//! be executed. Never: a socket, a task, a clock. What single commands do stands in `dispatch.rs`
//! and `session.rs`. Called by: `connection.rs`, for bytes that came and outcomes that came back.
//!
//! ```text
//! input --decode--> command --dispatch--> at once: output
//!                                         through the log: window --submit--> node
//! node --outcome--> window --all ended--> output, and on to the next command
//! ```
//! A command that may not run beside the window (a read behind a write, a session command) is held:
//! the window goes out, and the command is looked at again when the window is complete.
//!
//! INV-G3: nothing is executed while a window is in flight.
//! INV-G4: an idle connection holds no buffer and no window.

use std::sync::atomic::Ordering;

use keystead_node::pubsub::Delivery;
use keystead_node::{Door, Outcome};
use keystead_resp::{Decoder, ProtocolError, ReplyWriter, Request, RequestKind};
use tokio::time::Instant;

use crate::buffers::BUFFER_BYTES;
use crate::dispatch::{Dispatch, Verdict, note_failed};
use crate::local::Local;
use crate::purpose::Purpose;
use crate::registry::NO_COMMAND;
use crate::reply::Failure;
use crate::session::Session;
use crate::transaction::Exec;
use crate::waiting::Withdrawal;
use crate::window::{Submission, Window};

/// Bytes that are read ahead of a window in flight before the socket is left alone.
const READ_AHEAD_BYTES: usize = 4 * BUFFER_BYTES;

/// One connection without its socket.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) session: Session,
    decoder: Decoder,
    input: Vec<u8>,
    /// Bytes of `input` that were executed.
    consumed: usize,
    output: Vec<u8>,
    /// Bytes of `output` that were sent.
    sent: usize,
    /// End of the last message in `output`: up to there nothing waits for the window in flight.
    pushed: usize,
    window: Option<Box<Window>>,
    /// What the window in flight is for.
    purpose: Purpose,
    /// A command that was decoded and waits for the window.
    held: Option<Request>,
    protocol_error: Option<ProtocolError>,
    life: Life,
    /// True if commands were left alone because too many replies wait to be read.
    is_throttled: bool,
    /// True if the next command waits for the end of CLIENT PAUSE.
    is_held_back: bool,
    parting: Parting,
}

/// How far the connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Open,
    /// The client sends no more; what it sent is still executed.
    InputEnded,
    /// Nothing more is executed; replies are still sent.
    Closing,
    /// To be closed at once.
    Dead,
}

/// When the connection of a thread that drains is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parting {
    /// Not yet.
    Not,
    /// Now: the client has a reply, and waits for none. A transaction may go on up to its EXEC.
    BehindReply,
    /// Now, even within a transaction or a command that never came in full.
    WhenSilent,
}

/// What a pipeline works with during one turn: the thread's door and belongings.
pub(crate) struct Turn<'a> {
    pub(crate) door: &'a mut dyn Door,
    pub(crate) local: &'a mut Local,
    /// Where the thread keeps the connection.
    pub(crate) slot: u32,
}

impl Pipeline {
    /// A connection that has sent nothing yet.
    pub(crate) fn new(session: Session, local: &Local) -> Self {
        let limits = local.shared.config.decoder_limits(session.is_authenticated());
        Self {
            session,
            decoder: Decoder::new(limits),
            input: Vec::new(),
            consumed: 0,
            output: Vec::new(),
            sent: 0,
            pushed: 0,
            window: None,
            purpose: Purpose::Replies,
            held: None,
            protocol_error: None,
            life: Life::Open,
            is_throttled: false,
            is_held_back: false,
            parting: Parting::Not,
        }
    }

    /// Room for the next bytes from the client, behind those that wait.
    ///
    /// Grows by doubling with what was received, never by what a client announced (INV-P4).
    pub(crate) fn input_space(&mut self, local: &mut Local) -> &mut Vec<u8> {
        local.buffers.equip(&mut self.input);
        let spare = self.input.capacity() - self.input.len();
        if spare < BUFFER_BYTES / 4 {
            let wanted = self.decoder.buffer_bytes_wanted().unwrap_or_default();
            let wanted = wanted.saturating_sub(self.pending_bytes());
            let growth = wanted.clamp(BUFFER_BYTES, self.input.len().max(BUFFER_BYTES));
            self.input.reserve_exact(growth);
        }
        &mut self.input
    }

    /// Drops what came after the end of the connection.
    pub(crate) fn discard_input(&mut self, local: &mut Local) {
        self.input.clear();
        self.consumed = 0;
        local.buffers.retire(&mut self.input);
    }

    /// Gives the room back if nothing came.
    pub(crate) fn retire_input(&mut self, local: &mut Local) {
        local.buffers.retire(&mut self.input);
    }

    /// Renews what CLIENT LIST shows of the buffers.
    pub(crate) fn publish(&self) {
        let bytes = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let client = self.session.client();
        client.input_bytes.store(bytes(self.pending_bytes()), Ordering::Relaxed);
        client.output_bytes.store(bytes(self.output.len() - self.sent), Ordering::Relaxed);
    }

    /// Executes what may be executed now. Called after bytes came, replies went, or a window ended.
    pub(crate) fn advance(&mut self, turn: &mut Turn<'_>) {
        turn.local.buffers.equip(&mut self.output);
        self.is_throttled = false;
        self.is_held_back = false;
        while self.may_execute(turn) && self.step(turn) {}
        turn.local.end_batch(&self.input, self.session.client());
        self.submit(turn);
        self.tidy(turn);
    }

    /// Notes that the client will send nothing more.
    pub(crate) fn end_input(&mut self, turn: &mut Turn<'_>) {
        self.life = self.life.max(Life::InputEnded);
        self.tidy(turn);
    }

    /// True if the client sends no more; then it has nobody who would wait.
    pub(crate) fn has_input_ended(&self) -> bool {
        self.life >= Life::InputEnded
    }

    /// True while the window in flight is a command that waits.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.purpose, Purpose::Wait(_)) && self.is_in_flight()
    }

    /// When the time of the command that waits is over, if it does not wait for ever.
    pub(crate) fn waits_until(&self) -> Option<Instant> {
        match &self.purpose {
            Purpose::Wait(wait) => wait.until,
            _ => None,
        }
    }

    /// Ends the wait that is in flight, if one is; what the client is told comes back from its shard.
    pub(crate) fn withdraw_wait(&mut self, why: Withdrawal, turn: &mut Turn<'_>) {
        if let (Purpose::Wait(wait), Some(window)) = (&mut self.purpose, &self.window)
            && window.is_in_flight()
        {
            wait.withdraw(why, window, turn);
        }
    }

    /// Stops executing; replies under way are still sent.
    pub(crate) fn begin_close(&mut self) {
        self.life = self.life.max(Life::Closing);
    }

    /// Notes how a run of the window ended; true if the window is complete now.
    ///
    /// ORDER: the node's completions are taken while the door is in use, so what follows from them
    /// waits for [`finish_window`](Self::finish_window).
    pub(crate) fn end_run(
        &mut self,
        serial: u32,
        run: u32,
        outcome: Outcome<'_>,
        local: &mut Local,
    ) -> bool {
        let Some(window) = self.window.as_mut().filter(|window| window.serial() == serial) else {
            return false;
        };
        if !window.is_in_flight() {
            return false;
        }
        if matches!(self.purpose, Purpose::Replies) {
            local.buffers.equip(&mut self.output);
            window.end_run(run, outcome, &mut self.output);
        } else {
            window.end_run_apart(run, outcome);
        }
        window.is_complete()
    }

    /// Writes the replies of a complete window and goes on with the next commands.
    pub(crate) fn finish_window(&mut self, turn: &mut Turn<'_>) {
        let Some(mut window) = self.window.take() else { return };
        if !window.is_complete() {
            self.window = Some(window);
            return;
        }
        turn.local.buffers.equip(&mut self.output);
        let before = self.output.len();
        turn.local.end_window(&mut window, self.session.client());
        if !matches!(self.purpose, Purpose::Gather(_)) {
            window.count_errors(&turn.local.stats);
        }
        match std::mem::take(&mut self.purpose) {
            Purpose::Replies => window.write_replies(&mut self.output, self.session.protocol()),
            Purpose::Wait(wait) => wait.finish(&mut window, &mut self.session, &mut self.output),
            Purpose::Exec(exec) => {
                self.session.end_exec(exec, &window, turn);
                window.write_replies(&mut self.output, self.session.protocol());
            }
            Purpose::Gather(gather) => {
                let mut reply = ReplyWriter::new(&mut self.output, self.session.protocol());
                gather.finish(&window, turn, &mut reply);
                if let (Some(b'-'), Some((row, _))) =
                    (self.output.get(before), window.rows().next())
                {
                    note_failed(&turn.local.stats, row, &self.output[before..]);
                }
                if self.session.is_silent() {
                    self.output.truncate(before);
                }
                self.session.command_ended();
            }
        }
        turn.local.give_window(window);
        if self.session.is_tracking() {
            self.session.end_tracked_window(&mut self.output, turn);
        }
        self.advance(turn);
    }

    /// Takes leave of the node: what the connection left behind there is taken back.
    pub(crate) fn depart(&mut self, turn: &mut Turn<'_>) {
        self.withdraw_wait(Withdrawal::Gone, turn);
        // Behind an EXEC under way whose outcome nobody will see.
        if let Purpose::Exec(Exec { watch: Some(watch), .. }) = std::mem::take(&mut self.purpose) {
            turn.local.release(watch, turn.door);
        }
        self.session.depart(turn);
    }

    /// Adds a message to the output, or gives the client up if it takes too few.
    pub(crate) fn push(&mut self, delivery: &Delivery, local: &mut Local) {
        if self.life >= Life::Closing {
            return;
        }
        let awaits_replies = self.is_in_flight() && !self.is_waiting();
        local.buffers.equip(&mut self.output);
        if self.session.take_delivery(delivery, awaits_replies, &mut self.output, local) {
            self.pushed = self.output.len();
        }
        local.buffers.retire(&mut self.output);
        self.check_output(local);
    }

    /// Adds the commands that wait to be shown to the output.
    pub(crate) fn push_feed(&mut self, local: &mut Local) {
        let Some(feed) = self.session.feed().filter(|_| self.life < Life::Closing) else { return };
        local.buffers.equip(&mut self.output);
        if !feed.take(&mut self.output) {
            tracing::warn!(client = self.session.client().id, "monitor is too slow; closed");
            self.life = Life::Dead;
        }
        self.pushed = self.output.len();
        self.check_output(local);
    }

    /// True if the next command waits for the end of CLIENT PAUSE.
    pub(crate) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Bytes to be sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        if self.life == Life::Dead {
            return &[];
        }
        // While a window is in flight, replies before it wait for its own, to go out together; messages and what stands
        // before them do not. Replies are appended whole, so a message never stands within one.
        // What waits for a key has no replies before it in its window (INV-G7), and they may not wait with it.
        let is_held = self.is_in_flight() && !self.is_waiting();
        let end = if is_held { self.pushed.max(self.sent) } else { self.output.len() };
        &self.output[self.sent..end]
    }

    /// Notes that so many bytes of [`unsent`](Self::unsent) went out.
    pub(crate) fn mark_sent(&mut self, bytes: usize, local: &mut Local) {
        self.sent += bytes;
        if local.is_draining {
            self.parting = self.parting.max(Parting::BehindReply);
        }
        local.stats.output_bytes.add(bytes as u64);
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
            self.pushed = 0;
            local.buffers.retire(&mut self.output);
        }
    }

    /// True if the socket should be read.
    pub(crate) fn wants_input(&self) -> bool {
        if self.life > Life::Open || self.is_throttled {
            return false;
        }
        let is_blocked = self.is_in_flight() || self.held.is_some();
        !is_blocked || self.pending_bytes() < READ_AHEAD_BYTES
    }

    /// True if commands wait only for replies to be read by the client.
    pub(crate) fn is_throttled(&self) -> bool {
        self.is_throttled
    }

    /// True if nothing remains to be done for the client.
    pub(crate) fn is_finished(&self) -> bool {
        match self.life {
            Life::Open => false,
            Life::Dead => true,
            Life::InputEnded => {
                let is_held_up = self.is_throttled || self.is_held_back;
                !self.is_in_flight() && !is_held_up && self.output.is_empty()
            }
            Life::Closing => !self.is_in_flight() && self.output.is_empty(),
        }
    }

    /// Notes that the time is over in which the connection of a draining thread may be silent.
    pub(crate) fn end_patience(&mut self) {
        self.parting = Parting::WhenSilent;
    }

    /// True if a draining thread should close the connection, provided that nothing waits to be read.
    pub(crate) fn may_part(&self) -> bool {
        let is_answered = self.life == Life::Open && !self.is_in_flight() && self.output.is_empty();
        let is_at_rest = || self.held.is_none() && self.pending_bytes() == 0;
        match self.parting {
            Parting::Not => false,
            Parting::BehindReply => is_answered && is_at_rest() && !self.session.is_queueing(),
            Parting::WhenSilent => is_answered,
        }
    }

    /// True if the client may still be sending, so that the end must be told before it is made.
    pub(crate) fn lingers(&self) -> bool {
        self.life == Life::Closing
    }

    /// True while the outcome of commands is awaited.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.window.as_ref().is_some_and(|window| window.is_in_flight())
    }

    /// Bytes received and not yet executed.
    fn pending_bytes(&self) -> usize {
        self.input.len() - self.consumed
    }

    fn may_execute(&mut self, turn: &Turn<'_>) -> bool {
        if self.life >= Life::Closing || self.is_in_flight() {
            return false;
        }
        let config = &turn.local.shared.config;
        if self.output.len() - self.sent > config.output_bytes_soft {
            self.is_throttled = self.pending_bytes() > 0 || self.held.is_some();
            return false;
        }
        let (commands, bytes) = self.window.as_ref().map_or((0, 0), |window| window.size());
        commands < config.window_commands_max && bytes < config.window_bytes_max
    }

    /// Executes the next command; false if there is none, or if it has to wait.
    #[inline]
    fn step(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(request) = self.next_request(turn) else { return false };
        let args = self.decoder.args(&self.input[self.consumed..]);
        let is_in_place = std::ptr::eq(args.wire().as_ptr(), self.input[self.consumed..].as_ptr());
        let was_authenticated = self.session.is_authenticated();
        let mut dispatch = Dispatch {
            turn,
            session: &mut self.session,
            output: &mut self.output,
            window: &mut self.window,
            purpose: &mut self.purpose,
            position: self.consumed,
            row: NO_COMMAND,
            is_call: true,
            input_start: is_in_place.then_some(self.consumed),
        };
        match dispatch.execute(args) {
            Verdict::Next => {
                self.consumed += request.length;
                if self.session.is_authenticated() != was_authenticated {
                    let config = &turn.local.shared.config;
                    self.decoder.set_limits(config.decoder_limits(!was_authenticated));
                }
                true
            }
            Verdict::Submit => {
                self.consumed += request.length;
                false
            }
            Verdict::Hold => {
                self.held = Some(request);
                false
            }
            Verdict::Pause => {
                self.held = Some(request);
                self.is_held_back = true;
                false
            }
            Verdict::Close => {
                self.consumed += request.length;
                self.life = Life::Closing;
                false
            }
            Verdict::Abandon => {
                self.life = Life::Dead;
                false
            }
        }
    }

    /// The next command, held or decoded.
    #[inline]
    fn next_request(&mut self, turn: &mut Turn<'_>) -> Option<Request> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        if self.protocol_error.is_none() {
            loop {
                match self.decoder.decode(&self.input[self.consumed..]) {
                    Ok(Some(request)) if request.kind == RequestKind::Empty => {
                        self.consumed += request.length;
                    }
                    Ok(request) => return request,
                    Err(error) => {
                        self.protocol_error = Some(error);
                        break;
                    }
                }
            }
        }
        self.answer_protocol_error(turn);
        None
    }

    /// Answers malformed input behind everything before it, and closes.
    fn answer_protocol_error(&mut self, turn: &mut Turn<'_>) {
        let has_window = self.window.as_ref().is_some_and(|window| !window.is_empty());
        if has_window {
            return;
        }
        let Some(error) = self.protocol_error else { return };
        ReplyWriter::new(&mut self.output, self.session.protocol()).error(Failure::Protocol(error));
        turn.local.stats.protocol_errors.add(1);
        self.life = Life::Closing;
    }

    fn submit(&mut self, turn: &mut Turn<'_>) {
        let Some(window) = self.window.as_mut().filter(|window| !window.is_empty()) else { return };
        if window.is_in_flight() {
            return;
        }
        let submission = Submission {
            serial: turn.local.next_serial(),
            slot: turn.slot,
            protocol: self.session.protocol(),
            database: self.session.database(),
            origin: self.session.origin(),
            input: &self.input,
            keeps_beginning: turn.local.shared.alarms.keeps_slow_log(),
        };
        window.submit(submission, turn.door, &mut turn.local.buffers);
        turn.local.unflushed += 1;
    }

    /// Gives back what is not needed and drops input that was executed.
    fn tidy(&mut self, turn: &mut Turn<'_>) {
        if self.consumed == self.input.len() {
            self.input.clear();
            self.consumed = 0;
            turn.local.buffers.retire(&mut self.input);
        } else if self.consumed >= self.input.len() / 2 {
            // Moving the rest costs at most what was consumed, so every byte moves once on average.
            self.input.drain(..self.consumed);
            self.consumed = 0;
        }
        turn.local.buffers.retire(&mut self.output);
        self.check_output(turn.local);
    }

    /// Gives up a client that does not read.
    fn check_output(&mut self, local: &mut Local) {
        if self.output.len() - self.sent > local.shared.config.output_bytes_max {
            local.stats.slow_readers.add(1);
            tracing::warn!(
                client = self.session.client().id,
                output_bytes = self.output.len() - self.sent,
                "client does not read its replies; connection closed"
            );
            self.life = Life::Dead;
        }
    }
}
