//! The shell's connection: one server, one command at a time, blocking.
//!
//! Owns: the socket, the handshake, the reply buffer. Never: sends a command twice, since a write whose
//! connection broke may have happened. After any error the connection is of no more use; the shell
//! opens a new one for the next command.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use keystead::config::{Address, Secret};
use keystead_resp::{ReplyDecoder, ReplyError, ReplyLimits, Value, encode};

/// Longest wait for a server to take a connection and to answer the greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 64 * 1024;

/// Whom to greet a server as.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    /// User, where it is not the default one.
    pub(crate) user: Option<String>,
    /// Password; empty for none.
    pub(crate) password: Secret,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// Nobody answers at the address.
    #[error("cannot connect to {address}: {source}; is a server running there?")]
    Connect { address: Address, source: io::Error },
    /// The server refused the login.
    #[error("{address} refused the login: {reply}")]
    Login { address: Address, reply: String },
    /// The connection broke while a command was under way.
    #[error(
        "lost the connection to {address}: {source}; whether the command took effect is not known"
    )]
    Lost { address: Address, source: io::Error },
    /// What came back is not the Redis protocol.
    #[error("{address} does not speak the Redis protocol: {source}")]
    Protocol { address: Address, source: ReplyError },
}

/// A connection that has greeted its server.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Address,
    stream: TcpStream,
    decoder: ReplyDecoder,
    received: Vec<u8>,
}

impl Connection {
    /// Connects and says HELLO 3; to servers that do not know it, AUTH if there is a password.
    pub(crate) fn open(address: &Address, login: &Login) -> Result<Self, ConnectionError> {
        let failed = |source| ConnectionError::Connect { address: address.clone(), source };
        let stream = connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(failed)?;
        let mut connection = Self {
            address: address.clone(),
            stream,
            decoder: ReplyDecoder::new(ReplyLimits::default()),
            received: Vec::new(),
        };
        connection.greet(login)?;
        // A command may wait for as long as the server lets it (BLPOP, WAIT).
        connection.stream.set_read_timeout(None).map_err(failed)?;
        Ok(connection)
    }

    /// Where the server is.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one command and waits for its reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, ConnectionError> {
        let mut request = Vec::new();
        encode::command(&mut request, args.iter().map(AsRef::as_ref));
        self.stream.write_all(&request).map_err(|source| self.lost(source))?;
        self.next_reply()
    }

    /// Waits for the next reply or message.
    pub(crate) fn next_reply(&mut self) -> Result<Value, ConnectionError> {
        loop {
            let decoded = self.decoder.decode(&self.received).map_err(|source| {
                ConnectionError::Protocol { address: self.address.clone(), source }
            })?;
            if let Some((value, length)) = decoded {
                self.received.drain(..length);
                return Ok(value);
            }
            self.receive().map_err(|source| self.lost(source))?;
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let start = self.received.len();
        self.received.resize(start + READ_BYTES, 0);
        let read = self.stream.read(&mut self.received[start..]);
        self.received.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn greet(&mut self, login: &Login) -> Result<(), ConnectionError> {
        let user = login.user.as_deref().unwrap_or("default");
        let password = login.password.reveal();
        let mut hello = vec!["HELLO", "3"];
        hello.extend(password.iter().flat_map(|password| ["AUTH", user, password]));
        let reply = self.call(&hello)?;
        let Some(refusal) = reply.as_error() else { return Ok(()) };
        // NOAUTH: a password is asked for and none was given; the person may still type AUTH.
        let knows_hello = refusal.starts_with("NOAUTH") || refusal.starts_with("WRONGPASS");
        let Some(password) = password.filter(|_| !knows_hello) else {
            return self.accept_unless_wrong(refusal);
        };
        let auth = match &login.user {
            Some(user) => vec!["AUTH", user, password],
            None => vec!["AUTH", password],
        };
        let reply = self.call(&auth)?;
        reply.as_error().map_or(Ok(()), |refusal| Err(self.refused(refusal)))
    }

    fn accept_unless_wrong(&self, refusal: &str) -> Result<(), ConnectionError> {
        if refusal.starts_with("WRONGPASS") { Err(self.refused(refusal)) } else { Ok(()) }
    }

    fn refused(&self, reply: &str) -> ConnectionError {
        ConnectionError::Login { address: self.address.clone(), reply: reply.to_owned() }
    }

    fn lost(&self, source: io::Error) -> ConnectionError {
        ConnectionError::Lost { address: self.address.clone(), source }
    }
}

/// Tries the addresses that the host's name stands for, in order.
fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for socket in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&socket, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
