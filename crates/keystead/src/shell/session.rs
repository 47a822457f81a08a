//! Carrying out statements: one client, the shell's own verbs on top of Redis commands.
//!
//! Owns: which commands a verb becomes, the compare-and-set loop of `update`, the wait of `sync`.
//! Never: parses a line or lays out a reply. A write whose outcome is not known is reported and never sent again;
//! only a compare-and-set that the server refused is tried again, with the value as it is then.

use std::io::{self, Write};
use std::time::Duration;

use keystead::config::Address;
use keystead_client::{ConnectOptions, Connection, Error, Pipeline, Value, blocking};
use tokio::runtime::Builder;

use super::help;
use super::render::{Format, Style};
use super::statement::{Statement, StatementError};
use super::update::{Expression, UpdateError};
use crate::cli::replicas::{self, ShardReplicas};

/// Most rounds of compare-and-set in one `update`. So many lost in a row mean that the key is written
/// all the time, and the person should know.
const UPDATE_ROUNDS_MAX: u32 = 32;
/// Keys asked for in one step of `scan`; a bound on a reply, not on the list.
const SCAN_COUNT: &str = "512";

/// Why a statement was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShellError {
    /// The line means nothing.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The server answered with an error.
    #[error("{text}")]
    Reply { text: String },
    /// `update` cannot make a new value.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The key of `update` does not exist.
    #[error("there is no such key; store a value with put first")]
    NoSuchKey,
    /// The server cannot compare and set.
    #[error(
        "this server does not know SET ... IFEQ, which update needs; Keystead and Valkey 8.1 do"
    )]
    NoCompareAndSet,
    /// The key of `update` was changed by others all the time.
    #[error(
        "conflict: others changed the key {rounds} times while it was being updated; try again"
    )]
    Conflict { rounds: u32 },
    /// The verb takes several commands, which a transaction would only queue.
    #[error(
        "not between MULTI and EXEC: this verb needs its replies at once; end the transaction first"
    )]
    InTransaction,
    /// The server does not compare its replicas.
    #[error("this server does not know CLUSTER SYNC, so there is nothing to wait for")]
    NotReplicated,
    /// The replicas were not level in time, or differ.
    #[error(
        "after at most {seconds} s it is not proven that all replicas are equal: {problem}; see keystead cluster sync"
    )]
    NotLevel { seconds: u64, problem: String },
    /// The reply has not the form that the command's reply has.
    #[error("the server's reply to {command} has an unexpected form")]
    Shape { command: &'static str },
    /// No connection, or none any more.
    #[error(transparent)]
    Connection(Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The input cannot be read.
    #[error("cannot read the input: {0}")]
    Input(#[source] io::Error),
}

impl From<Error> for ShellError {
    fn from(error: Error) -> Self {
        match error {
            Error::Reply { message } => Self::Reply { text: message },
            other => Self::Connection(other),
        }
    }
}

/// Whether the shell goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// To the next statement.
    Continue,
    /// Out.
    Exit,
}

/// A client and how replies are shown.
#[derive(Debug)]
pub(crate) struct Session {
    address: Address,
    style: Style,
    client: blocking::Client,
    is_in_transaction: bool,
}

impl Session {
    /// Connects. A connection that breaks later is opened again for the next command.
    pub(crate) fn open(
        address: Address,
        options: ConnectOptions,
        style: Style,
    ) -> Result<Self, ShellError> {
        let client = blocking::Client::connect(&address.to_string(), options)?;
        Ok(Self { address, style, client, is_in_transaction: false })
    }

    /// Where commands go.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// What stands before a line at a terminal: where it goes, and to which database if not the first.
    pub(crate) fn prompt(&self) -> String {
        match self.client.options().database {
            0 => format!("{}> ", self.address),
            database => format!("{}[{database}]> ", self.address),
        }
    }

    /// How replies are shown.
    pub(crate) const fn style(&self) -> Style {
        self.style
    }

    /// Carries out one statement and writes what it gives to `out`.
    pub(crate) fn execute(
        &mut self,
        statement: Statement,
        out: &mut dyn Write,
    ) -> Result<Flow, ShellError> {
        match statement {
            Statement::Put { key, value } => {
                let reply = self.call(&[&b"SET"[..], &key, value.as_bytes()])?;
                out.write_all(&self.style.reply(&reply))?;
            }
            Statement::Get { key } => {
                let reply = self.call(&[&b"GET"[..], &key])?;
                out.write_all(&self.style.stored(&reply))?;
            }
            Statement::Update { key, expression } => self.update(&key, &expression, out)?,
            Statement::Delete { mut keys } => {
                keys.insert(0, b"DEL".to_vec());
                let reply = self.call(&keys)?;
                out.write_all(&self.style.reply(&reply))?;
            }
            Statement::Scan { pattern } => self.scan(pattern.as_deref(), out)?,
            Statement::Connect { address } => self.connect(address, out)?,
            Statement::Sync { seconds_max } => self.sync(seconds_max, out)?,
            Statement::Help { command } => {
                out.write_all(help::text(command.as_deref()).as_bytes())?
            }
            Statement::Exit => return Ok(Flow::Exit),
            Statement::Command { args } => self.command(&args, out)?,
        }
        Ok(Flow::Continue)
    }

    fn command(&mut self, args: &[Vec<u8>], out: &mut dyn Write) -> Result<(), ShellError> {
        let name = args[0].to_ascii_lowercase();
        if matches!(name.as_slice(), b"subscribe" | b"psubscribe" | b"ssubscribe" | b"monitor") {
            return self.listen(args, out);
        }
        let reply = self.call(args)?;
        out.write_all(&self.style.reply(&reply))?;
        match name.as_slice() {
            b"multi" => self.is_in_transaction = true,
            b"exec" | b"discard" | b"reset" => self.is_in_transaction = false,
            _ => {}
        }
        Ok(())
    }

    /// Shows messages, on a connection of their own, until it or the program is ended.
    fn listen(&self, args: &[Vec<u8>], out: &mut dyn Write) -> Result<(), ShellError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let address = self.address.to_string();
        let options = self.client.options();
        let mut connection = runtime.block_on(Connection::open(&address, options))?;
        let mut commands = Pipeline::default();
        commands.push(args)?;
        runtime.block_on(connection.send(&commands))?;
        loop {
            let message = runtime.block_on(connection.receive())?;
            out.write_all(&self.style.reply(&message))?;
            out.flush()?;
        }
    }

    /// GET, the expression, SET if the value is still the one that was read; again if it is not.
    fn update(&mut self, key: &[u8], code: &str, out: &mut dyn Write) -> Result<(), ShellError> {
        self.refuse_in_transaction()?;
        let expression = Expression::compile(code)?;
        for _ in 0..UPDATE_ROUNDS_MAX {
            let old = match self.call(&[&b"GET"[..], key])? {
                Value::Bulk(old) => old,
                Value::Null => return Err(ShellError::NoSuchKey),
                _ => return Err(ShellError::Shape { command: "GET" }),
            };
            let new = expression.apply(&old)?;
            let set = [&b"SET"[..], key, &new, b"IFEQ", &old, b"KEEPTTL"];
            let reply = self.call(&set).map_err(unless_unknown_option)?;
            if !reply.is_null() {
                out.write_all(&self.style.stored(&Value::Bulk(new)))?;
                return Ok(());
            }
        }
        Err(ShellError::Conflict { rounds: UPDATE_ROUNDS_MAX })
    }

    /// Walks SCAN's cursor to its end. A key may be listed twice if the keyspace changes meanwhile.
    fn scan(&mut self, pattern: Option<&[u8]>, out: &mut dyn Write) -> Result<(), ShellError> {
        self.refuse_in_transaction()?;
        let pattern = pattern.unwrap_or(b"*");
        let mut cursor = b"0".to_vec();
        loop {
            let scan = [&b"SCAN"[..], &cursor, b"MATCH", pattern, b"COUNT", SCAN_COUNT.as_bytes()];
            let reply = self.call(&scan)?;
            let Some([next, keys]) = reply.as_elements() else {
                return Err(ShellError::Shape { command: "SCAN" });
            };
            for key in keys.as_elements().unwrap_or(&[]) {
                out.write_all(&self.style.reply(key))?;
            }
            cursor = next.as_bytes().ok_or(ShellError::Shape { command: "SCAN" })?.to_vec();
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    /// The old client is kept if the new server does not answer.
    fn connect(&mut self, address: Address, out: &mut dyn Write) -> Result<(), ShellError> {
        let options = self.client.options().clone();
        self.client = blocking::Client::connect(&address.to_string(), options)?;
        self.is_in_transaction = false;
        self.address = address;
        if self.style.format == Format::Pretty {
            writeln!(out, "connected to {}", self.address)?;
        }
        Ok(())
    }

    fn sync(&mut self, seconds_max: u64, out: &mut dyn Write) -> Result<(), ShellError> {
        self.refuse_in_transaction()?;
        let patience = Duration::from_secs(seconds_max);
        let words = ["CLUSTER", "SYNC", &patience.as_millis().to_string()];
        let reply = self.call(&words).map_err(unless_unknown)?;
        let shards =
            replicas::parse(&reply).ok_or(ShellError::Shape { command: "CLUSTER SYNC" })?;
        match shards.iter().find_map(ShardReplicas::problem) {
            Some(problem) => Err(ShellError::NotLevel { seconds: seconds_max, problem }),
            None => Ok(out.write_all(&self.style.reply(&Value::Simple("OK".into())))?),
        }
    }

    const fn refuse_in_transaction(&self) -> Result<(), ShellError> {
        if self.is_in_transaction { Err(ShellError::InTransaction) } else { Ok(()) }
    }

    /// Sends a command; an error reply is an error.
    fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, ShellError> {
        let reply = self.client.command(args).map_err(ShellError::from);
        // The server forgets a transaction with its connection.
        self.is_in_transaction &= !matches!(reply, Err(ShellError::Connection(_)));
        reply
    }
}

/// A server of another kind has no such subcommand.
fn unless_unknown(error: ShellError) -> ShellError {
    match error {
        ShellError::Reply { text } if text.starts_with("ERR unknown subcommand") => {
            ShellError::NotReplicated
        }
        other => other,
    }
}

/// The shell writes SET correctly, so a server that finds its syntax wrong lacks the option.
fn unless_unknown_option(error: ShellError) -> ShellError {
    match error {
        ShellError::Reply { text } if text == "ERR syntax error" => ShellError::NoCompareAndSet,
        other => other,
    }
}
