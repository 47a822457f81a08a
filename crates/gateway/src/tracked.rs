//! Commands of a connection that tracks: which keys are registered when, and what is told behind their replies.
//!
//! Owns: the order that INV-TRK1 rests on: registered, read, replied, told. Never: the table of keys (see the node's
//! `Tracking`), what the client asked for (`session/tracking.rs`). Called by `dispatch.rs` in place of the plain way, and by
//! `pipeline.rs` behind the replies of a window.
//!
//! What is told while a window is in flight waits for its replies: otherwise a client would drop what it does not
//! have yet, and keep what comes behind.

use std::sync::Arc;

use keystead_node::{Access, Standing};
use keystead_resp::{Args, RunDecoder};
use keystead_store::command::{self, Command, Group, Handler, SessionCommand, WaitCommand};
use keystead_types::{ShardId, Slot};

use crate::dispatch::{Dispatch, Verdict};
use crate::pipeline::Turn;
use crate::session::Session;

/// Keys of one window whose registration is looked at again behind the replies; past it, everything is dropped instead.
const NOTED_MAX: usize = 1 << 16;

impl Dispatch<'_, '_> {
    /// Executes a command of a connection that tracks.
    #[cold]
    pub(crate) fn execute_tracked(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        let is_exec = matches!(row.handler, Handler::Session(SessionCommand::Exec));
        if is_exec {
            self.track_transaction();
        } else if !self.session.is_queueing() && !self.waits_for_window(row) {
            self.track_keys(row, args);
        }
        let verdict = self.execute_row(row, args);
        let has_window = self.window.is_some();
        let Some(tracked) = self.session.tracked() else { return verdict };
        if !has_window {
            // Read at once: this node leads, and is the first to hear of a change.
            tracked.reading.clear();
        }
        // CLIENT CACHING holds for the next command that is not about the connection, or the next transaction.
        let is_about_client = row.name.starts_with("client|");
        if verdict != Verdict::Hold && !is_about_client && !self.session.is_queueing() {
            self.session.end_caching();
        }
        verdict
    }

    /// True if a read is looked at again behind the writes that it follows.
    fn waits_for_window(&self, row: &Command) -> bool {
        let is_read = matches!(row.handler, Handler::Read(_) | Handler::Wait(WaitCommand::XRead));
        let holds = |access| self.window.as_ref().is_some_and(|window| window.holds(access));
        if is_read { holds(Access::Write) } else { holds(Access::Read) }
    }

    /// Notes the keys of one command.
    fn track_keys(&mut self, row: &'static Command, args: Args<'_>) {
        // What a script reads of the keys that it names is known to nobody here, so all of them count as read. If it changes
        // one, the entry is told as any other is.
        let is_script = row.group == Group::Scripting;
        let is_read = row.is_read_only() || is_script;
        let client = self.session.client().id;
        let Some(tracked) = self.session.tracked() else { return };
        let is_wanted = if is_read {
            tracked.registers()
        } else {
            // What a client that does not want to hear of it changed is told by the shard's replica here, if at all.
            row.is_write() && tracked.is_by_key() && !tracked.is_noloop()
        };
        if !is_wanted {
            return;
        }
        let door = &*self.turn.door;
        let tracking = self.turn.local.shared.config.bus.tracking();
        for key in row.keys(args) {
            let Some(shard) = door.shard_of(Slot::of_key(key)) else { return };
            if is_script && matches!(row.handler, Handler::Write(_)) && tracked.is_noloop() {
                // Its own changes are not told, and would end what is registered: it could cache what it reads behind them.
                note(&mut tracked.unsure, shard, key);
            } else if is_read {
                tracking.register(shard, client, [key]);
                note(&mut tracked.reading, shard, key);
            } else if door.standing(shard) != Standing::Leads {
                note(&mut tracked.writing, shard, key);
            }
        }
    }

    /// Notes the keys of the commands that EXEC is about to run.
    fn track_transaction(&mut self) {
        let Some(transaction) = &mut self.session.transaction else { return };
        let run = transaction.take_run();
        let mut spans = Vec::new();
        let mut decoder = RunDecoder::new(&run);
        while let Ok(Some(args)) = decoder.next(&mut spans) {
            if let Ok(row) = command::resolve(args) {
                self.track_keys(row, args);
            }
        }
        if let Some(transaction) = &mut self.session.transaction {
            transaction.give_run(run);
        }
    }
}

fn note(noted: &mut Vec<(ShardId, Box<[u8]>)>, shard: ShardId, key: &[u8]) {
    if noted.len() < NOTED_MAX {
        noted.push((shard, key.into()));
    }
}

impl Session {
    /// Has the keys that the window read told behind its replies. Who waited was told of the change that ended the wait,
    /// perhaps before the answer, and would not be told of the next one.
    #[cold]
    pub(crate) fn doubt_copies(&mut self) {
        let Some(tracked) = self.tracked() else { return };
        for (_, key) in std::mem::take(&mut tracked.reading) {
            tracked.hold(&Some(Arc::from([key])));
        }
    }

    /// Tells what belongs behind the replies that were just written.
    #[cold]
    pub(crate) fn end_tracked_window(&mut self, output: &mut Vec<u8>, turn: &Turn<'_>) {
        let local = &*turn.local;
        let tracking = local.shared.config.bus.tracking();
        self.tell_held(output, local);
        let client = self.client().id;
        let Some(tracked) = self.tracked() else { return };
        let reading = std::mem::take(&mut tracked.reading);
        let writing = std::mem::take(&mut tracked.writing);
        let unsure = std::mem::take(&mut tracked.unsure);
        if reading.len() == NOTED_MAX || unsure.len() == NOTED_MAX {
            self.tell_stale(&None, output, local);
        }
        for (shard, key) in reading {
            if turn.door.standing(shard) == Standing::Apart {
                // Nobody here will hear of a change, so the copy is of no use.
                tracking.withdraw(shard, client, &key);
                self.tell_stale(&Some(Arc::from([key])), output, local);
            }
        }
        for (_, key) in unsure {
            self.tell_stale(&Some(Arc::from([key])), output, local);
        }
        for (shard, key) in writing {
            tracking.written(shard, &key);
        }
        // The connection's own changes are told right behind its replies, as in Redis.
        for delivery in local.inbox.take_of(self.listener(turn)) {
            self.take_delivery(&delivery, false, output, local);
        }
    }
}
