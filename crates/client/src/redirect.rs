//! Which node to ask: MOVED and ASK, and a cache of what they taught.
//! Owns: the slot cache, what a redirect says. Never: sends anything; is never needed for a right
//! answer, only for a quick one, so it may forget.
//!
//! The client has no table of commands and does not know where their keys stand. It learns that, too:
//! a MOVED names a slot, the first argument that hashes to it is the key, and the next command of that
//! name is routed by the same position. A command that no server ever redirected stays at home, which
//! is right for all that have no key.

use std::collections::BTreeMap;

use keystead_resp::{Args, Value};
use keystead_types::{SLOT_COUNT, Slot};

/// Nodes remembered; Keystead's and Redis's clusters stay below. Past it the cache starts anew.
const ADDRESSES_MAX: usize = 1024;
/// Command names remembered. Past it no further ones are learned.
const NAMES_MAX: usize = 512;
/// Redirects after which the whole map is asked for again.
const MOVED_PER_REFRESH: u32 = 16;
const NOBODY: u16 = u16::MAX;

/// A server's reply that another node is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) kind: RedirectKind,
    pub(crate) slot: Slot,
    /// `host:port`.
    pub(crate) address: String,
}

/// For how long the redirect holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    /// From now on.
    Moved,
    /// For this command only, which has to be announced there with ASKING.
    Ask,
}

impl Redirect {
    /// What `message`, an error reply of `from`, says; `None` if it is no redirect.
    pub(crate) fn parse(message: &str, from: &str) -> Option<Self> {
        let mut words = message.split(' ');
        let kind = match words.next()? {
            "MOVED" => RedirectKind::Moved,
            "ASK" => RedirectKind::Ask,
            _ => return None,
        };
        let slot = Slot::new(words.next()?.parse().ok()?)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        Some(Self { kind, slot, address: complete_address(host, port.parse().ok()?, from)? })
    }
}

/// `host:port`. A server that does not know its own host leaves it out: it is the one just asked.
fn complete_address(host: &str, port: u16, from: &str) -> Option<String> {
    let host = if host.is_empty() { from.rsplit_once(':')?.0 } else { host };
    // IPv6 addresses come without brackets.
    let needs_brackets = host.contains(':') && !host.starts_with('[');
    Some(if needs_brackets { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// What redirects have taught so far.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// By slot, an index into `addresses`; empty until the first redirect.
    owners: Vec<u16>,
    addresses: Vec<String>,
    /// By command name in upper case.
    key_positions: BTreeMap<Vec<u8>, usize>,
    moved_since_refresh: u32,
}

impl Routes {
    /// The node to ask, if it is known.
    pub(crate) fn address_of(&self, args: &Args<'_>) -> Option<&str> {
        if self.owners.is_empty() {
            return None;
        }
        let position = *self.key_positions.get(&args.get(0)?.to_ascii_uppercase())?;
        let owner = self.owners[Slot::of_key(args.get(position)?).index()];
        self.addresses.get(usize::from(owner)).map(String::as_str)
    }

    /// Takes in that the command `args` was answered with a MOVED. True if the whole map should be
    /// asked for, see [`adopt`](Self::adopt).
    pub(crate) fn learn(&mut self, args: &Args<'_>, redirect: &Redirect) -> bool {
        self.assign(redirect.slot, redirect.slot, &redirect.address);
        let is_key = |key: &[u8]| Slot::of_key(key) == redirect.slot;
        if let Some(name) = args.get(0)
            && let Some(position) = args.iter().skip(1).position(is_key)
            && self.key_positions.len() < NAMES_MAX
        {
            self.key_positions.insert(name.to_ascii_uppercase(), position + 1);
        }
        let is_refresh_due = self.moved_since_refresh == 0;
        self.moved_since_refresh = (self.moved_since_refresh + 1) % MOVED_PER_REFRESH;
        is_refresh_due
    }

    /// Takes over the reply of `from` to CLUSTER SLOTS; what is not understood is passed over.
    pub(crate) fn adopt(&mut self, slots: &Value, from: &str) {
        for range in slots.as_elements().unwrap_or(&[]) {
            if let Some((first, last, address)) = parse_range(range, from) {
                self.assign(first, last, &address);
            }
        }
    }

    /// Forgets a node that could not be reached.
    pub(crate) fn forget(&mut self, address: &str) {
        if let Some(gone) = self.addresses.iter().position(|known| known == address) {
            for owner in &mut self.owners {
                if usize::from(*owner) == gone {
                    *owner = NOBODY;
                }
            }
        }
    }

    fn assign(&mut self, first: Slot, last: Slot, address: &str) {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
            self.owners.clear();
        }
        if self.owners.is_empty() {
            self.owners = vec![NOBODY; usize::from(SLOT_COUNT)];
        }
        let known = self.addresses.iter().position(|known| known == address);
        let owner = known.unwrap_or_else(|| {
            self.addresses.push(address.to_owned());
            self.addresses.len() - 1
        });
        let owner = u16::try_from(owner).expect("ADDRESSES_MAX fits into 16 bits");
        if first <= last {
            self.owners[first.index()..=last.index()].fill(owner);
        }
    }
}

fn parse_range(range: &Value, from: &str) -> Option<(Slot, Slot, String)> {
    let [first, last, leader, ..] = range.as_elements()? else { return None };
    let slot = |value: &Value| Slot::new(u16::try_from(value.as_integer()?).ok()?);
    let [host, port, ..] = leader.as_elements()? else { return None };
    // The host is null if the server does not know it.
    let host = host.as_str().unwrap_or("");
    let port = u16::try_from(port.as_integer()?).ok()?;
    Some((slot(first)?, slot(last)?, complete_address(host, port, from)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystead_resp::{RunDecoder, encode};

    fn with_args<T>(args: &[&str], body: impl FnOnce(&Args<'_>) -> T) -> T {
        let mut run = Vec::new();
        encode::command(&mut run, args.iter().map(|arg| arg.as_bytes()));
        let mut spans = Vec::new();
        body(&RunDecoder::new(&run).next(&mut spans).expect("canonical").expect("one command"))
    }

    #[test]
    fn redirects_are_understood_in_all_their_forms() {
        let address = |message| Redirect::parse(message, "home:1").map(|redirect| redirect.address);
        assert_eq!(address("MOVED 5061 10.0.0.2:7000"), Some("10.0.0.2:7000".into()));
        assert_eq!(address("ASK 5061 ::1:7000"), Some("[::1]:7000".into()));
        assert_eq!(address("MOVED 5061 :7000"), Some("home:7000".into()));
        for other in
            ["MOVED", "MOVED 16384 a:1", "MOVED x a:1", "MOVED 1 a", "MOVED 1 a:x", "ERR a 1 a:1"]
        {
            assert_eq!(address(other), None, "{other}");
        }
    }

    #[test]
    fn a_moved_command_teaches_its_slot_and_its_key_position() {
        let mut routes = Routes::default();
        let moved = Redirect::parse("MOVED 5061 b:2", "a:1").expect("a redirect");
        with_args(&["object", "encoding", "bar"], |args| {
            assert_eq!(routes.address_of(args), None);
            assert!(routes.learn(args, &moved), "the first redirect asks for the whole map");
            assert!(!routes.learn(args, &moved));
            assert_eq!(routes.address_of(args), Some("b:2"));
        });
        with_args(&["OBJECT", "ENCODING", "foo"], |args| assert_eq!(routes.address_of(args), None));
        with_args(&["PING", "bar"], |args| assert_eq!(routes.address_of(args), None));
        routes.forget("b:2");
        with_args(&["object", "encoding", "bar"], |args| assert_eq!(routes.address_of(args), None));
    }

    #[test]
    fn the_map_of_the_cluster_is_taken_over() {
        let text = |text: &str| Value::Bulk(text.into());
        let node = |host, port| Value::Array(vec![host, Value::Integer(port), text("id")]);
        let range = |first, last, node| {
            Value::Array(vec![Value::Integer(first), Value::Integer(last), node])
        };
        let slots = Value::Array(vec![
            range(0, 8191, node(text("b"), 2)),
            range(8192, 16383, node(Value::Null, 3)),
            range(9, 99999, node(text("c"), 4)),
            Value::Null,
        ]);
        let mut routes = Routes::default();
        let moved = Redirect::parse("MOVED 5061 x:9", "a:1").expect("a redirect");
        with_args(&["GET", "bar"], |args| routes.learn(args, &moved));
        routes.adopt(&slots, "a:1");
        with_args(&["GET", "bar"], |args| assert_eq!(routes.address_of(args), Some("b:2")));
        with_args(&["GET", "foo"], |args| assert_eq!(routes.address_of(args), Some("a:3")));
    }
}
