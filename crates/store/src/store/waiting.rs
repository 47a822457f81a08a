//! The doors of the store for clients that wait.
//! Owns: what stands in the log about waiters, applied. Never: decides that somebody has waited long enough, or that a
//! node is gone: its callers do. Called by `node`.

use std::collections::BTreeSet;

use keystead_resp::{Args, Protocol, ReplyWriter};
use keystead_types::ApplyContext;

use super::Store;
use crate::command::wait::{Scope, serve};
use crate::command::{Handler, Patience, Writer, resolve};
use crate::error::CommandError;
use crate::waiters::{Fate, WAITERS_MAX, WAITING_BYTES_MAX, Waiter, WaiterId};

/// What became of a command that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It was answered.
    Answered,
    /// It found nothing: its client waits, and nothing was written.
    Waits,
}

impl Store {
    /// Runs a command that may wait in the selected database; if it finds nothing, `id` waits from now on, behind who waits already, for an
    /// answer in this protocol.
    ///
    /// A waiter that is known keeps its place, and one that was served is told so again: who asks twice under one id
    /// is not served twice (INV-B3).
    pub fn wait(
        &mut self,
        ctx: &ApplyContext,
        (id, protocol): (WaiterId, Protocol),
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Waited {
        let known = self.keyspace.waiters.fate(id);
        let waited = match known {
            Fate::Served(answer) => {
                reply.raw(&answer);
                Ok(Waited::Answered)
            }
            Fate::Waits => {
                self.keyspace.waiters.confirm(id, ctx.now);
                Ok(Waited::Waits)
            }
            Fate::Unknown => self.try_or_wait(ctx, (id, protocol), args, reply),
        };
        self.serve_waiters(ctx);
        waited.unwrap_or_else(|error| {
            reply.error(&error);
            Waited::Answered
        })
    }

    fn try_or_wait(
        &mut self,
        ctx: &ApplyContext,
        (id, protocol): (WaiterId, Protocol),
        args: Args<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<Waited, CommandError> {
        let row = resolve(args)?;
        let Handler::Wait(kind) = row.handler else {
            let _outcome = self.apply_one(ctx, args, reply);
            return Ok(Waited::Answered);
        };
        let position = reply.position();
        let mut writer = Writer { keyspace: &mut self.keyspace, ctx };
        let attempt = kind.attempt(&mut writer, args, Scope::Whole, reply);
        if attempt.inspect_err(|_| reply.truncate(position))? {
            return Ok(Waited::Answered);
        }
        if kind.patience(args)? == Patience::None {
            let mut writer = Writer { keyspace: &mut self.keyspace, ctx };
            kind.run(&mut writer, args, reply)?;
            return Ok(Waited::Answered);
        }
        let writer = Writer { keyspace: &mut self.keyspace, ctx };
        let command = writer.reading(|reader| kind.kept(reader, args));
        let database = self.keyspace.selected();
        let waiters = &mut self.keyspace.waiters;
        if !waiters.has_room(command.len()) {
            let (waiters, bytes) = (WAITERS_MAX, WAITING_BYTES_MAX);
            return Err(CommandError::TooManyWaiters { waiters, bytes });
        }
        let keys: BTreeSet<Box<[u8]>> = kind.keys_awaited(row, args).map(Box::from).collect();
        let (arrival, command) = (waiters.next_arrival(), command.into());
        let (seen, is_suspended) = (ctx.now, false);
        let waiter =
            Waiter { arrival, seen, is_suspended, database, kind, protocol, command, keys };
        waiters.add(id, waiter);
        Ok(Waited::Waits)
    }

    /// Ends a wait, and says what became of it until now: of one that [`Fate::Waits`], nothing happened.
    pub fn withdraw(&mut self, id: WaiterId) -> Fate {
        let fate = self.keyspace.waiters.fate(id);
        self.keyspace.waiters.remove(id);
        fate
    }

    /// Takes a sign of life of a waiter, which is served again if it was passed over; says how it stands.
    pub fn confirm(&mut self, ctx: &ApplyContext, id: WaiterId) -> Fate {
        self.keyspace.waiters.confirm(id, ctx.now);
        self.serve_waiters(ctx);
        self.keyspace.waiters.fate(id)
    }

    /// Has the waiters of a node passed over until it gives a sign of life for them: those of its lives before `life`.
    pub fn suspend(&mut self, ctx: &ApplyContext, home: u64, life: u64) {
        let is_gone = |id: &WaiterId| id.home == home && id.life < life;
        self.keyspace.waiters.suspend(ctx.now, is_gone);
    }

    /// The waiters that are not passed over, by node and life, each pair once.
    pub fn waiting_homes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.keyspace.waiters.homes()
    }

    /// Serves who waits for keys that a command made ready.
    #[inline]
    pub(crate) fn serve_waiters(&mut self, ctx: &ApplyContext) {
        if self.keyspace.waiters.has_ready() {
            serve(&mut self.keyspace, ctx);
        }
        #[cfg(debug_assertions)]
        self.keyspace.waiters.check();
    }
}
