//! Three nodes of one shard, and what becomes of a command there while their leader is killed.
//! Owns: connections, kills, returns, the comparison of digests. Never: sends a command again by itself.

use std::path::Path;
use std::time::Duration;

use super::super::sequence::Draw;
use crate::project::Outcome;
use crate::server::{self, Scratch, Server};
use crate::wait;
use crate::wire::{self, Connection};

const NODES: usize = 3;
/// One shard behaves like one Redis: no command crosses shards.
const SETTINGS: [&str; 2] = ["--shards", "1"];
/// Longest wait for a leader, and for replicas to be compared.
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// Looks at another node between a command and the kill, drawn up to this: a few take as long as a commit.
const LOOKS_MAX: usize = 10;
/// Errors that say that nothing happened.
const REFUSALS: [&str; 6] = ["CLUSTERDOWN", "TRYAGAIN", "LOADING", "OOM", "OVERLOADED", "READONLY"];

/// What a node said to a command.
pub(super) enum Told {
    Reply(Vec<u8>),
    /// Nothing happened.
    Refused(String),
    /// Nobody knows.
    Unknown,
}

/// A connection, and the database that it is sure to have selected.
struct Open {
    connection: Connection,
    selected: Option<u16>,
}

/// The nodes.
pub(super) struct Ground {
    servers: Vec<Server>,
    connections: Vec<Option<Open>>,
    down: Option<usize>,
    /// Leaders killed so far.
    pub(super) kills: usize,
}

impl Ground {
    pub(super) fn found(binary: &Path, scratch: &Scratch) -> Outcome<Self> {
        let servers = server::keystead(binary, scratch, "node", NODES, &SETTINGS)?;
        let connections = servers.iter().map(|_| None).collect();
        Ok(Self { servers, connections, down: None, kills: 0 })
    }

    pub(super) fn is_one_down(&self) -> bool {
        self.down.is_some()
    }

    /// Sends a command about a database to any node that runs.
    pub(super) fn call(&mut self, database: u16, words: &[&[u8]], draw: &mut Draw) -> Told {
        let at = self.any(draw);
        match self.send(at, database, words) {
            Ok(()) => self.hear(at),
            Err(told) => told,
        }
    }

    /// Sends a command about a database to any node, and kills the leader while it is on its way.
    pub(super) fn call_and_kill(
        &mut self,
        database: u16,
        words: &[&[u8]],
        draw: &mut Draw,
    ) -> Outcome<Told> {
        // The node that died last is back in full, or a majority would be lost.
        self.bring_back()?;
        let leader = self.leader()?;
        let witness = (leader + 1) % NODES;
        let at = self.any(draw);
        let sent = self.send(at, database, words);
        for _ in 0..draw.place(LOOKS_MAX) {
            Connection::open(self.servers[witness].address)?.ask(&["PING"])?;
        }
        self.servers[leader].kill()?;
        self.kills += 1;
        self.down = Some(leader);
        let told = match sent {
            Ok(()) => self.hear(at),
            Err(told) => told,
        };
        self.connections[leader] = None;
        Ok(told)
    }

    /// Starts the node again that was killed. It catches up while others serve.
    pub(super) fn start_again(&mut self) -> Outcome {
        self.down.take().map_or(Ok(()), |at| self.servers[at].start_again())
    }

    /// Starts the node that was killed, and waits until all replicas are level.
    pub(super) fn bring_back(&mut self) -> Outcome {
        self.start_again()?;
        server::await_cluster(&mut self.servers)
    }

    /// Has all replicas take a digest at one log index, and fails if two differ.
    pub(super) fn compare_replicas(&self) -> Outcome {
        let address = self.servers[0].address;
        wait::until("replicas that can be compared", SETTLED_MAX, || {
            let reply = Connection::open(address)?.ask(&["CLUSTER", "SYNC"])?;
            if reply.contains("equal\r\n:0\r\n") {
                return Err(format!("replicas differ:\n{reply}").into());
            }
            let equal = reply.matches("equal\r\n:1\r\n").count();
            let is_proven = equal > 0 && reply.matches("missing\r\n$0\r\n").count() == equal;
            Ok(is_proven.then_some(()))
        })
    }

    /// The node that leads the one shard.
    fn leader(&self) -> Outcome<usize> {
        wait::until("a leader", SETTLED_MAX, || {
            for (at, server) in self.servers.iter().enumerate() {
                let told = Connection::open(server.address)?.ask(&["INFO", "raft"])?;
                if told.contains("shard_1:role=leader") {
                    return Ok(Some(at));
                }
            }
            Ok(None)
        })
    }

    fn any(&self, draw: &mut Draw) -> usize {
        let up: Vec<usize> = (0..NODES).filter(|at| Some(*at) != self.down).collect();
        up[draw.place(up.len())]
    }

    fn send(&mut self, at: usize, database: u16, words: &[&[u8]]) -> Result<(), Told> {
        let known = self.connections[at].take();
        // Without the command itself, nothing happened.
        let open = known.map_or_else(|| Open::to(self.servers[at].address), Ok);
        let refused = |error: Box<dyn std::error::Error>| Told::Refused(error.to_string());
        let mut open = open.map_err(refused)?;
        open.select(database).map_err(refused)?;
        if words[0].eq_ignore_ascii_case(b"SELECT") {
            open.selected = None;
        }
        let mut bytes = Vec::new();
        wire::encode(words, &mut bytes);
        if open.connection.send(&bytes).is_err() {
            return Err(Told::Unknown);
        }
        self.connections[at] = Some(open);
        Ok(())
    }

    fn hear(&mut self, at: usize) -> Told {
        let reply = self.connections[at].as_mut().and_then(|open| open.connection.reply().ok());
        let Some(reply) = reply.filter(|reply| !reply.is_empty()) else {
            self.connections[at] = None;
            return Told::Unknown;
        };
        let Some(error) = reply.strip_prefix(b"-") else { return Told::Reply(reply) };
        let text = String::from_utf8_lossy(error).into_owned();
        match text.split(' ').next().unwrap_or_default() {
            "UNCERTAIN" => Told::Unknown,
            code if REFUSALS.contains(&code) => Told::Refused(text),
            _ => Told::Reply(reply),
        }
    }
}

impl Open {
    fn to(address: std::net::SocketAddr) -> Outcome<Self> {
        Ok(Self { connection: Connection::open(address)?, selected: Some(0) })
    }

    fn select(&mut self, database: u16) -> Outcome {
        if self.selected != Some(database) {
            let reply = self.connection.call(&[b"SELECT", database.to_string().as_bytes()])?;
            if reply != b"+OK\r\n" {
                return Err(format!("SELECT: {}", reply.escape_ascii()).into());
            }
            self.selected = Some(database);
        }
        Ok(())
    }
}
