//! Commands that may wait: BLPOP and its relatives, XREAD BLOCK.
//!
//! Owns: when such a command waits at all, when its time is over, and what its client is told then. Never: who is
//! served (the shard's state says that, see `store/waiters.rs`), a timer (see `connection.rs`).
//!
//! A wait ends when the shard answers. Time, CLIENT UNBLOCK, the end of the client and the node's own end only withdraw it:
//! the shard then says whether it had been served, so that nothing is taken out for somebody who was told that there is
//! nothing.

use keystead_node::{Access, Outcome, Refusal};
use keystead_resp::{Args, ReplyWriter};
use keystead_store::command::{Command, Patience, Query, WaitCommand};
use keystead_types::ShardId;
use std::time::Duration;
use tokio::time::Instant;

use crate::dispatch::{Dispatch, Verdict};
use crate::pipeline::Turn;
use crate::purpose::Purpose;
use crate::registry::Unblock;
use crate::reply::Failure;
use crate::session::Session;
use crate::window::{Address, Entry, Window};

/// The longest time that is counted, longer than any process lives: what clients ask for beyond it is endless.
const PATIENCE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A client's wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// When its time is over.
    pub(crate) until: Option<Instant>,
    /// Why it was withdrawn, if it was.
    withdrawn: Option<Withdrawal>,
    is_silent: bool,
}

/// Why a wait is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// Its time is over.
    Timeout,
    /// CLIENT UNBLOCK.
    Unblocked(Unblock),
    /// The node stops.
    Stop,
    /// The client is gone, or sends no more: it is told what it was served, and nothing else.
    Gone,
}

impl Dispatch<'_, '_> {
    /// Runs a command that may wait.
    pub(crate) fn wait(
        &mut self,
        row: &'static Command,
        kind: WaitCommand,
        args: Args<'_>,
    ) -> Verdict {
        let patience = match kind.patience(args) {
            Ok(Patience::Endless) => None,
            Ok(Patience::Millis(millis)) => Some(Duration::from_millis(millis)),
            // The store says what is wrong with it, if something is.
            Ok(Patience::None) | Err(_) if row.is_read_only() => return self.read(row, args),
            Ok(Patience::None) | Err(_) => return self.write(row, args),
        };
        if self.window.is_some() {
            return Verdict::Hold;
        }
        let shard = match self.shard_of(row, args) {
            Ok(shard) => shard,
            Err(failure) => return self.fail(&failure),
        };
        if row.is_read_only() && self.reads_something(shard, row, args) {
            return Verdict::Next;
        }
        let until = patience.filter(|it| *it < PATIENCE_MAX).map(|it| Instant::now() + it);
        let is_silent = self.session.is_silent();
        *self.purpose = Purpose::Wait(Wait { until, withdrawn: None, is_silent });
        self.session.client().set_waiting(true);
        let mut window = self.turn.local.take_window();
        let (access, wire) = (Access::Write, args.wire());
        let (row, input_start) = (self.row, None);
        window.push_waiting(Entry { shard, access, wire, input_start, is_silent, row });
        *self.window = Some(window);
        self.session.command_ended();
        Verdict::Submit
    }

    /// Answers from memory if this node may, and there is something to answer.
    fn reads_something(&mut self, shard: ShardId, row: &'static Command, args: Args<'_>) -> bool {
        let mut answer = Vec::new();
        let reply = &mut ReplyWriter::new(&mut answer, self.session.protocol());
        let query = Query { database: self.session.database(), row, args, key: None };
        let since = self.turn.door.try_read(shard, &query, reply);
        let Some(since) = since else { return false };
        if matches!(answer.as_slice(), b"*-1\r\n" | b"_\r\n") {
            return false;
        }
        self.turn.local.begin_command(self.row, self.position, since);
        self.answer(|reply| reply.raw(&answer));
        true
    }
}

impl Wait {
    /// Withdraws the wait that `window` is in flight for, unless that was done already. Its answer is still to come.
    pub(crate) fn withdraw(&mut self, why: Withdrawal, window: &Window, turn: &mut Turn<'_>) {
        if self.withdrawn.is_some() {
            return;
        }
        self.withdrawn = Some(why);
        let address = Address { serial: window.serial(), slot: turn.slot, run: 0 };
        turn.door.withdraw(address.ticket());
        turn.local.unflushed += 1;
    }

    /// Writes what the client is told at the end.
    pub(crate) fn finish(self, window: &mut Window, session: &mut Session, output: &mut Vec<u8>) {
        session.client().set_waiting(false);
        if session.is_tracking() {
            session.doubt_copies();
        }
        let is_withdrawn =
            window.results().any(|(_, end)| matches!(end, Outcome::Refused(Refusal::Withdrawn)));
        if !is_withdrawn {
            return window.write_replies(output, session.protocol());
        }
        if self.is_silent || self.withdrawn == Some(Withdrawal::Gone) {
            return;
        }
        let mut reply = ReplyWriter::new(output, session.protocol());
        match self.withdrawn {
            Some(Withdrawal::Unblocked(Unblock::Error)) => reply.error(Failure::Unblocked),
            Some(Withdrawal::Stop) => reply.error(Failure::UnblockedByStop),
            _ => reply.null_array(),
        }
    }
}
