//! Plays a script against two servers and compares what they answer.
//! Owns: connections, comparison. Never: whether a difference is intended (see `differences`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::script::{Comparison, Script, Step};
use crate::project::Outcome;
use crate::wait;
use crate::wire::Connection;

const EXPIRY_DEADLINE: Duration = Duration::from_secs(10);

/// The version of the protocol that a pass speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Protocol {
    Resp2,
    Resp3,
}

/// Two servers and the connections to them.
pub(super) struct Player {
    redis: SocketAddr,
    tested: SocketAddr,
    protocol: Protocol,
    /// False if the tested server is a Redis too, which lacks what is newer.
    knows_newer: bool,
    connections: BTreeMap<usize, Pair>,
}

struct Pair {
    redis: Connection,
    tested: Connection,
}

/// What the two servers answered to one step.
struct Replies {
    command: String,
    redis: Vec<u8>,
    tested: Vec<u8>,
    comparison: Comparison,
}

impl Replies {
    fn exact(command: &str, redis: Vec<u8>, tested: Vec<u8>) -> Self {
        Self { command: command.to_owned(), redis, tested, comparison: Comparison::Exact }
    }
}

/// What a pass over a script showed.
#[derive(Default)]
pub(super) struct Played {
    /// Replies compared.
    pub(super) lines: usize,
    pub(super) clashes: Vec<Clash>,
}

/// Two replies that are not equal.
pub(super) struct Clash {
    place: String,
    protocol: Protocol,
    /// The command as the script has it.
    pub(super) command: String,
    redis: Vec<u8>,
    tested: Vec<u8>,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {:?}: {}", self.place, self.protocol, self.command)?;
        writeln!(f, "    redis    {}", show(&self.redis))?;
        write!(f, "    keystead {}", show(&self.tested))
    }
}

impl Player {
    pub(super) fn new(
        redis: SocketAddr,
        tested: SocketAddr,
        protocol: Protocol,
        knows_newer: bool,
    ) -> Self {
        Self { redis, tested, protocol, knows_newer, connections: BTreeMap::new() }
    }

    /// Plays every line. An error is a server that does not answer, not a difference.
    pub(super) fn play(&mut self, script: &Script) -> Outcome<Played> {
        let mut played = Played::default();
        self.empty()?;
        for line in &script.lines {
            let place = format!("{}:{}", script.name, line.number);
            let replies = self
                .step(&line.step)
                .map_err(|error| format!("{place}: {:?}: {error}", line.step))?;
            let Some(replies) = replies else { continue };
            played.lines += 1;
            if !is_equal(replies.comparison, &replies.redis, &replies.tested) {
                let Replies { command, redis, tested, .. } = replies;
                let protocol = self.protocol;
                played.clashes.push(Clash { place, protocol, command, redis, tested });
            }
        }
        Ok(played)
    }

    /// Does one step; returns the two replies if there is something to compare.
    fn step(&mut self, step: &Step) -> Outcome<Option<Replies>> {
        match step {
            Step::Section => self.empty()?,
            Step::Reconnect => self.connections.clear(),
            Step::Send { connection, text, words, comparison } => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let pair = self.pair(*connection)?;
                let (redis, tested) = (pair.redis.call(&words)?, pair.tested.call(&words)?);
                return Ok(Some(Replies {
                    command: text.clone(),
                    redis,
                    tested,
                    comparison: *comparison,
                }));
            }
            Step::Raw { text, bytes } => {
                let pair = self.pair(1)?;
                pair.redis.send(bytes)?;
                pair.tested.send(bytes)?;
                let (redis, tested) = (pair.redis.reply()?, pair.tested.reply()?);
                return Ok(Some(Replies::exact(text, redis, tested)));
            }
            Step::AwaitGone(key) => self.await_gone(key)?,
            Step::Closed => {
                let pair = self.pair(1)?;
                let (redis, tested) = (pair.redis.reply()?, pair.tested.reply()?);
                self.connections.remove(&1);
                return Ok(Some(Replies::exact("~closed", redis, tested)));
            }
            Step::Alone { text, words } => {
                if self.knows_newer {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    let tested = self.pair(1)?.tested.call(&words)?;
                    let redis = b"(no error)".to_vec();
                    let comparison = Comparison::NoError;
                    return Ok(Some(Replies { command: text.clone(), redis, tested, comparison }));
                }
            }
            Step::Expect { text, words, reply } => {
                if self.knows_newer && self.protocol == Protocol::Resp2 {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    let tested = self.pair(1)?.tested.call(&words)?;
                    return Ok(Some(Replies::exact(text, reply.clone(), tested)));
                }
            }
        }
        Ok(None)
    }

    fn pair(&mut self, number: usize) -> Outcome<&mut Pair> {
        if !self.connections.contains_key(&number) {
            let mut pair = Pair {
                redis: Connection::open(self.redis)?,
                tested: Connection::open(self.tested)?,
            };
            if self.protocol == Protocol::Resp3 {
                pair.redis.ask(&["HELLO", "3"])?;
                pair.tested.ask(&["HELLO", "3"])?;
            }
            self.connections.insert(number, pair);
        }
        self.connections.get_mut(&number).ok_or_else(|| "a connection was just opened".into())
    }

    /// Closes the connections and removes every key of both servers.
    fn empty(&mut self) -> Outcome {
        self.connections.clear();
        for address in [self.redis, self.tested] {
            let reply = Connection::open(address)?.ask(&["FLUSHALL"])?;
            if !reply.starts_with("+OK") {
                return Err(format!("FLUSHALL at {address} answered {reply}").into());
            }
        }
        Ok(())
    }

    fn await_gone(&self, key: &[u8]) -> Outcome {
        for address in [self.redis, self.tested] {
            let mut connection = Connection::open(address)?;
            wait::until("a key to expire", EXPIRY_DEADLINE, || {
                Ok((connection.call(&[b"EXISTS", key])? == b":0\r\n").then_some(()))
            })?;
        }
        Ok(())
    }
}

/// True if two replies are equal as far as the script asks for it.
pub(super) fn is_equal(comparison: Comparison, redis: &[u8], tested: &[u8]) -> bool {
    match comparison {
        Comparison::Exact => redis == tested,
        Comparison::Sorted => sorted_lines(redis) == sorted_lines(tested),
        Comparison::Shape => kinds(redis) == kinds(tested),
        Comparison::NoError => !tested.is_empty() && tested.first() != Some(&b'-'),
        Comparison::Any => !tested.is_empty() && tested.first() == redis.first(),
    }
}

/// The lines of a reply in sorted order: what elements it has, whatever their order.
fn sorted_lines(reply: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = reply.split(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

/// The kinds of a reply's elements: type bytes, and counts of aggregates.
fn kinds(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut is_text = false;
    for line in reply.split(|&byte| byte == b'\n') {
        let first = line.first().copied().unwrap_or_default();
        if is_text {
            is_text = false;
            continue;
        }
        is_text = matches!(first, b'$' | b'=') && line.get(1) != Some(&b'-');
        let is_aggregate = matches!(first, b'*' | b'%' | b'~' | b'>');
        found.push(if is_aggregate { line.to_vec() } else { vec![first] });
    }
    found
}

/// A reply on one line.
pub(super) fn show(reply: &[u8]) -> String {
    const SHOWN_MAX: usize = 400;
    if reply.is_empty() {
        return "(connection closed)".to_owned();
    }
    let text = reply.escape_ascii().to_string();
    match text.get(..SHOWN_MAX) {
        Some(head) => format!("{head}... ({} bytes)", reply.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, is_equal};

    #[test]
    fn replies_are_compared_as_the_script_says() {
        let equal = |comparison, a: &[u8], b: &[u8]| is_equal(comparison, a, b);
        assert!(!equal(Comparison::Exact, b":1\r\n", b":2\r\n"));
        assert!(equal(Comparison::Sorted, b"*2\r\n+a\r\n+b\r\n", b"*2\r\n+b\r\n+a\r\n"));
        assert!(equal(Comparison::Shape, b"*1\r\n$1\r\na\r\n", b"*1\r\n$2\r\nbc\r\n"));
        assert!(!equal(Comparison::Shape, b"*1\r\n$1\r\na\r\n", b"*2\r\n$2\r\nbc\r\n:1\r\n"));
        assert!(!equal(Comparison::Any, b":1\r\n", b"-ERR\r\n"));
    }
}
