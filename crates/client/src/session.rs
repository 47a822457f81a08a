//! What a connection remembers between commands, as far as the next one must know.
//! Owns: whether a transaction is open or a key watched, which forbids to change the node, and which database is selected.
//! Never: sends anything. A refused MULTI counts as an open one until EXEC or DISCARD, which costs no more than a
//! redirect not followed.

use keystead_resp::{Args, Value};

use crate::error::Error;

/// Whether the next command is bound to the connection of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pin {
    /// It may go to any node.
    #[default]
    Free,
    /// A key is watched.
    Watching,
    /// Between MULTI and EXEC.
    Transaction,
}

impl Pin {
    /// The state after the command called `name`.
    pub(crate) fn after(self, name: &[u8]) -> Self {
        // The name's length first: this is asked for every command.
        match (name.len(), self) {
            (4, _) if name.eq_ignore_ascii_case(b"EXEC") => Self::Free,
            (5, _) if name.eq_ignore_ascii_case(b"MULTI") => Self::Transaction,
            (5, _) if name.eq_ignore_ascii_case(b"RESET") => Self::Free,
            (5, Self::Free) if name.eq_ignore_ascii_case(b"WATCH") => Self::Watching,
            (7, Self::Watching) if name.eq_ignore_ascii_case(b"UNWATCH") => Self::Free,
            (7, _) if name.eq_ignore_ascii_case(b"DISCARD") => Self::Free,
            _ => self,
        }
    }
}

/// Follows what SELECT selects, also within a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Selection {
    /// What the open transaction selects if it is executed.
    queued: Option<u16>,
}

impl Selection {
    /// True for the commands that [`after`](Self::after) is to be asked of.
    pub(crate) fn may_follow(name: &[u8]) -> bool {
        const NAMES: [&[u8]; 4] = [b"SELECT", b"EXEC", b"DISCARD", b"RESET"];
        (4..=7).contains(&name.len()) && NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// The database that is selected from here on, if this command and its outcome say so.
    pub(crate) fn after(&mut self, args: Args<'_>, outcome: &Result<Value, Error>) -> Option<u16> {
        let is = |name: &[u8]| args[0].eq_ignore_ascii_case(name);
        if is(b"SELECT") {
            let number = std::str::from_utf8(args.get(1)?).ok()?.parse().ok()?;
            match outcome {
                Ok(Value::Simple(text)) if text == "QUEUED" => self.queued = Some(number),
                Ok(_) => return Some(number),
                Err(_) => {}
            }
            return None;
        }
        if is(b"EXEC") {
            let queued = self.queued.take();
            return queued.filter(|_| matches!(outcome, Ok(Value::Array(_))));
        }
        if is(b"DISCARD") || is(b"RESET") {
            self.queued = None;
        }
        (is(b"RESET") && outcome.is_ok()).then_some(0)
    }
}

/// True for commands that put a connection into a mode in which messages come at any time.
pub(crate) fn needs_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"SUBSCRIBE",
        b"PSUBSCRIBE",
        b"SSUBSCRIBE",
        b"UNSUBSCRIBE",
        b"PUNSUBSCRIBE",
        b"SUNSUBSCRIBE",
        b"MONITOR",
        b"PSYNC",
    ];
    name.len() >= 5 && NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_say_which_database_is_selected() {
        let mut selection = Selection::default();
        let mut after = |line: &str, outcome: Value| {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            keystead_resp::encode::command(
                &mut bytes,
                line.split(' ').map(str::as_bytes).collect::<Vec<_>>(),
            );
            let args = keystead_resp::RunDecoder::new(&bytes).next(&mut spans).unwrap().unwrap();
            selection.after(args, &Ok(outcome))
        };
        let simple = |text: &str| Value::Simple(text.into());
        assert_eq!(after("select 3", simple("OK")), Some(3));
        assert_eq!(after("SELECT 4", simple("QUEUED")), None);
        assert_eq!(after("EXEC", Value::Null), None, "it was aborted");
        assert_eq!(after("EXEC", Value::Array(vec![])), None, "that was another transaction");
        assert_eq!(after("SELECT 5", simple("QUEUED")), None);
        assert_eq!(after("EXEC", Value::Array(vec![simple("OK")])), Some(5));
        assert_eq!(after("SELECT 6", simple("QUEUED")), None);
        assert_eq!(after("RESET", simple("RESET")), Some(0));
        assert_eq!(after("EXEC", Value::Array(vec![])), None);
    }

    #[test]
    fn a_transaction_pins_from_watch_to_exec() {
        use Pin::{Free, Transaction, Watching};
        let states = |names: &[&str]| {
            let mut pin = Free;
            names.iter().map(|name| (pin = pin.after(name.as_bytes()), pin).1).collect::<Vec<_>>()
        };
        assert_eq!(
            states(&["get", "watch", "get", "multi", "unwatch", "exec"]),
            [Free, Watching, Watching, Transaction, Transaction, Free]
        );
        assert_eq!(
            states(&["WATCH", "UNWATCH", "MULTI", "DISCARD"]),
            [Watching, Free, Transaction, Free]
        );
        assert!(needs_connection(b"subscribe") && !needs_connection(b"GET"));
    }
}
