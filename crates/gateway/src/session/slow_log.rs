//! SLOWLOG: the commands of this node that took long.
//! Owns: the replies. Never: an entry (see `slow_log.rs`), a time (see `meter.rs`).

use keystead_store::command::SessionCommand;

use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, SessionCall, integer};

/// Entries that SLOWLOG GET returns if it is not told how many, as in Redis.
const COUNT_DEFAULT: usize = 10;

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn slow_log(&mut self, kind: SessionCommand) -> Answer<'a> {
        let log = &self.turn.local.shared.alarms.slow_log;
        match kind {
            SessionCommand::SlowLogGet => return self.slow_log_get(),
            SessionCommand::SlowLogLen => {
                let count = i64::try_from(log.len()).unwrap_or(i64::MAX);
                self.reply().integer(count);
            }
            SessionCommand::SlowLogReset => {
                log.clear();
                self.reply().ok();
            }
            _ => return self.help("slowlog"),
        }
        Ok(Verdict::Next)
    }

    /// `SLOWLOG GET [count]`; -1 for all.
    fn slow_log_get(&mut self) -> Answer<'a> {
        let count = match (self.args.get(2), self.args.len()) {
            (None, _) => COUNT_DEFAULT,
            (Some(text), 3) => match integer(text).ok_or(Failure::SlowLogCount)? {
                -1 => usize::MAX,
                count => usize::try_from(count).map_err(|_| Failure::SlowLogCount)?,
            },
            _ => return Err(Failure::Subcommand { container: "SLOWLOG", verb: self.arg(1) }),
        };
        let entries = self.turn.local.shared.alarms.slow_log.latest(count);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let mut reply = self.reply();
        reply.array(entries.len());
        for entry in &entries {
            reply.array(6);
            reply.integer(number(entry.id));
            reply.integer(number(entry.unix_s));
            reply.integer(number(entry.took_us));
            reply.array(entry.args.len());
            entry.args.iter().for_each(|arg| reply.bulk(arg));
            reply.bulk(entry.peer.as_bytes());
            reply.bulk(&entry.name);
        }
        Ok(Verdict::Next)
    }
}
