//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Owns: the queue of a transaction and the watch of a connection. Never: whether a watched key was
//! changed; watches are part of the shard's replicated state (see `store/watch.rs`), so that EXEC
//! means the same to whichever node leads the shard by then.
//!
//! What goes to the node (its forms: `node/internal.rs`), as one run of the shard that all keys lie in, with
//! one reply:
//! ```text
//! MULTI  <commands as queued>  EXEC [watch id]      the reply of EXEC: an array, or null if aborted
//! KEYSTEAD.WATCH <watch id> <key> [<key> ...]       +OK
//! KEYSTEAD.UNWATCH <watch id>                       +OK
//! ```
//! INV-G5: a connection has at most one watch, of keys of one shard, and a transaction behind it runs
//! in that shard.

use keystead_node::{Access, Outcome, internal};
use keystead_resp::{Args, encode};
use keystead_store::CommandError;
use keystead_store::command::{self, Command, Handler, SessionCommand, flags};
use keystead_types::{DatabaseId, ShardId};

use crate::dispatch::{Dispatch, Verdict, command_at};
use crate::pipeline::Turn;
use crate::purpose::Purpose;
use crate::registry::flag;
use crate::reply::Failure;
use crate::session::Session;
use crate::window::{Entry, Window};

/// Commands queued behind MULTI.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// `MULTI` and the commands, in canonical form.
    run: Vec<u8>,
    count: u32,
    /// The rows of the commands, for counters; neighbours together.
    rows: Vec<(u16, u64)>,
    /// The shard that the keys so far belong to.
    shard: Option<ShardId>,
    /// True once a command was refused: EXEC will abort.
    pub(crate) is_refused: bool,
    /// The database that the last SELECT among the commands selects.
    selected: Option<DatabaseId>,
}

/// What follows an EXEC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exec {
    /// Ends with it, if it is executed or aborted.
    pub(crate) watch: Option<Watch>,
    /// Stays selected behind it, if it is executed.
    selected: Option<DatabaseId>,
}

impl Transaction {
    /// Takes the queue out, to look at it beside the session.
    pub(crate) fn take_run(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.run)
    }

    /// Puts it back.
    pub(crate) fn give_run(&mut self, run: Vec<u8>) {
        self.run = run;
    }
}

/// A connection's watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) id: u64,
    pub(crate) shard: ShardId,
}

impl Dispatch<'_, '_> {
    pub(crate) fn begin_transaction(&mut self) -> Verdict {
        if self.session.transaction.is_some() {
            // Not counted as a refused command: EXEC still runs what was queued.
            return self.answer(|reply| reply.error(Failure::MultiNested));
        }
        let mut transaction = Transaction::default();
        encode::command(&mut transaction.run, [internal::MULTI]);
        self.session.transaction = Some(Box::new(transaction));
        self.publish_queue();
        self.answer(|reply| reply.ok())
    }

    /// Queues a command behind MULTI.
    pub(crate) fn queue(&mut self, row: &'static Command, args: Args<'_>) -> Verdict {
        if let Handler::Refused(why) = row.handler {
            return self.refuse(row.name, why);
        }
        if row.flags & flags::NO_MULTI != 0 || !runs_in_transaction(row) {
            return self.fail(&Failure::NotInTransaction);
        }
        if self.turn.local.shared.config.bus.eviction().is_full() {
            // Whatever is queued takes memory until EXEC.
            return self.fail(&Failure::Command(&CommandError::OutOfMemory));
        }
        let shard = match self.shard_for_queue(row, args) {
            Ok(shard) => shard,
            Err(failure) => return self.fail(&failure),
        };
        let bytes_max = self.turn.local.shared.config.transaction_bytes_max;
        let Some(transaction) = &mut self.session.transaction else { return Verdict::Next };
        if transaction.run.len() + args.wire().len() > bytes_max {
            // What is queued can never run, so its memory is not kept until EXEC.
            transaction.run = Vec::new();
            return self.fail(&Failure::TransactionTooLarge { bytes_max });
        }
        // It is called when EXEC calls it.
        self.is_call = false;
        transaction.shard = shard.or(transaction.shard);
        transaction.count += 1;
        if let Handler::Session(SessionCommand::Select) = row.handler {
            transaction.selected =
                command::database::selected(&args[1]).ok().or(transaction.selected);
        }
        if !transaction.is_refused {
            transaction.run.extend_from_slice(args.wire());
            match transaction.rows.last_mut() {
                Some((row, count)) if *row == self.row => *count += 1,
                _ => transaction.rows.push((self.row, 1)),
            }
        }
        self.publish_queue();
        self.answer(|reply| reply.simple("QUEUED"))
    }

    /// The shard that a queued command binds the transaction to; `None` if it has no keys.
    fn shard_for_queue(
        &self,
        row: &'static Command,
        args: Args<'_>,
    ) -> Result<Option<ShardId>, Failure<'static>> {
        let shard = match row.handler {
            Handler::Gather(_) => match &*self.turn.door.shards() {
                [] => return Err(Failure::NoTopology),
                [only] => *only,
                _ => return Err(Failure::GatherInTransaction { command: row.name }),
            },
            Handler::Session(kind) if kind.looks_into_slot() => self.shard_of_slot(args)?,
            _ if row.keys(args).next().is_none() => return Ok(None),
            _ => self.shard_of(row, args)?,
        };
        let queued = self.session.transaction.as_ref().and_then(|transaction| transaction.shard);
        let watched = self.session.watch.map(|watch| watch.shard);
        match queued.or(watched) {
            Some(bound) if bound != shard => Err(Failure::CrossSlot),
            _ => Ok(Some(shard)),
        }
    }

    pub(crate) fn execute_transaction(&mut self) -> Verdict {
        let Some(transaction) = self.session.transaction.take() else {
            return self.fail(&Failure::ExecWithoutMulti);
        };
        self.publish_queue();
        if transaction.is_refused {
            self.session.drop_watch(self.turn);
            return self.fail(&Failure::ExecAborted);
        }
        let watch = self.session.take_watch();
        let Transaction { mut run, shard, selected, rows, .. } = *transaction;
        let watched = watch.map(|watch| watch.shard);
        let Some(shard) = shard.or(watched).or_else(|| self.turn.door.shards().first().copied())
        else {
            return self.fail(&Failure::NoTopology);
        };
        match watch {
            Some(watch) => {
                let id = watch.id.to_string();
                encode::command(&mut run, [internal::EXEC, id.as_bytes()]);
            }
            None => encode::command(&mut run, [internal::EXEC]),
        }
        if watch.is_some() || selected.is_some() {
            *self.purpose = Purpose::Exec(Exec { watch, selected });
        }
        for (row, count) in rows {
            if let Some(row) = self.turn.local.stats.row(row) {
                row.calls.add(count);
            }
        }
        self.submit_single(shard, Access::Write, &run)
    }

    /// An EXEC that says more than EXEC: the transaction, if there is one, ends without having run.
    #[cold]
    pub(crate) fn abort_malformed_exec(&mut self) -> Verdict {
        self.session.transaction = None;
        self.publish_queue();
        self.session.drop_watch(self.turn);
        self.fail(&Failure::ExecMalformed)
    }

    pub(crate) fn discard_transaction(&mut self) -> Verdict {
        if self.session.transaction.take().is_none() {
            return self.fail(&Failure::DiscardWithoutMulti);
        }
        self.publish_queue();
        self.session.drop_watch(self.turn);
        self.answer(|reply| reply.ok())
    }

    pub(crate) fn watch(&mut self, args: Args<'_>) -> Verdict {
        if self.session.transaction.is_some() {
            return self.answer(|reply| reply.error(Failure::WatchInMulti));
        }
        let known = self.session.watch;
        let shard = match self.shard_of_all(args.from(1)) {
            Ok(shard) => shard,
            Err(failure) => return self.fail(&failure),
        };
        if known.is_some_and(|watch| watch.shard != shard) {
            return self.fail(&Failure::CrossSlot);
        }
        let id = known.map_or_else(|| self.turn.local.next_watch_id(), |watch| watch.id);
        self.session.watch = Some(Watch { id, shard });
        self.session.client().set_flag(flag::WATCHING, true);
        let id = id.to_string();
        let mut words = vec![internal::WATCH, id.as_bytes()];
        words.extend(args.from(1).iter());
        let mut run = Vec::new();
        encode::command(&mut run, words);
        self.submit_single(shard, Access::Write, &run)
    }

    pub(crate) fn unwatch(&mut self) -> Verdict {
        self.session.drop_watch(self.turn);
        self.answer(|reply| reply.ok())
    }

    /// The shard that all of `keys` belong to.
    pub(crate) fn shard_of_all(&self, keys: Args<'_>) -> Result<ShardId, Failure<'static>> {
        let mut all = None;
        for key in keys.iter() {
            let slot = keystead_types::Slot::of_key(key);
            let shard = self.turn.door.shard_of(slot).ok_or(Failure::NoTopology)?;
            if *all.get_or_insert(shard) != shard {
                return Err(Failure::CrossSlot);
            }
        }
        all.ok_or(Failure::NoTopology)
    }

    /// Sends out a window that consists of one run with one reply.
    pub(crate) fn submit_single(&mut self, shard: ShardId, access: Access, run: &[u8]) -> Verdict {
        let mut window = self.turn.local.take_window();
        let is_silent = self.session.is_silent();
        let row = self.row;
        window.push_single(Entry { row, shard, access, wire: run, input_start: None, is_silent });
        *self.window = Some(window);
        self.session.command_ended();
        Verdict::Submit
    }

    fn publish_queue(&self) {
        let queued = self.session.transaction.as_ref().map_or(0, |queue| queue.count + 1);
        let shown = &self.session.client().queued_plus_one;
        shown.store(queued, std::sync::atomic::Ordering::Relaxed);
    }
}

/// True if the store can run the command in the midst of others. Of those about connections it knows
/// the few that need nothing but their arguments; the others are refused when they are queued, since
/// EXEC runs on every replica, where the connection is not.
const fn runs_in_transaction(row: &Command) -> bool {
    use SessionCommand as Cmd;
    match row.handler {
        Handler::Session(kind) => {
            matches!(
                kind,
                Cmd::Publish
                    | Cmd::SPublish
                    | Cmd::Ping
                    | Cmd::Echo
                    | Cmd::Time
                    | Cmd::Select
                    | Cmd::JsonDebugHelp
                    | Cmd::ObjectHelp
                    | Cmd::Unwatch
                    | Cmd::XGroupHelp
                    | Cmd::XInfoHelp
            ) || kind.looks_into_slot()
        }
        Handler::Read(_) | Handler::Write(_) | Handler::Wait(_) | Handler::Gather(_) => true,
        Handler::Refused(_) => false,
    }
}

impl Session {
    /// Forgets the watch without telling its shard.
    fn take_watch(&mut self) -> Option<Watch> {
        self.client().set_flag(flag::WATCHING, false);
        self.watch.take()
    }

    /// Does what is to be done behind an EXEC whose window is complete.
    pub(crate) fn end_exec(&mut self, exec: Exec, window: &Window, turn: &mut Turn<'_>) {
        let replies =
            |(_, end)| if let Outcome::Done(replies) = end { Some(replies) } else { None };
        let reply = window.results().next().and_then(replies);
        // One that was not executed, or of which nobody knows, leaves its watch behind.
        if let (None, Some(watch)) = (reply, exec.watch) {
            turn.local.release(watch, turn.door);
        }
        // Only commands that ran can have selected: the absent array says that they did not.
        let is_executed =
            reply.is_some_and(|reply| !matches!(reply, [b'*', b'-', ..] | [b'_', ..]));
        if let Some(database) = exec.selected.filter(|_| is_executed) {
            self.select(database);
        }
    }

    /// True if EXEC would change something.
    pub(crate) fn has_queued_write(&self) -> bool {
        let rows = self.transaction.iter().flat_map(|queue| &queue.rows);
        let writes = |row: &Command| row.is_write() || matches!(row.handler, Handler::Write(_));
        rows.filter_map(|(row, _)| command_at(*row)).any(writes)
    }

    /// Ends the watch, if there is one. Nobody waits for the outcome.
    pub(crate) fn drop_watch(&mut self, turn: &mut Turn<'_>) {
        if let Some(watch) = self.take_watch() {
            turn.local.release(watch, turn.door);
        }
    }
}
