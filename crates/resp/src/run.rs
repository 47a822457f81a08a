//! Runs of commands in canonical form, as log entries hold them: arrays of bulk strings, back to back.
//! Owns: the canonical form and its strict decoder. Never: accepts what [`Decoder`](crate::Decoder)
//! forgives clients, waits for more bytes (a run is whole or it is damaged), panics on damage.
//!
//! ```text
//! run     = { command }
//! command = "*" length CRLF { "$" length CRLF bytes CRLF }     at least one bulk string
//! length  = decimal digits, no sign, no leading zero
//! ```
//! INV-P2: one list of arguments has exactly one canonical form, so equal commands are equal bytes.
//! Called by: `apply` on every replica, the request decoder (fast path), the forwarding of commands.

use keystead_types::limits::{BULK_BYTES_MAX, COMMAND_ARGS_MAX};
use thiserror::Error;

use crate::args::{Args, Span};

/// Decodes the commands of a log entry one after the other.
///
/// Complexity: one pass, no allocation beyond the caller's spans.
#[derive(Clone, Debug)]
pub struct RunDecoder<'a> {
    run: &'a [u8],
    offset: usize,
}

impl<'a> RunDecoder<'a> {
    /// Starts at the first command of `run`.
    #[must_use]
    pub const fn new(run: &'a [u8]) -> Self {
        Self { run, offset: 0 }
    }

    /// Offset of the next command's first byte in the run, bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The next command, or `None` behind the last. `spans` is overwritten; hand in the same one
    /// every time, so that nothing is allocated.
    ///
    /// # Errors
    /// [`RunError`] if the bytes are not a canonical run. The decoder stays where it is: every
    /// further call answers the same.
    pub fn next<'s>(&mut self, spans: &'s mut Vec<Span>) -> Result<Option<Args<'s>>, RunError>
    where
        'a: 's,
    {
        let rest = &self.run[self.offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        let length = parse_command(rest, spans).map_err(|fault| fault.at(self.offset))?;
        self.offset += length;
        Ok(Some(Args::new(&rest[..length], spans)))
    }
}

/// Why bytes are not a run of commands. Offsets count from the first byte of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// A length line is missing, malformed or not canonical.
    #[error(
        "damaged run of commands: no `{}` and canonical length at byte {offset}; \
         the entry was not written by this version or was changed since", char::from(*.expected)
    )]
    Header {
        /// Where the length line should begin.
        offset: usize,
        /// `*` for a command, `$` for an argument.
        expected: u8,
    },
    /// A length is beyond what any command may have.
    #[error("damaged run of commands: length {length} at byte {offset} is over the limit {max}")]
    TooLong {
        /// Where the length line begins.
        offset: usize,
        /// What it says.
        length: usize,
        /// The greatest length allowed there.
        max: usize,
    },
    /// The run ends within an argument, or the argument does not end in CRLF.
    #[error(
        "damaged run of commands: the argument of {length} bytes at byte {offset} does not end where \
         its length says"
    )]
    Argument {
        /// Where the argument's bytes begin.
        offset: usize,
        /// Its announced length, bytes.
        length: usize,
    },
}

impl RunError {
    fn at(self, base: usize) -> Self {
        match self {
            Self::Header { offset, expected } => Self::Header { offset: base + offset, expected },
            Self::TooLong { offset, length, max } => {
                Self::TooLong { offset: base + offset, length, max }
            }
            Self::Argument { offset, length } => Self::Argument { offset: base + offset, length },
        }
    }
}

/// Decodes the canonical command at the start of `bytes` into `spans`; returns its length, bytes.
pub(crate) fn parse_command(bytes: &[u8], spans: &mut Vec<Span>) -> Result<usize, RunError> {
    spans.clear();
    let (count, mut position) = checked_header(bytes, 0, b'*', COMMAND_ARGS_MAX)?;
    if count == 0 {
        return Err(RunError::Header { offset: 0, expected: b'*' });
    }
    for _ in 0..count {
        let (length, start) = checked_header(bytes, position, b'$', BULK_BYTES_MAX)?;
        let end = start + length;
        let damaged = RunError::Argument { offset: start, length };
        if bytes.get(end..end + 2) != Some(b"\r\n") {
            return Err(damaged);
        }
        spans.push(Span::between(start, end).ok_or(damaged)?);
        position = end + 2;
    }
    Ok(position)
}

fn checked_header(
    bytes: &[u8],
    position: usize,
    kind: u8,
    max: usize,
) -> Result<(usize, usize), RunError> {
    match header(bytes, position, kind) {
        Some((length, _)) if length > max => {
            Err(RunError::TooLong { offset: position, length, max })
        }
        Some(found) => Ok(found),
        None => Err(RunError::Header { offset: position, expected: kind }),
    }
}

/// The canonical length line at `position`: its value and the position behind it. `None` if it is
/// incomplete or anything but canonical; whoever must know which of the two looks closer.
#[inline]
pub(crate) fn header(bytes: &[u8], position: usize, kind: u8) -> Option<(usize, usize)> {
    // Nine digits hold every length within the limits and cannot overflow.
    const DIGITS_MAX: usize = 9;
    let line = bytes.get(position..)?;
    let (&first, digits) = line.split_first()?;
    if first != kind {
        return None;
    }
    let mut value = 0usize;
    for (at, &byte) in digits.iter().take(DIGITS_MAX + 1).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit < 10 && at < DIGITS_MAX {
            value = value * 10 + usize::from(digit);
            continue;
        }
        let has_leading_zero = at > 1 && digits[0] == b'0';
        let is_line = byte == b'\r' && at > 0 && digits.get(at + 1) == Some(&b'\n');
        return (is_line && !has_leading_zero).then_some((value, position + at + 3));
    }
    None
}
