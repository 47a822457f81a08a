//! One socket to one server: handshake, bytes out, replies in.
//! Owns: INV-C2, a reply goes to its own command or the connection is not used again. Never:
//! reconnects, follows redirects, knows other nodes (see `client.rs`).

use std::io::{self, Read as _};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use keystead_resp::{Protocol, ReplyDecoder, ReplyError, Value};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Cause, Error};
use crate::options::ConnectOptions;
use crate::pipeline::Pipeline;

/// Least room for one read of the socket.
const READ_BYTES: usize = 64 * 1024;
/// Room kept between replies; more, left by a long one, is given back.
const READ_BYTES_KEPT: usize = 1024 * 1024;

/// One connection to one server, logged in.
///
/// [`Client`](crate::Client) is what most callers want. This is for commands that are answered by
/// messages at any time, such as `SUBSCRIBE` and `MONITOR`: send, then receive for as long as wanted.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    protocol: Protocol,
    decoder: ReplyDecoder,
    input: BytesMut,
    send_timeout: Duration,
    /// Replies that were asked for and have not come: not zero once an exchange was abandoned.
    outstanding: usize,
}

/// How an exchange ended early.
#[derive(Debug)]
pub(crate) struct Break {
    pub(crate) cause: Cause,
    /// Bytes of the run that were handed to the network.
    pub(crate) written: usize,
}

impl Connection {
    /// Connects to `address` (`host:port`), logs in and agrees on the protocol, all within
    /// [`ConnectOptions::connect_timeout`].
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::Kind) if nobody answers in time, `Corrupt` if it is no server of this
    /// protocol, `Invalid` (a reply such as `WRONGPASS`) if it does not let this client in.
    pub async fn open(address: &str, options: &ConnectOptions) -> Result<Self, Error> {
        Self::open_until(address, options, Instant::now() + options.connect_timeout).await
    }

    pub(crate) async fn open_until(
        address: &str,
        options: &ConnectOptions,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Connect { address: address.to_owned(), source };
        let deadline = deadline.min(Instant::now() + options.connect_timeout);
        let stream = match timeout_at(deadline, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.into())),
            Err(_) => return Err(failed(Cause::timed_out(options.connect_timeout))),
        };
        stream.set_nodelay(true).map_err(|error| failed(error.into()))?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            protocol: Protocol::Resp2,
            decoder: ReplyDecoder::new(options.reply_limits),
            input: BytesMut::new(),
            send_timeout: options.command_timeout,
            outstanding: 0,
        };
        connection.greet(options, deadline).await?;
        Ok(connection)
    }

    /// The address that was connected to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The protocol agreed on.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sends commands without waiting for replies, within [`ConnectOptions::command_timeout`]: a server
    /// whose replies are not received stops reading in the end.
    ///
    /// Not cancel safe: drop the connection with the future.
    ///
    /// # Errors
    /// [`Kind::Unknown`](crate::Kind): some of the commands may have arrived.
    pub async fn send(&mut self, pipeline: &Pipeline) -> Result<(), Error> {
        self.outstanding += pipeline.len();
        let source = match timeout(self.send_timeout, self.stream.write_all(pipeline.run())).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.into(),
            Err(_) => Cause::timed_out(self.send_timeout),
        };
        Err(Error::Lost { address: self.address.clone(), source })
    }

    /// Waits for the next reply or message, without a deadline: put one around it where silence is
    /// not expected. Error replies come as [`Value::Error`]. Cancel safe.
    ///
    /// # Errors
    /// [`Kind::Unknown`](crate::Kind) if the connection ended.
    pub async fn receive(&mut self) -> Result<Value, Error> {
        let lost = |address: &str, source| Error::Lost { address: address.to_owned(), source };
        loop {
            match self.take_value() {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(error) => return Err(lost(&self.address, error.into())),
            }
            self.input.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(lost(&self.address, Cause::end_of_stream())),
                Ok(_) => {}
                Err(error) => return Err(lost(&self.address, error.into())),
            }
        }
    }

    /// Sends `pipeline` and appends one reply per command to `replies`; those that came before a
    /// failure are there, too. Push messages are passed over.
    ///
    /// If the future is dropped, the connection is not usable any more (INV-C2).
    pub(crate) async fn exchange(
        &mut self,
        pipeline: &Pipeline,
        deadline: Instant,
        replies: &mut Vec<Value>,
    ) -> Result<(), Break> {
        let started = Instant::now();
        let mut written = 0;
        self.outstanding += pipeline.len();
        let driven = self.drive(pipeline, &mut written, replies);
        let cause = match timeout_at(deadline, driven).await {
            Ok(Ok(())) => {
                self.outstanding = 0;
                return Ok(());
            }
            Ok(Err(cause)) => cause,
            Err(_) => Cause::timed_out(deadline.saturating_duration_since(started)),
        };
        Err(Break { cause, written })
    }

    /// False if the connection was closed by the peer, or if something stands in it that would be
    /// taken for the reply to the next command.
    ///
    /// Asks the operating system directly: a client that was idle has not heard yet that the server
    /// went away, and a command sent into such a connection would have an unknown outcome.
    pub(crate) fn is_usable(&mut self) -> bool {
        if self.outstanding != 0 {
            return false;
        }
        let mut chunk = [0; 4096];
        loop {
            match (&*SockRef::from(&self.stream)).read(&mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.input.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if !self.has_only_pushes() {
                return false;
            }
        }
        self.has_only_pushes()
    }

    /// Writes and reads at the same time: a server whose replies are not read stops reading.
    async fn drive(
        &mut self,
        pipeline: &Pipeline,
        written: &mut usize,
        replies: &mut Vec<Value>,
    ) -> Result<(), Cause> {
        let run = pipeline.run();
        let mut missing = pipeline.len();
        while missing > 0 || *written < run.len() {
            while missing > 0
                && let Some(value) = self.take_value()?
            {
                if !matches!(value, Value::Push(_)) {
                    replies.push(value);
                    missing -= 1;
                }
            }
            if missing == 0 && *written == run.len() {
                break;
            }
            self.input.reserve(READ_BYTES);
            let (mut reader, mut writer) = self.stream.split();
            // Cancel safe: a branch that loses has neither read nor written.
            tokio::select! {
                biased;
                sent = writer.write(&run[*written..]), if *written < run.len() => *written += sent?,
                read = reader.read_buf(&mut self.input) => if read? == 0 {
                    return Err(Cause::end_of_stream());
                },
            }
        }
        Ok(())
    }

    fn take_value(&mut self) -> Result<Option<Value>, ReplyError> {
        let Some((value, length)) = self.decoder.decode(&self.input)? else { return Ok(None) };
        self.input.advance(length);
        if self.input.is_empty() && self.input.capacity() > READ_BYTES_KEPT {
            self.input = BytesMut::new();
        }
        Ok(Some(value))
    }

    fn has_only_pushes(&mut self) -> bool {
        loop {
            match self.take_value() {
                Ok(None) => return true,
                Ok(Some(Value::Push(_))) => {}
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    }

    /// HELLO, or what stands in its place for servers that do not know it.
    async fn greet(&mut self, options: &ConnectOptions, deadline: Instant) -> Result<(), Error> {
        let version = match options.protocol {
            Protocol::Resp2 => "2",
            Protocol::Resp3 => "3",
        };
        let mut hello = vec!["HELLO", version];
        if let Some(password) = &options.password {
            hello.extend(["AUTH", options.username.as_deref().unwrap_or("default"), password]);
        }
        if let Some(name) = &options.client_name {
            hello.extend(["SETNAME", name]);
        }
        match self.ask(&hello, options, deadline).await {
            Ok(_) => self.protocol = options.protocol,
            Err(error) if is_hello_unknown(&error) => {
                self.greet_without_hello(options, deadline).await?;
            }
            Err(error) => return Err(error),
        }
        if options.database != 0 {
            let select = ["SELECT", &options.database.to_string()];
            self.ask(&select, options, deadline).await?;
        }
        Ok(())
    }

    async fn greet_without_hello(
        &mut self,
        options: &ConnectOptions,
        deadline: Instant,
    ) -> Result<(), Error> {
        if let Some(password) = &options.password {
            let mut auth = vec!["AUTH"];
            auth.extend(options.username.as_deref());
            auth.push(password);
            self.ask(&auth, options, deadline).await?;
        }
        if let Some(name) = &options.client_name {
            let set_name = ["CLIENT", "SETNAME", name];
            self.ask(&set_name, options, deadline).await?;
        }
        Ok(())
    }

    /// One command of the handshake. Whatever breaks here, nothing of the caller's was sent.
    async fn ask(
        &mut self,
        args: &[&str],
        options: &ConnectOptions,
        deadline: Instant,
    ) -> Result<Value, Error> {
        let mut replies = Vec::with_capacity(1);
        let asked = self.exchange(&Pipeline::of(args)?, deadline, &mut replies).await;
        if let Err(Break { cause, .. }) = asked {
            let source = match cause {
                Cause::TimedOut { .. } => Cause::timed_out(options.connect_timeout),
                cause => cause,
            };
            return Err(Error::Connect { address: self.address.clone(), source });
        }
        match replies.pop().expect("an exchange without an error has one reply per command") {
            Value::Error(message) => Err(Error::Reply { message }),
            value => Ok(value),
        }
    }
}

/// Servers before Redis 6 do not know the command, some proxies not this version of it.
fn is_hello_unknown(error: &Error) -> bool {
    match error {
        Error::Reply { message } => {
            message.starts_with("NOPROTO") || message.starts_with("ERR unknown command")
        }
        _ => false,
    }
}
