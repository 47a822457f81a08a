//! Decoding requests from clients: incremental, bounded, byte for byte as forgiving as Redis.
//! Owns: the state between two reads of a socket, the limits, the protocol errors and their texts.
//! Never: copies an argument of an array, knows a command, scans a byte twice.
//!
//! The buffer that [`Decoder::decode`] sees begins with the first byte of the pending command and only
//! grows until that command is complete; then the caller drops [`Request::length`] bytes and goes on.
//!
//! Two forms arrive: arrays of bulk strings, and inline commands (a line of words). What leaves is
//! always an array in canonical form (`run.rs`), because it goes into the log as it is. An inline
//! command is therefore rewritten into a scratch buffer, and so is an array whose lines end in
//! something else than CRLF, which Redis does not look at. All others are not touched.
//!
//! INV-P2: `Args::wire` is the canonical form of its arguments.
//! INV-P3: between two calls the buffer only grows, until a request is complete.
//! INV-P4: memory grows with the bytes received, never with a number that a client announced.
//! Called by: the gateway's connections. Differences to redis-server 7.0: the number of arguments is
//! bounded (there: 2^31 - 1), so are the bytes of a command (there: of the connection's buffer, which
//! closes it without a word), and a length line over the limit is refused however it is split over reads.

use keystead_types::limits as bounds;
use memchr::memchr;
use thiserror::Error;

use crate::args::{Args, Span};
use crate::encode;
use crate::inline::Words;
use crate::run;

/// Spans and scratch bytes that a decoder keeps for the next command; more is given back.
const SPANS_KEPT: usize = 1024;
const SCRATCH_BYTES_KEPT: usize = 16 * 1024;
/// Bytes of the largest command: one bulk string of the greatest size and its company, with room for
/// the header of the log entry that carries it.
const COMMAND_BYTES_MAX: usize = bounds::ENTRY_BYTES_MAX - 1024 * 1024;

/// Decodes the requests of one connection.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The arguments found so far; complete when `form` says so.
    spans: Vec<Span>,
    /// The canonical form of a command that did not arrive in it.
    scratch: Vec<u8>,
    /// First byte not yet understood, from the command's first.
    position: usize,
    /// No line ends before this position: where to go on searching.
    scanned: usize,
    args_missing: usize,
    /// Length of the bulk string whose bytes begin at `position`, if its header was read.
    bulk_pending: Option<usize>,
    is_canonical: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of the command is understood yet.
    Start,
    /// Within an array.
    Array,
    /// Complete; its bytes stand in the caller's buffer, up to `position`.
    InBuffer,
    /// Complete; its canonical form stands in `scratch`.
    InScratch,
}

/// Bounds of one connection's requests. The default values are also the greatest that take effect
/// (lines: 1 MiB): longer commands would not fit into a log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest bulk string, bytes.
    pub bulk_bytes_max: usize,
    /// Most bulk strings in one command.
    pub args_max: usize,
    /// Longest inline command or length line, bytes.
    pub inline_bytes_max: usize,
    /// Longest command, bytes as sent.
    pub command_bytes_max: usize,
    /// False until a client that has to log in has done so: then the two limits for strangers hold,
    /// [`bounds::UNAUTHENTICATED_ARGS_MAX`] and [`bounds::UNAUTHENTICATED_BULK_BYTES_MAX`].
    pub is_authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: bounds::BULK_BYTES_MAX,
            args_max: bounds::COMMAND_ARGS_MAX,
            inline_bytes_max: bounds::INLINE_BYTES_MAX,
            command_bytes_max: COMMAND_BYTES_MAX,
            is_authenticated: true,
        }
    }
}

/// A complete request; its arguments are [`Decoder::args`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the buffer that it took, to be dropped before the next call.
    pub length: usize,
    /// The form it arrived in.
    pub kind: RequestKind,
}

/// The form in which a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// An array of bulk strings.
    Array,
    /// A line of words.
    Inline,
    /// An empty line or an array without elements: nothing to do and nothing to answer.
    Empty,
}

/// What a client did wrong. The text is the one that Redis sends behind `-ERR `; afterwards the
/// connection is to be closed, since nobody knows where the next command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The number of arguments is not a number, or over the limit.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// The number of arguments is over the limit for clients that have not logged in.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLine,
    /// An argument does not begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.found))]
    ExpectedBulk {
        /// What stands in its place.
        found: u8,
    },
    /// The length of an argument is not a number, or over the limit.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// The length of an argument is over the limit for clients that have not logged in.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The line with the length of an argument does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLine,
    /// An inline command does not end.
    #[error("Protocol error: too big inline request")]
    InlineLine,
    /// A quote in an inline command is not closed, or not followed by a space.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The command as a whole is over the limit. Redis has no such error: it closes the connection.
    #[error("Protocol error: command exceeds {bytes_max} bytes; send it in parts")]
    CommandBytes {
        /// The limit, bytes.
        bytes_max: usize,
    },
}

/// True if a command's name shows that a browser was made to talk to this port (`POST`, `Host:`).
///
/// Redis closes such a connection without an answer, since what follows may have been composed by a
/// stranger. The decoder passes such lines on as any other; whoever looks up names asks here for
/// those that it does not know, so that no command pays for it.
#[must_use]
pub fn is_cross_protocol(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"host:")
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut decoder = Self {
            limits,
            spans: Vec::new(),
            scratch: Vec::new(),
            position: 0,
            scanned: 0,
            args_missing: 0,
            bulk_pending: None,
            is_canonical: true,
            stage: Stage::Start,
        };
        decoder.set_limits(limits);
        decoder
    }

    /// Sets the limits for every length that is still to be read, those of a pending command included.
    pub fn set_limits(&mut self, limits: Limits) {
        // What is accepted here must be accepted by `RunDecoder` on every replica. A line of the
        // greatest length that is allowed holds fewer words than a command may have.
        self.limits = Limits {
            bulk_bytes_max: limits.bulk_bytes_max.min(bounds::BULK_BYTES_MAX),
            args_max: limits.args_max.min(bounds::COMMAND_ARGS_MAX),
            inline_bytes_max: limits.inline_bytes_max.min(bounds::COMMAND_ARGS_MAX),
            command_bytes_max: limits.command_bytes_max.min(COMMAND_BYTES_MAX),
            ..limits
        };
    }

    /// The request at the start of `buffer`, or `None` if more bytes are needed.
    ///
    /// Scans no byte twice, however the request is split over calls. A request of kind
    /// [`RequestKind::Empty`] has no arguments; drop its bytes and go on.
    ///
    /// # Errors
    /// [`ProtocolError`]: answer it and close the connection.
    ///
    /// # Panics
    /// If `buffer` is shorter than at the last call although that gave `None` (INV-P3).
    #[inline]
    pub fn decode(&mut self, buffer: &[u8]) -> Result<Option<Request>, ProtocolError> {
        if matches!(self.stage, Stage::InBuffer | Stage::InScratch) {
            self.begin();
        }
        if self.stage == Stage::Start {
            match buffer.first() {
                None => return Ok(None),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(buffer),
            }
            let Some(count) = self.array_header(buffer)? else { return Ok(None) };
            if count == 0 {
                return Ok(Some(self.complete(RequestKind::Empty)));
            }
            self.args_missing = count;
            self.stage = Stage::Array;
        }
        while self.args_missing > 0 {
            if !self.argument(buffer)? {
                return Ok(None);
            }
        }
        let request = self.complete(RequestKind::Array);
        if !self.is_canonical {
            self.rewrite(buffer);
        }
        Ok(Some(request))
    }

    /// The arguments of the request that [`decode`](Self::decode) has just completed in `buffer`;
    /// none if it gave `None`.
    ///
    /// # Panics
    /// If `buffer` is shorter than the request.
    #[must_use]
    #[inline]
    pub fn args<'a>(&'a self, buffer: &'a [u8]) -> Args<'a> {
        match self.stage {
            Stage::InBuffer => Args::new(&buffer[..self.position], &self.spans),
            Stage::InScratch => Args::new(&self.scratch, &self.spans),
            Stage::Start | Stage::Array => Args::new(&[], &[]),
        }
    }

    /// Length that the buffer must reach before the pending argument is complete, if that is known.
    ///
    /// A client announced it, so it is no reason to reserve memory at once (INV-P4).
    #[must_use]
    pub fn buffer_bytes_wanted(&self) -> Option<usize> {
        self.bulk_pending.map(|length| self.position + length + 2)
    }

    fn begin(&mut self) {
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans = Vec::new();
        }
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
        self.position = 0;
        self.scanned = 0;
        self.is_canonical = true;
        self.stage = Stage::Start;
    }

    fn complete(&mut self, kind: RequestKind) -> Request {
        self.stage = Stage::InBuffer;
        Request { length: self.position, kind }
    }

    /// Reads the number of arguments; a negative one counts as none, as in Redis.
    #[inline]
    fn array_header(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let count = if let Some((count, next)) = run::header(buffer, 0, b'*') {
            self.position = next;
            count
        } else {
            let Some(line) = self.line(buffer, ProtocolError::MultibulkLine)? else {
                return Ok(None);
            };
            let count = integer(&line[1..]).ok_or(ProtocolError::MultibulkLength)?;
            usize::try_from(count.max(0)).map_err(|_| ProtocolError::MultibulkLength)?
        };
        if count > self.limits.args_max {
            return Err(ProtocolError::MultibulkLength);
        }
        if count > bounds::UNAUTHENTICATED_ARGS_MAX && !self.limits.is_authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        Ok(Some(count))
    }

    /// Reads one argument; false if its end is not there yet.
    #[inline]
    fn argument(&mut self, buffer: &[u8]) -> Result<bool, ProtocolError> {
        let length = match self.bulk_pending {
            Some(length) => length,
            None => match self.bulk_header(buffer)? {
                Some(length) => length,
                None => return Ok(false),
            },
        };
        let end = self.position + length;
        let Some(terminator) = buffer.get(end..end + 2) else {
            self.bulk_pending = Some(length);
            return Ok(false);
        };
        self.is_canonical &= terminator == b"\r\n";
        let span = Span::between(self.position, end);
        self.spans.push(span.expect("a command is shorter than 4 GiB, see set_limits"));
        self.bulk_pending = None;
        self.position = end + 2;
        self.args_missing -= 1;
        Ok(true)
    }

    /// Reads the length of an argument; `None` if the line is not complete yet.
    #[inline]
    fn bulk_header(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let length = if let Some((length, next)) = run::header(buffer, self.position, b'$') {
            self.position = next;
            length
        } else {
            let Some(line) = self.line(buffer, ProtocolError::BulkLine)? else { return Ok(None) };
            // A line that is empty up to its CR shows the CR itself.
            let found = line.first().copied().unwrap_or(b'\r');
            if found != b'$' {
                return Err(ProtocolError::ExpectedBulk { found });
            }
            let length = integer(&line[1..]).ok_or(ProtocolError::BulkLength)?;
            usize::try_from(length).map_err(|_| ProtocolError::BulkLength)?
        };
        if length > self.limits.bulk_bytes_max {
            return Err(ProtocolError::BulkLength);
        }
        if length > bounds::UNAUTHENTICATED_BULK_BYTES_MAX && !self.limits.is_authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        let bytes_max = self.limits.command_bytes_max;
        if length.saturating_add(self.position + 2) > bytes_max {
            return Err(ProtocolError::CommandBytes { bytes_max });
        }
        Ok(Some(length))
    }

    /// The line at `position` up to its CR, and `position` behind the byte that follows the CR.
    /// `None` if that byte is not there yet.
    #[cold]
    fn line<'b>(
        &mut self,
        buffer: &'b [u8],
        too_long: ProtocolError,
    ) -> Result<Option<&'b [u8]>, ProtocolError> {
        let start = self.position;
        let Some(end) = self.find(b'\r', buffer, too_long)? else { return Ok(None) };
        let Some(&behind) = buffer.get(end + 1) else { return Ok(None) };
        self.is_canonical &= behind == b'\n';
        self.position = end + 2;
        Ok(Some(&buffer[start..end]))
    }

    /// Position of the first `byte` from `position` on; `None` if it may still come.
    fn find(
        &mut self,
        byte: u8,
        buffer: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        assert!(
            self.position <= buffer.len(),
            "INV-P3: the buffer shrank to {} bytes below {} within a command",
            buffer.len(),
            self.position
        );
        let from = self.scanned.max(self.position);
        let line_end_max = self.position.saturating_add(self.limits.inline_bytes_max);
        let searched = &buffer[..buffer.len().min(line_end_max.saturating_add(1))];
        if let Some(offset) = searched.get(from..).and_then(|rest| memchr(byte, rest)) {
            self.scanned = from + offset;
            return Ok(Some(self.scanned));
        }
        self.scanned = searched.len();
        if searched.len() > line_end_max { Err(too_long) } else { Ok(None) }
    }

    #[cold]
    fn decode_inline(&mut self, buffer: &[u8]) -> Result<Option<Request>, ProtocolError> {
        let Some(end) = self.find(b'\n', buffer, ProtocolError::InlineLine)? else {
            return Ok(None);
        };
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        let words = Words::split(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.position = end + 1;
        if words.iter().len() == 0 {
            return Ok(Some(self.complete(RequestKind::Empty)));
        }
        let request = self.complete(RequestKind::Inline);
        self.scratch.clear();
        encode::command(&mut self.scratch, words.iter());
        self.adopt_scratch();
        Ok(Some(request))
    }

    /// Puts a complete array whose lines do not all end in CRLF into canonical form.
    #[cold]
    fn rewrite(&mut self, buffer: &[u8]) {
        self.scratch.clear();
        encode::command(&mut self.scratch, Args::new(buffer, &self.spans).iter());
        self.adopt_scratch();
    }

    fn adopt_scratch(&mut self) {
        let length = run::parse_command(&self.scratch, &mut self.spans);
        assert_eq!(length, Ok(self.scratch.len()), "INV-P2: what was encoded is not canonical");
        self.stage = Stage::InScratch;
    }
}

/// A decimal integer as Redis reads lengths: `-` is a sign, `+`, spaces and leading zeros are not.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        b"0" => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // Within digits, only a number beyond 64 bits fails to parse.
    if is_canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, Limits};

    /// INV-P4.
    #[test]
    fn what_is_announced_costs_nothing_until_it_comes() {
        let mut decoder = Decoder::new(Limits::default());
        assert_eq!(decoder.decode(b"*1000000\r\n$3\r\nSET\r\n$500000000\r\nx"), Ok(None));
        assert!(decoder.spans.capacity() <= 16, "{} spans", decoder.spans.capacity());
        assert_eq!(decoder.scratch.capacity(), 0);
    }
}
