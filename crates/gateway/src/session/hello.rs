//! HELLO and AUTH: how a client introduces itself.
//! Owns: the protocol switch and the password. Never: users beyond `default` (ACL comes later).

use keystead_resp::Protocol;

use crate::dispatch::Verdict;
use crate::reply::Failure;

use super::{Answer, REDIS_VERSION, SessionCall, integer, is_valid_label};

/// The one user there is.
const DEFAULT_USER: &[u8] = b"default";

/// What the options of a HELLO ask for.
#[derive(Default)]
struct Introduction<'a> {
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> SessionCall<'_, '_, 'a> {
    /// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
    pub(super) fn hello(&mut self) -> Answer<'a> {
        let protocol = match self.args.get(1) {
            None => self.session.protocol(),
            Some(text) => match integer(text).ok_or(Failure::ProtocolNotAnInteger)? {
                2 => Protocol::Resp2,
                3 => Protocol::Resp3,
                _ => return Err(Failure::UnsupportedProtocol),
            },
        };
        let introduction = self.introduction()?;
        if let Some((user, password)) = introduction.credentials {
            self.authenticate("HELLO", user, password)?;
        }
        if !self.session.is_authenticated() {
            return Err(Failure::HelloNotAuthenticated);
        }
        if let Some(name) = introduction.name {
            if !is_valid_label(name) {
                return Err(Failure::ClientName);
            }
            self.session.client().relabel(|labels| labels.name = name.into());
        }
        self.session.set_protocol(protocol);
        self.write_hello();
        Ok(Verdict::Next)
    }

    fn introduction(&self) -> Result<Introduction<'a>, Failure<'a>> {
        let mut introduction = Introduction::default();
        let mut at = 2;
        while at < self.args.len() {
            let option = self.arg(at);
            let left = self.args.len() - at - 1;
            if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
                introduction.credentials = Some((self.arg(at + 1), self.arg(at + 2)));
                at += 3;
            } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
                introduction.name = Some(self.arg(at + 1));
                at += 2;
            } else {
                return Err(Failure::HelloOption { option });
            }
        }
        Ok(introduction)
    }

    fn write_hello(&mut self) {
        let (id, version) = (self.session.client().id, self.protocol_number());
        let mut reply = self.reply();
        reply.map(7);
        reply.bulk(b"server");
        reply.bulk(b"redis");
        reply.bulk(b"version");
        reply.bulk(REDIS_VERSION.as_bytes());
        reply.bulk(b"proto");
        reply.integer(version);
        reply.bulk(b"id");
        reply.integer(i64::try_from(id).unwrap_or(i64::MAX));
        reply.bulk(b"mode");
        reply.bulk(b"cluster");
        reply.bulk(b"role");
        reply.bulk(crate::compat::ROLE.as_bytes());
        reply.bulk(b"modules");
        reply.array(0);
    }

    /// `AUTH [username] password`
    pub(super) fn auth(&mut self) -> Answer<'a> {
        let (user, password) = match self.args.len() {
            2 => (DEFAULT_USER, self.arg(1)),
            3 => (self.arg(1), self.arg(2)),
            _ => return Err(Failure::Syntax),
        };
        if self.args.len() == 2 && self.turn.local.shared.config.password.is_none() {
            return Err(Failure::NoPasswordConfigured);
        }
        self.authenticate("AUTH", user, password)?;
        self.ok()
    }

    fn authenticate(
        &mut self,
        command: &'static str,
        user: &[u8],
        password: &[u8],
    ) -> Result<(), Failure<'a>> {
        let is_right = match &self.turn.local.shared.config.password {
            Some(right) => equal_in_constant_time(right.as_bytes(), password),
            // As in Redis, the default user without a password takes any.
            None => true,
        };
        if user != DEFAULT_USER || !is_right {
            let shared = &self.turn.local.shared;
            let client = self.describe(self.session.client());
            shared.access_log.add(command, user, client, shared.clock.unix_now());
            tracing::info!(peer = ?self.session.client().peer, "a client gave a wrong password");
            return Err(Failure::WrongPassword);
        }
        self.session.is_authenticated = true;
        Ok(())
    }
}

/// Compares in a time that depends on the guess alone, so that a password is not found byte by byte.
fn equal_in_constant_time(right: &[u8], guess: &[u8]) -> bool {
    let mut difference = right.len() ^ guess.len();
    for (at, byte) in guess.iter().enumerate() {
        let expected = right.get(at % right.len().max(1)).copied().unwrap_or_default();
        difference |= usize::from(expected ^ byte);
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::equal_in_constant_time;

    #[test]
    fn only_the_password_itself_is_the_password() {
        for (right, guess, is_equal) in [
            ("sesame", "sesame", true),
            ("sesame", "sesamE", false),
            ("sesame", "sesamesesame", false),
            ("sesame", "", false),
            ("", "", true),
            ("", "x", false),
            ("a", "aa", false),
        ] {
            let found = equal_in_constant_time(right.as_bytes(), guess.as_bytes());
            assert_eq!(found, is_equal, "{right:?} {guess:?}");
        }
    }
}
