//! ACL: what can be told of the one user there is, of categories of commands, of failed logins.
//! Owns: the replies. Never: changes a user; the password is a setting of the node.

use std::fmt::Write as _;

use keystead_store::command::{self as table, Command, SessionCommand, flags};

use super::{Answer, SessionCall, integer};
use crate::dispatch::Verdict;
use crate::reply::Failure;

const USER: &str = "default";
/// Shown in place of the password's digest, which nobody needs to know.
const HIDDEN: &str = "#<hidden>";
/// Entries that ACL LOG returns if it is not told how many, as in Redis.
const LOG_COUNT_DEFAULT: usize = 10;
/// Bits of a password that ACL GENPASS makes, if it is not told how many, and at most.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn acl(&mut self, kind: SessionCommand) -> Answer<'a> {
        let has_password = self.turn.local.shared.config.password.is_some();
        match kind {
            SessionCommand::AclWhoAmI => self.reply().bulk(USER.as_bytes()),
            SessionCommand::AclUsers => {
                let mut reply = self.reply();
                reply.array(1);
                reply.bulk(USER.as_bytes());
            }
            SessionCommand::AclList => {
                let password = if has_password { HIDDEN } else { "nopass" };
                let mut reply = self.reply();
                reply.array(1);
                reply.bulk(format!("user {USER} on {password} ~* &* +@all").as_bytes());
            }
            SessionCommand::AclCat => return self.acl_cat(),
            SessionCommand::AclDryRun => return self.acl_dry_run(),
            SessionCommand::AclGenPass => return self.acl_gen_pass(),
            SessionCommand::AclGetUser => self.acl_get_user(has_password),
            SessionCommand::AclLog => return self.acl_log(),
            _ => return self.help("acl"),
        }
        Ok(Verdict::Next)
    }

    /// `ACL CAT [category]`
    fn acl_cat(&mut self) -> Answer<'a> {
        let Some(category) = self.args.get(2) else {
            let mut reply = self.reply();
            reply.array(flags::CATEGORY_NAMES.len());
            flags::CATEGORY_NAMES.iter().for_each(|(_, name)| reply.bulk(name.as_bytes()));
            return Ok(Verdict::Next);
        };
        if self.args.len() > 3 {
            return Err(Failure::Subcommand { container: "ACL", verb: self.arg(1) });
        }
        let mut known = flags::CATEGORY_NAMES.iter();
        let found = known.find(|(_, name)| category.eq_ignore_ascii_case(name.as_bytes()));
        let (bit, _) = found.ok_or(Failure::UnknownCategory { name: category })?;
        let all = table::TABLE.iter().flat_map(|row| std::iter::once(row).chain(row.subcommands));
        let named: Vec<&Command> = all.filter(|row| row.categories() & bit != 0).collect();
        let mut reply = self.reply();
        reply.array(named.len());
        named.iter().for_each(|row| reply.bulk(row.name.as_bytes()));
        Ok(Verdict::Next)
    }

    /// `ACL DRYRUN username command [arg ...]`: the one user may run what there is.
    fn acl_dry_run(&mut self) -> Answer<'a> {
        let user = self.arg(2);
        if user != USER.as_bytes() {
            return Err(Failure::UserNotFound { name: user });
        }
        let line = self.args.from(3);
        match table::resolve(line) {
            Ok(_) => self.ok(),
            Err(keystead_store::CommandError::Arity { command }) => {
                Err(Failure::Arity { name: command })
            }
            Err(_) => Err(Failure::CommandNotFound { name: line.get(0).unwrap_or_default() }),
        }
    }

    /// `ACL GENPASS [bits]`
    fn acl_gen_pass(&mut self) -> Answer<'a> {
        let bits = match (self.args.get(2), self.args.len()) {
            (None, _) => PASSWORD_BITS,
            (Some(text), 3) => {
                let bits = integer(text).ok_or(Failure::NotAnInteger)?;
                if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
                    return Err(Failure::PasswordBits);
                }
                bits
            }
            _ => return Err(Failure::Subcommand { container: "ACL", verb: self.arg(1) }),
        };
        let digits = usize::try_from(bits).unwrap_or(0).div_ceil(4);
        let mut bytes = vec![0; digits.div_ceil(2)];
        getrandom::fill(&mut bytes)
            .expect("the operating system gives random bytes once it has booted");
        let mut password = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            write!(password, "{byte:02x}").expect("writing to a String cannot fail");
        }
        self.reply().bulk(&password.as_bytes()[..digits]);
        Ok(Verdict::Next)
    }

    /// `ACL GETUSER username`
    fn acl_get_user(&mut self, has_password: bool) {
        if self.arg(2) != USER.as_bytes() {
            return self.reply().null();
        }
        let mut reply = self.reply();
        reply.map(6);
        reply.bulk(b"flags");
        let flags: &[&str] = if has_password { &["on"] } else { &["on", "nopass"] };
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
        reply.bulk(b"passwords");
        reply.array(usize::from(has_password));
        if has_password {
            reply.bulk(HIDDEN.as_bytes());
        }
        for (name, value) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"selectors");
        reply.array(0);
    }

    /// `ACL LOG [count | RESET]`
    fn acl_log(&mut self) -> Answer<'a> {
        if self.args.len() > 3 {
            return Err(Failure::Subcommand { container: "ACL", verb: self.arg(1) });
        }
        let log = &self.turn.local.shared.access_log;
        let count = match self.args.get(2) {
            None => LOG_COUNT_DEFAULT,
            Some(word) if word.eq_ignore_ascii_case(b"reset") => {
                log.clear();
                return self.ok();
            }
            Some(text) => {
                let count = integer(text).ok_or(Failure::NotAnInteger)?;
                usize::try_from(count).unwrap_or(0)
            }
        };
        let (refused, now) = (log.latest(count), self.turn.local.shared.clock.unix_now());
        let mut reply = self.reply();
        reply.array(refused.len());
        for entry in refused {
            let age_ms = now.0.saturating_sub(entry.at.0);
            let age = format!("{}.{:03}", age_ms / 1000, age_ms % 1000);
            reply.map(7);
            reply.bulk(b"count");
            reply.integer(i64::try_from(entry.count).unwrap_or(i64::MAX));
            for (name, value) in [
                (&b"reason"[..], &b"auth"[..]),
                (b"context", b"toplevel"),
                (b"object", entry.command.as_bytes()),
                (b"username", &entry.user),
            ] {
                reply.bulk(name);
                reply.bulk(value);
            }
            reply.bulk(b"age-seconds");
            reply.double_text(&age);
            reply.bulk(b"client-info");
            reply.bulk(entry.client.trim_end().as_bytes());
        }
        Ok(Verdict::Next)
    }
}
