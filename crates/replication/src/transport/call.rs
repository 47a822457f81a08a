//! Calls of the control plane: a connection, a request, a reply, a deadline.
//!
//! Owns: [`call`] for tasks, [`Caller`] for threads, [`CallError`]. Never: retries; the error says
//! whether the request may have been executed, and the caller knows whether that matters. Used by
//! founding and joining, by fetching snapshots (many requests on one connection), by tools.

use std::io::{self, Read, Write};
use std::net::{TcpStream as BlockingStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;
use tokio::time::timeout;

use super::frame::{FrameBatch, FrameDecoder, FrameKind};
use super::hello::{HELLO_BYTES_MAX, Hello, Refusal, Welcome};
use super::net::Dialer;
use super::server::CALL_BYTES_MAX;
use super::stream::{FrameReader, StreamError, write_all};
use super::wire::DecodeError;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a call has no reply.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody answers there. The request was not sent.
    #[error("no connection to {address}: {source}; check that a node listens there for its peers")]
    Connect {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The called node refused the caller. The request was not looked at.
    #[error("{address} refused the connection: {source}")]
    Refused {
        /// Where.
        address: String,
        /// Its reason.
        source: Refusal,
    },
    /// The request is too long to be sent. It was not.
    #[error("the request has {bytes} bytes, {CALL_BYTES_MAX} are the most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The connection ended before the reply.
    #[error("the connection to {address} ended before the reply: {source}")]
    Lost {
        /// Where.
        address: String,
        /// How.
        source: StreamError,
        /// True if the request had left by then.
        was_sent: bool,
    },
    /// What came is not a reply.
    #[error(
        "{address} answered something that is no reply ({what}); is it a keystead peer address?"
    )]
    Garbled {
        /// Where.
        address: String,
        /// What was wrong with it.
        what: Garble,
    },
    /// The deadline passed.
    #[error("no reply from {address} within {within:?}")]
    Deadline {
        /// Where.
        address: String,
        /// The time it had.
        within: Duration,
        /// True if the request had left by then.
        was_sent: bool,
    },
}

/// What was wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Garble {
    /// Its content.
    #[error(transparent)]
    Content(#[from] DecodeError),
    /// Its kind.
    #[error("a frame of kind {0}")]
    Kind(u8),
}

impl CallError {
    /// True if the called node may have executed the request.
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Refused { .. } | Self::TooLong { .. } => false,
            Self::Lost { was_sent, .. } | Self::Deadline { was_sent, .. } => *was_sent,
            Self::Garbled { .. } => true,
        }
    }
}

/// Calls the node at `address` once and returns its reply.
///
/// `deadline` covers everything from resolving the name to the last byte of the reply. Dropping
/// the future does not withdraw a request that has left.
///
/// # Errors
/// [`CallError`]; see [`CallError::may_have_happened`].
pub async fn call(
    address: &str,
    hello: &Hello,
    request: &[u8],
    deadline: Duration,
) -> Result<Bytes, CallError> {
    let mut progress = Progress::new(address, deadline);
    let reply = timeout(deadline, exchange(&mut progress, hello, request)).await;
    reply.unwrap_or_else(|_| Err(progress.deadline()))
}

async fn exchange(
    progress: &mut Progress<'_>,
    hello: &Hello,
    request: &[u8],
) -> Result<Bytes, CallError> {
    // Hello and request leave together: a refusal comes back instead of a reply, and what is behind
    // a refused hello is not looked at.
    let mut batch = said(hello);
    push_request(&mut batch, request)?;
    let stream =
        Dialer::Tcp.connect(progress.address).await.map_err(|source| progress.connect(source))?;
    write_all(&stream, batch.as_bytes(), |_| {})
        .await
        .map_err(|source| progress.lost(StreamError::Io { source }))?;
    progress.was_sent = true;
    let mut reader = FrameReader::new(HELLO_BYTES_MAX, READ_BYTES);
    let frame = reader.next(&stream).await.map_err(|source| progress.lost(source))?;
    progress.welcome(frame)?;
    reader.set_frame_bytes_max(CALL_BYTES_MAX);
    let frame = reader.next(&stream).await.map_err(|source| progress.lost(source))?;
    progress.reply(frame)
}

/// A connection for calls from a thread that may block.
#[derive(Debug)]
pub struct Caller {
    address: String,
    stream: BlockingStream,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
}

impl Caller {
    /// Connects and is welcomed, within `deadline` (per address that the name resolves to).
    ///
    /// # Errors
    /// [`CallError`].
    pub fn connect(address: &str, hello: &Hello, deadline: Duration) -> Result<Self, CallError> {
        let mut progress = Progress::new(address, deadline);
        let stream = connect_blocking(address, deadline)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| progress.connect(source))?;
        let mut caller = Self {
            address: address.to_owned(),
            stream,
            decoder: FrameDecoder::new(HELLO_BYTES_MAX),
            buffer: vec![0; READ_BYTES],
            at: 0,
            filled: 0,
        };
        caller.write(&mut progress, &said(hello))?;
        let frame = caller.next(&progress)?;
        progress.welcome(frame)?;
        caller.decoder.set_frame_bytes_max(CALL_BYTES_MAX);
        Ok(caller)
    }

    /// Sends a request and blocks until its reply is here or `deadline` has passed. After an error
    /// the connection is of no more use.
    ///
    /// # Errors
    /// [`CallError`]; see [`CallError::may_have_happened`].
    pub fn call(&mut self, request: &[u8], deadline: Duration) -> Result<Bytes, CallError> {
        let address = self.address.clone();
        let mut progress = Progress::new(&address, deadline);
        let mut batch = FrameBatch::new();
        push_request(&mut batch, request)?;
        self.write(&mut progress, &batch)?;
        progress.was_sent = true;
        let frame = self.next(&progress)?;
        progress.reply(frame)
    }

    fn write(&mut self, progress: &mut Progress<'_>, batch: &FrameBatch) -> Result<(), CallError> {
        let left = progress.left()?;
        self.stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(batch.as_bytes()))
            .map_err(|source| progress.failed(source))
    }

    fn next(&mut self, progress: &Progress<'_>) -> Result<(FrameKind, Bytes), CallError> {
        loop {
            let mut input = &self.buffer[self.at..self.filled];
            let frame = self.decoder.next(&mut input);
            self.at = self.filled - input.len();
            if let Some(frame) = frame.map_err(|source| progress.lost(source.into()))? {
                return Ok(frame);
            }
            let left = progress.left()?;
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut self.buffer));
            (self.at, self.filled) = match read {
                Ok(0) => return Err(progress.lost(StreamError::Closed)),
                Ok(bytes) => (0, bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, 0),
                Err(source) => return Err(progress.failed(source)),
            };
        }
    }
}

/// Tries every address that the name resolves to.
fn connect_blocking(address: &str, deadline: Duration) -> io::Result<BlockingStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match BlockingStream::connect_timeout(&address, deadline) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn said(hello: &Hello) -> FrameBatch {
    let mut batch = FrameBatch::new();
    let is_fitting = batch.push_with(FrameKind::HELLO, |out| hello.encode(out));
    assert!(is_fitting, "a hello is bounded by the length of an address");
    batch
}

fn push_request(batch: &mut FrameBatch, request: &[u8]) -> Result<(), CallError> {
    let is_fitting = request.len() < CALL_BYTES_MAX && batch.push(FrameKind::CALL, request);
    if is_fitting { Ok(()) } else { Err(CallError::TooLong { bytes: request.len() }) }
}

/// How far a call has come: what its errors need to know.
struct Progress<'a> {
    address: &'a str,
    began: Instant,
    within: Duration,
    was_sent: bool,
}

impl<'a> Progress<'a> {
    fn new(address: &'a str, within: Duration) -> Self {
        Self { address, began: Instant::now(), within, was_sent: false }
    }

    fn connect(&self, source: io::Error) -> CallError {
        CallError::Connect { address: self.address.to_owned(), source }
    }

    fn lost(&self, source: StreamError) -> CallError {
        CallError::Lost { address: self.address.to_owned(), source, was_sent: self.was_sent }
    }

    fn deadline(&self) -> CallError {
        let Self { address, within, was_sent, .. } = *self;
        CallError::Deadline { address: address.to_owned(), within, was_sent }
    }

    fn failed(&self, source: io::Error) -> CallError {
        match source.kind() {
            // What a socket with a timeout says, depending on the system.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.deadline(),
            _ => self.lost(StreamError::Io { source }),
        }
    }

    fn garbled(&self, what: Garble) -> CallError {
        CallError::Garbled { address: self.address.to_owned(), what }
    }

    /// The time that is left; a socket takes no timeout of zero.
    fn left(&self) -> Result<Duration, CallError> {
        let left = self.within.saturating_sub(self.began.elapsed());
        if left.is_zero() { Err(self.deadline()) } else { Ok(left) }
    }

    fn welcome(&self, (kind, payload): (FrameKind, Bytes)) -> Result<(), CallError> {
        match kind {
            FrameKind::WELCOME => {
                Welcome::decode(&payload).map_err(|error| self.garbled(error.into()))?;
                Ok(())
            }
            FrameKind::REFUSED => {
                let source =
                    Refusal::decode(&payload).map_err(|error| self.garbled(error.into()))?;
                Err(CallError::Refused { address: self.address.to_owned(), source })
            }
            FrameKind(kind) => Err(self.garbled(Garble::Kind(kind))),
        }
    }

    fn reply(&self, (kind, payload): (FrameKind, Bytes)) -> Result<Bytes, CallError> {
        match kind {
            FrameKind::CALLED => Ok(payload),
            FrameKind(kind) => Err(self.garbled(Garble::Kind(kind))),
        }
    }
}
