//! The small commands about a connection and its server: PING, ECHO, QUIT, RESET, SELECT, TIME and others.
//! Owns: their replies. Never: state beyond the session's own.

use keystead_resp::Protocol;
use keystead_store::command;

use crate::dispatch::Verdict;
use crate::registry::flag;
use crate::reply::Failure;

use super::{Answer, SessionCall};

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn ping(&mut self) -> Answer<'a> {
        let is_confined = self.session.is_listening() && self.session.protocol() == Protocol::Resp2;
        match self.args.len() {
            1 | 2 if is_confined => {
                // In the form of a message, since nothing else is expected there.
                let message = self.arg(1);
                let mut reply = self.reply();
                reply.array(2);
                reply.bulk(b"pong");
                reply.bulk(message);
            }
            1 => self.reply().simple("PONG"),
            2 => {
                let message = self.arg(1);
                self.reply().bulk(message);
            }
            _ => return Err(Failure::Arity { name: "ping" }),
        }
        Ok(Verdict::Next)
    }

    pub(super) fn echo(&mut self) -> Answer<'a> {
        let message = self.arg(1);
        self.reply().bulk(message);
        Ok(Verdict::Next)
    }

    pub(super) fn quit(&mut self) -> Answer<'a> {
        self.reply().ok();
        Ok(Verdict::Close)
    }

    pub(super) fn reset(&mut self) -> Answer<'a> {
        self.session.reset(self.turn);
        self.reply().simple("RESET");
        Ok(Verdict::Next)
    }

    pub(super) fn select(&mut self) -> Answer<'a> {
        let database = command::database::selected(self.arg(1)).map_err(Failure::Database)?;
        self.session.select(database);
        self.ok()
    }

    pub(super) fn time(&mut self) -> Answer<'a> {
        let now_us = self.turn.local.shared.clock.unix_now_us();
        let mut reply = self.reply();
        reply.array(2);
        reply.bulk((now_us / 1_000_000).to_string().as_bytes());
        reply.bulk((now_us % 1_000_000).to_string().as_bytes());
        Ok(Verdict::Next)
    }

    /// Every acknowledged write is in the log: the last save is now.
    pub(super) fn last_save(&mut self) -> Answer<'a> {
        let now_s = self.turn.local.shared.clock.unix_now().0 / 1000;
        self.reply().integer(i64::try_from(now_s).unwrap_or(i64::MAX));
        Ok(Verdict::Next)
    }

    /// Any node answers reads for any shard, linearizably, with or without READONLY.
    pub(super) fn read_only(&mut self) -> Answer<'a> {
        self.session.client().set_flag(flag::READONLY, true);
        self.ok()
    }

    pub(super) fn shut_down(&mut self) -> Answer<'a> {
        let Some(shut_down) = &self.turn.local.shared.config.on_shutdown_command else {
            return Err(Failure::ShutdownRefused);
        };
        shut_down();
        // As in Redis, the end of the connection is the answer.
        Ok(Verdict::Close)
    }

    /// To a client that looks for a primary, every node is one: it takes every command.
    pub(super) fn role(&mut self) -> Answer<'a> {
        let applied = self.turn.door.status().commands_applied;
        let mut reply = self.reply();
        reply.array(3);
        reply.bulk(crate::compat::ROLE.as_bytes());
        reply.integer(i64::try_from(applied).unwrap_or(i64::MAX));
        reply.array(0);
        Ok(Verdict::Next)
    }

    /// The name of the protocol version, for HELLO and CLIENT LIST.
    pub(super) fn protocol_number(&self) -> i64 {
        match self.session.protocol() {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}
