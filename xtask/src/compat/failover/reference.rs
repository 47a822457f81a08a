//! redis-server, which is told what the cluster was told.
//! Owns: its connection, and which database the sequence has selected by now. Never: knows what the cluster said.

use std::net::SocketAddr;

use super::super::contents::Contents;
use crate::project::Outcome;
use crate::wire::Connection;

/// See the module.
pub(super) struct Reference {
    connection: Connection,
    selected: u16,
}

impl Reference {
    pub(super) fn at(address: SocketAddr) -> Outcome<Self> {
        Ok(Self { connection: Connection::open(address)?, selected: 0 })
    }

    /// The database that the sequence's next command is about.
    pub(super) const fn selected(&self) -> u16 {
        self.selected
    }

    /// Begins a sequence: no keys, database 0.
    pub(super) fn empty(&mut self) -> Outcome {
        self.connection.call(&[b"FLUSHALL"])?;
        self.select(0)
    }

    pub(super) fn call(&mut self, words: &[&[u8]]) -> Outcome<Vec<u8>> {
        let reply = self.connection.call(words)?;
        if let [name, number] = words
            && name.eq_ignore_ascii_case(b"SELECT")
            && reply == b"+OK\r\n"
        {
            let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
            self.selected = number.ok_or("redis-server selected what is no number")?;
        }
        Ok(reply)
    }

    pub(super) fn contents(&mut self) -> Outcome<Contents> {
        let selected = self.selected;
        let contents = Contents::of(|database, words| {
            self.select(database)?;
            self.call(words)
        })?;
        self.select(selected)?;
        Ok(contents)
    }

    fn select(&mut self, database: u16) -> Outcome {
        if database != self.selected {
            self.call(&[b"SELECT", database.to_string().as_bytes()])?;
        }
        Ok(())
    }
}
