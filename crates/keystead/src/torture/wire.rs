//! A blocking connection that speaks RESP, one command at a time.
//! Owns: deadlines, and telling a command that was not sent from one whose reply is missing. Never: retries.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use keystead_resp::{ReplyDecoder, ReplyLimits, Value, encode};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest wait for a reply: longer than a node takes to answer with UNCERTAIN.
const REPLY_MAX: Duration = Duration::from_secs(7);

/// As whom to talk to a node.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The user; the default one if there is only a password.
    pub user: Option<String>,
    /// Without one nobody logs in.
    pub password: Option<String>,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    decoder: ReplyDecoder,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// What the system says; after two seconds, that it took too long.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_MAX))?;
        stream.set_write_timeout(Some(REPLY_MAX))?;
        let decoder = ReplyDecoder::new(ReplyLimits::default());
        Ok(Self { stream, decoder, buffer: Vec::new(), out: Vec::new() })
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`io::ErrorKind::PermissionDenied`] if the login was refused.
    pub fn connect_as(address: SocketAddr, login: &Login) -> io::Result<Self> {
        let mut wire = Self::connect(address)?;
        let reply = match (&login.user, &login.password) {
            (Some(user), Some(password)) => wire.call(["AUTH", user, password])?,
            (None, Some(password)) => wire.call(["AUTH", password])?,
            (_, None) => return Ok(wire),
        };
        match reply.as_error() {
            Some(error) => Err(io::Error::new(io::ErrorKind::PermissionDenied, error.to_owned())),
            None => Ok(wire),
        }
    }

    /// Sends a command and waits for its reply. An error reply is a value; an error of the connection
    /// means that a command may or may not have been executed.
    ///
    /// # Errors
    /// The connection broke, or there was no reply in time.
    pub fn call<const N: usize>(&mut self, args: [&str; N]) -> io::Result<Value> {
        self.call_all(&args)
    }

    /// As [`call`](Self::call), for arguments that are counted when it runs.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_all(&mut self, args: &[&str]) -> io::Result<Value> {
        self.send(args)?;
        self.receive()
    }

    /// Sends a command whose reply is still to be [received](Self::receive).
    ///
    /// # Errors
    /// The connection broke, or the node does not read.
    pub fn send(&mut self, args: &[&str]) -> io::Result<()> {
        self.out.clear();
        encode::command(&mut self.out, args.iter().map(|arg| arg.as_bytes()));
        self.stream.write_all(&self.out)
    }

    /// Sends bytes that need not be a command.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Waits for a reply.
    ///
    /// # Errors
    /// The connection broke, there was no reply in time, or it was none of the protocol.
    pub fn receive(&mut self) -> io::Result<Value> {
        loop {
            let decoded = self.decoder.decode(&self.buffer).map_err(io::Error::other)?;
            if let Some((value, bytes)) = decoded {
                self.buffer.drain(..bytes);
                return Ok(value);
            }
            let mut chunk = [0; 16 * 1024];
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    /// True if the node has closed the connection, so that a command sent now would certainly not be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let is_open = matches!(&peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        // A socket that cannot be made to wait again is of no use either.
        self.stream.set_nonblocking(false).is_err() || !is_open
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// One command on a connection of its own.
///
/// # Errors
/// As [`Wire::connect`] and [`Wire::call`].
pub fn ask(address: SocketAddr, args: &[&str]) -> io::Result<Value> {
    Wire::connect(address)?.call_all(args)
}

/// The reply's text, of a command that answers with text.
#[must_use]
pub fn ask_text(address: SocketAddr, args: &[&str]) -> Option<String> {
    ask(address, args).ok()?.as_str().map(str::to_owned)
}

/// The value of `name:value` among lines.
#[must_use]
pub fn field(lines: &str, name: &str) -> Option<String> {
    let rows = lines.lines().filter_map(|line| line.trim_end().split_once(':'));
    rows.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
}
