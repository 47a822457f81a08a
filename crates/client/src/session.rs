//! What a connection remembers between commands, as far as it forbids to change the node.
//! Owns: whether a transaction is open or a key watched. Never: looks at replies; a refused MULTI
//! counts as an open one until EXEC or DISCARD, which costs no more than a redirect not followed.

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
