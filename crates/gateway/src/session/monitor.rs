//! MONITOR: a connection that is shown every command that clients send to this node.
//! Owns: how a command looks, and which are not shown. Never: the way of the lines (see `attention.rs`).

use std::fmt::Write as _;
use std::sync::Arc;

use keystead_resp::Args;
use keystead_store::command::{Command, Handler, SessionCommand, flags};

use crate::attention::Feed;
use crate::dispatch::Verdict;
use crate::pipeline::Turn;
use crate::registry::flag;
use crate::secret::{REDACTED, is_secret};

use super::{Answer, Session, SessionCall};

impl Session {
    /// True if the connection is shown commands.
    pub(crate) const fn is_monitor(&self) -> bool {
        self.feed.is_some()
    }

    /// Where commands for this connection wait.
    pub(crate) const fn feed(&self) -> Option<&Arc<Feed>> {
        self.feed.as_ref()
    }

    /// Ends the watching, if there is any.
    pub(super) fn drop_feed(&mut self, turn: &mut Turn<'_>) {
        if self.feed.take().is_some() {
            let client = self.client();
            turn.local.shared.attention.unwatch(client.id);
            turn.local.monitors.retain(|slot| *slot != turn.slot);
            client.set_flag(flag::MONITOR, false);
        }
    }

    /// Shows a command of this connection to everybody who watches.
    #[cold]
    pub(crate) fn show(&self, row: &Command, args: Args<'_>, turn: &Turn<'_>) {
        let is_own = matches!(row.handler, Handler::Session(SessionCommand::Monitor));
        if row.flags & (flags::ADMIN | flags::SKIP_MONITOR) == 0 && !is_own {
            let peer = self.client().peer;
            let peer = peer.map_or_else(|| "?:0".to_owned(), |peer| peer.to_string());
            let place = format!("{} {peer}", self.database().0);
            let shared = &turn.local.shared;
            shared.attention.show(line(shared.clock.unix_now_us(), &place, args).as_bytes());
        }
    }
}

impl<'a> SessionCall<'_, '_, 'a> {
    pub(super) fn monitor(&mut self) -> Answer<'a> {
        let client = self.session.client();
        if !self.session.is_monitor() {
            let local = &mut *self.turn.local;
            let feed = local.shared.attention.watch(client.id, local.wake.clone());
            local.monitors.push(self.turn.slot);
            client.set_flag(flag::MONITOR, true);
            self.session.feed = Some(feed);
        }
        self.reply().ok();
        Ok(Verdict::Next)
    }
}

/// The command as Redis shows it: `+<time> [<database> <client>] "<argument>" ...`.
fn line(unix_us: u64, place: &str, args: Args<'_>) -> String {
    let mut line = format!("+{}.{:06} [{place}]", unix_us / 1_000_000, unix_us % 1_000_000);
    for (at, arg) in args.iter().enumerate() {
        line.push_str(" \"");
        quote(if is_secret(args, at) { REDACTED } else { arg }, &mut line);
        line.push('"');
    }
    line.push_str("\r\n");
    line
}

/// Escapes what could end the quotes or the line, as Redis does.
fn quote(arg: &[u8], line: &mut String) {
    for byte in arg {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            byte => write!(line, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use keystead_resp::Decoder;

    #[test]
    fn a_line_says_when_who_and_what() {
        let mut wire = Vec::new();
        keystead_resp::encode::command(
            &mut wire,
            [&b"SET"[..], b"k \"\\", b"a\r\n\t\x07\x08\x00\xff~"],
        );
        let mut decoder = Decoder::new(Default::default());
        decoder.decode(&wire).unwrap().unwrap();
        let shown = line(1_339_518_083_107_412, "0 127.0.0.1:60866", decoder.args(&wire));
        let expected = concat!(
            r#"+1339518083.107412 [0 127.0.0.1:60866] "SET" "k \"\\" "a\r\n\t\a\b\x00\xff~""#,
            "\r\n"
        );
        assert_eq!(shown, expected);
    }
}
